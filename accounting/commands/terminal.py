"""What verbs show on a terminal, and what they say where there is none: progress and tables."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

log = logging.getLogger(__name__)

WIDE = 200
"""Columns of a table that goes to a file or a pipe."""


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int, int], None]]:
    """A bar on a terminal, a plain line every ten seconds otherwise: call it with (done, total, records so far)."""
    console = Console(stderr=True)
    if not console.is_terminal:
        last = time.monotonic()

        def plain(done: int, total: int, records: int) -> None:
            nonlocal last
            if time.monotonic() - last >= 10 or done >= total:
                last = time.monotonic()
                log.info("%s: %d of %d, %d records", what, done, total, records)

        yield plain
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total, _records: bar.update(task, completed=done, total=total)


def show_json(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print the rows of a table as one JSON list of objects; every value is text, so that no reader rounds a number."""
    click.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2))


def show(table: Table) -> None:
    """Print a table as wide as the terminal, or as `WIDE` columns where there is none."""
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)
