"""``meterbridge reconcile``: claims and evidence into postings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from accounting.commands.month import month
from exporters.commands.options import config_option
from exporters.errors import EXIT_UNREADABLE, EXIT_USAGE, OperatorError

if TYPE_CHECKING:
    from accounting.reconcile.sweep.engines import EngineName


@click.command()
@config_option
@click.option("--period", callback=month, help="A billing month, 2026-10. Default: every open month.")
@click.option(
    "--engine",
    type=click.Choice(["one", "pool", "dask"]),
    help="Where it is done: one process, a pool of one per processor, or a Dask cluster (needs the extra `dask`). "
    "The books are the same to the byte.  [default: a pool where there is much to do]",
)
@click.option("--scheduler", metavar="ADDRESS", default="", help="The Dask scheduler, tcp://HOST:8786.")
def reconcile(config_file: Path, period: str | None, engine: EngineName | None, scheduler: str) -> None:
    """Divide every node-day's capacity among its owners and post it.

    Only node-days whose records changed are posted again: a reversal and a new transaction, never an update.
    """
    if (engine == "dask") != bool(scheduler):
        raise OperatorError("--engine dask and --scheduler ADDRESS go together", EXIT_USAGE)
    from accounting.commands.terminal import progress
    from accounting.ledger.reconcile_range import Work
    from accounting.site import book
    from exporters.config import load

    config, work = load(config_file), Work(engine or "", scheduler=scheduler)
    with progress("node-days") as tick, _dask_told(scheduler):
        report = book.reconcile_period(config, period, int(time.time()), tick, work=work)
    click.echo(book.reconciled(report))


@contextmanager
def _dask_told(scheduler: str) -> Iterator[None]:
    """What a Dask cluster may be missing, in words."""
    try:
        yield
    except ModuleNotFoundError as e:
        raise OperatorError(str(e), EXIT_USAGE) from e
    except OSError as e:
        if not scheduler:
            raise
        raise OperatorError(f"the Dask scheduler {scheduler} cannot be reached: {e}", EXIT_UNREADABLE) from e
