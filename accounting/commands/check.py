"""``meterbridge check``: whether the books hold."""

from __future__ import annotations

import time
from pathlib import Path

import click

from exporters.commands.options import config_option
from exporters.errors import EXIT_BREACH, OperatorError


@click.command()
@config_option
def check(config_file: Path) -> None:
    """Prove the ledger's invariants, and name every breach. Exits 1 when there is one."""
    from accounting.site import book, months
    from exporters.config import load

    config = load(config_file)
    breaches = book.check(config, int(time.time())) + months.recheck(config)
    for breach in breaches:
        click.echo(str(breach))
    if breaches:
        raise OperatorError(f"{len(breaches)} invariants do not hold", EXIT_BREACH)
    click.echo("every invariant holds")
