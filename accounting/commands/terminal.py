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


def print_json(value: object) -> None:
    """Print facts as JSON; numbers that no reader may round are text in them."""
    click.echo(json.dumps(value, indent=2))


def show_json(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print the rows of a table as one JSON list of objects; every value is text, so that no reader rounds a number."""
    print_json([dict(zip(columns, row, strict=True)) for row in rows])


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: drawn, as wide as a terminal; for a file or a pipe in columns of plain text, a line for each row.

    Cells are names from outside, too: none is markup, and none moves a cursor.
    """
    from accounting.statements.csvtext import printable

    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        table = Table(*columns, title=title)
        for row in cells:
            table.add_row(*row)
        Console(markup=False, emoji=False, highlight=False).print(table)
        return
    wide = [max(len(row[n]) for row in ([*columns], *cells)) for n in range(len(columns))]
    for row in ([*columns], *cells):
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, wide, strict=True)).rstrip())


def hint(told: str) -> None:
    """Say what comes next, to whoever reads along: not to what the answer is piped into."""
    click.echo(told, err=True)
