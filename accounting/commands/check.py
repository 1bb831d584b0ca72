"""``meterbridge check``: whether the books hold."""

from __future__ import annotations

from pathlib import Path

import click

from exporters.commands.options import config_option
from exporters.errors import EXIT_BREACH, OperatorError


@click.command()
@config_option
@click.option(
    "--seal", "seals", multiple=True, metavar="HEX", help="A seal that was kept outside: some month must have it."
)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Reconcile only N booked days again, drawn by chance, and read N pages of records: takes a bounded time.",
)
def check(config_file: Path, seals: tuple[str, ...], sample: int | None) -> None:
    """Prove the ledger's invariants, and name every breach. Exits 1 when there is one.

    Every booked node-day is reconciled again from its claims and evidence and compared posting by posting, whatever its
    month's state; closed months are rated again, seals are computed anew, and every decision about a month is followed.
    Node-days with newer records wait for `meterbridge reconcile`: they are told, and are no breach.
    """
    from accounting.site import proof
    from exporters.config import load

    found = proof.check(load(config_file), seals, proof.sample(sample))
    for breach in found.breaches:
        click.echo(str(breach))
    if found.waits:
        click.echo(f"note: not proved, {found.waits}")
    if found.breaches:
        raise OperatorError(f"{len(found.breaches)} invariants do not hold", EXIT_BREACH)
    part = "" if sample is None else f" in a sample: {found.days} of {found.of_days} booked days were reconciled again"
    but = ", but for what is not proved" if found.waits else ""
    click.echo(f"every invariant holds{part}{but}")
