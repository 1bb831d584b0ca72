"""``meterbridge check``: whether the books hold."""

from __future__ import annotations

import time
from pathlib import Path

import click

from exporters.commands.options import config_option
from exporters.errors import EXIT_BREACH, OperatorError


@click.command()
@config_option
@click.option(
    "--seal", "seals", multiple=True, metavar="HEX", help="A seal that was kept outside: some month must have it."
)
def check(config_file: Path, seals: tuple[str, ...]) -> None:
    """Prove the ledger's invariants, and name every breach. Exits 1 when there is one.

    Every booked node-day is reconciled again from its claims and evidence and compared posting by posting, whatever its
    month's state; closed months are rated again, seals are computed anew, and every decision about a month is followed.
    """
    from accounting.site import proof
    from exporters.config import load

    breaches = proof.check(load(config_file), int(time.time()), seals)
    for breach in breaches:
        click.echo(str(breach))
    if breaches:
        raise OperatorError(f"{len(breaches)} invariants do not hold", EXIT_BREACH)
    click.echo("every invariant holds")
