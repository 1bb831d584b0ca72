"""``meterbridge rdma``: what the fabric's alerts would have said."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alerts.options import threshold_option
from exporters.errors import EXIT_USAGE, OperatorError

if TYPE_CHECKING:
    from alerts.replay import Replayed


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
    from alerts.replay import replay
    from alerts.thresholds import RulesError, load

    try:
        settings = load().override(thresholds)
    except RulesError as e:
        raise OperatorError(str(e), EXIT_USAGE) from e
    with click.progressbar(length=100, label="alerts", file=sys.stderr, hidden=_unseen()) as bar:
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from alerts.replay import rows

    table = Table(title="replay")
    for name in ("alert", "severity", "labels", "pending since", "firing from", "to"):
        table.add_column(name, overflow="fold", no_wrap=name != "labels")
    for row in rows(found, pending=pending):
        table.add_row(*map(Text, row))  # as text: a label is whatever somebody recorded
    Console(width=None if sys.stdout.isatty() else 250).print(table)
    if not table.row_count:
        click.echo("no alert would have fired")
