"""``meterbridge ingest``: the schedulers' history into the ledger."""

from __future__ import annotations

import time
from datetime import date, datetime
from pathlib import Path

import click

from exporters.commands.options import config_option
from exporters.errors import EXIT_BREACH, EXIT_USAGE, OperatorError


def _day(_context: click.Context, _parameter: click.Parameter, text: str | None) -> date | None:
    """A day as people write it; what is none is wrong usage."""
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a day; write it like 2026-10-31") from None


@click.command()
@config_option
@click.option("--strict", is_flag=True, help="Exit 1 when a record was rejected.")
@click.option("--since", callback=_day, metavar="DATE", help="Read Slurm's history again from this day (UTC).")
def ingest(config_file: Path, strict: bool, since: date | None) -> None:
    """Read the schedulers' history into the ledger, from where the last ingest stopped.

    Running it twice changes nothing. Records that cannot be used are set aside (`meterbridge rejects`), the rest goes
    on. Runs that stay open are asked for by their ids; what is in doubt of them is told. With --since, what was read is
    read again: for records that reached slurmdbd late.
    """
    from accounting.commands.terminal import progress
    from accounting.site import book, recovery
    from exporters.config import load

    config = load(config_file)
    if not any(c.history.enabled for c in config.slurm) and not any(k.history for k in config.kubernetes):
        raise OperatorError(
            f"{config_file} names no history to read: add slurm, or kubernetes.history (docs/configure.md)", EXIT_USAGE
        )
    rejected = 0
    for cluster in config.slurm:
        if cluster.history.enabled:
            with progress(f"sacct {cluster.cluster}") as tick:
                report = book.ingest(config, cluster, int(time.time()), tick, since=since)
            click.echo(book.ingested(report))
            rejected += report.rejected
    for kube in config.kubernetes:
        if kube.history is not None:
            done = recovery.recover(config, kube, int(time.time()))
            click.echo(recovery.recovered(done))
            rejected += done.rejected
    if strict and rejected:
        raise OperatorError(f"{rejected} records were rejected; see meterbridge rejects", EXIT_BREACH)
