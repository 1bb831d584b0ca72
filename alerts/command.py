"""``meterbridge rdma``: what the fabric's alerts would have said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alerts.options import threshold_option
from alerts.replay import Replayed, replay, rows
from alerts.thresholds import RulesError, load

USAGE, UNREADABLE = 2, 3
"""Exit codes, as `meterbridge --help` tells them."""


class _Refused(click.ClickException):
    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]


@contextmanager
def _refused(code: int) -> Iterator[None]:
    try:
        yield
    except RulesError as e:
        raise _Refused(str(e), code) from e


@click.group()
def rdma() -> None:
    """Calibrate the fabric's alerts."""


@rdma.command("replay")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@threshold_option
@click.option("--evaluation", type=click.FloatRange(min=1), help="Seconds between evaluations.  [default: as recorded]")
@click.option("--lossless", multiple=True, type=click.IntRange(0, 7), default=(3,), help="A lossless priority [3].")
@click.option("--pending", is_flag=True, help="Also what did not last long enough to fire.")
def replay_recording(
    file: Path, thresholds: dict[str, str], evaluation: float | None, lossless: tuple[int, ...], pending: bool
) -> None:
    """Tell which alerts recorded counters would have fired, and when: how a site calibrates its thresholds.

    FILE is OpenMetrics with times, or pages of node_exporter and the node agent, each after a line `# page at=SECONDS`
    (docs/alerts.md). The programs prometheus and promtool must be on PATH: the rules run on their engine.
    """
    with _refused(USAGE):
        settings = load().override(thresholds)
    with _refused(UNREADABLE), click.progressbar(length=100, label="alerts", file=sys.stderr, hidden=_unseen()) as bar:
        found = replay(
            file,
            settings,
            evaluation=evaluation or 0.0,
            lossless=lossless,
            tick=lambda done, total: bar.update(done * 100 // total - bar.pos),
        )
    _print(found, pending=pending)


def _unseen() -> bool:
    return not sys.stderr.isatty()


def _print(found: Replayed, *, pending: bool) -> None:
    table = Table(title="replay")
    for name in ("alert", "severity", "labels", "pending since", "firing from", "to"):
        table.add_column(name, overflow="fold", no_wrap=name != "labels")
    for row in rows(found, pending=pending):
        table.add_row(*map(Text, row))  # as text: a label is whatever somebody recorded
    Console(width=None if sys.stdout.isatty() else 250).print(table)
    if not table.row_count:
        click.echo("no alert would have fired")
