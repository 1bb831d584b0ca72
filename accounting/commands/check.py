"""``meterbridge check``: whether the books hold."""

from __future__ import annotations

from dataclasses import asdict
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
@click.option("--json", "as_json", is_flag=True, help="As JSON: breaches, what is not proved, and how much was read.")
def check(config_file: Path, seals: tuple[str, ...], sample: int | None, as_json: bool) -> None:
    """Prove the ledger's invariants, and name every breach. Exits 1 when there is one.

    Every booked node-day is reconciled again from its claims and evidence and compared posting by posting, whatever its
    month's state; closed months are rated again, seals are computed anew, and every decision about a month is followed.
    Node-days with newer records wait for `meterbridge reconcile`: they are told, and are no breach.
    """
    from accounting.commands.terminal import print_json
    from accounting.periods.mends import mend
    from accounting.site import proof
    from exporters.config import load

    found = proof.check(load(config_file), seals, proof.sample(sample))
    if as_json:
        breaches = [{**asdict(breach), "mend": mend(breach)} for breach in found.breaches]
        print_json({"breaches": breaches, "not_proved": found.waits, "days": found.days, "of_days": found.of_days})
    else:
        for breach in found.breaches:
            click.echo(str(breach))
        for told in dict.fromkeys(map(mend, found.breaches)):
            click.echo(f"mend: {told}")
    if found.waits and not as_json:
        click.echo(f"note: not proved, {found.waits}")
    if found.breaches:
        raise OperatorError(f"{len(found.breaches)} invariants do not hold", EXIT_BREACH)
    if as_json:
        return
    part = "" if sample is None else f" in a sample: {found.days} of {found.of_days} booked days were reconciled again"
    but = ", but for what is not proved" if found.waits else ""
    click.echo(f"every invariant holds{part}{but}")
