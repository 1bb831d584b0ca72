"""``meterbridge disputes`` and ``rule``: what the records alone cannot decide."""

from __future__ import annotations

import getpass
import time
from pathlib import Path

import click

from accounting.commands.month import month
from exporters.commands.options import config_option
from exporters.errors import EXIT_USAGE, OperatorError


@click.command()
@click.argument("period", required=False, callback=month)
@config_option
@click.option("--json", "as_json", is_flag=True, help="As JSON: a list with an object for each dispute.")
def disputes(period: str | None, config_file: Path, as_json: bool) -> None:
    """List what two owners claim without a link between them, with the evidence of both. Default: of every month.

    Also those that were ruled, and rulings that have no effect any more because the claims are not in conflict now.
    """
    from accounting.commands.terminal import print_json
    from accounting.site import months
    from accounting.statements.csvtext import printable
    from exporters.config import load

    found = months.list_disputes(load(config_file), period)
    if as_json:
        print_json([months.dispute_facts(dispute) for dispute in found])
        return
    for dispute in found:
        for line in months.dispute_lines(dispute):
            click.echo(printable(line))


@click.command()
@click.argument("dispute")
@config_option
@click.option("--to", "to", metavar="JOB", help="The party that pays: as `disputes` names it, or its own id.")
@click.option("--revoke", is_flag=True, help="Take back what was ruled: it is in dispute again.")
@click.option("--why", required=True, help="The reason; it is on every line that the ruling moves.")
@click.option("--author", default=getpass.getuser, help="Who rules.  [default: the user who runs the command]")
def rule(dispute: str, config_file: Path, to: str | None, revoke: bool, why: str, author: str) -> None:
    """Decide a dispute: the disputed cards are charged to one of its parties, and the books say by whom and why.

    It holds wherever the same claims are in conflict on that machine, also after late records, until it is ruled
    otherwise or revoked. In a closed month it becomes a correction in the open one.
    """
    if (to is None) != revoke:
        raise OperatorError("say either --to JOB or --revoke", EXIT_USAGE)
    from accounting.site import book, months
    from accounting.statements.csvtext import printable
    from exporters.config import load

    now = int(time.time())
    found, report = months.rule_on(load(config_file), dispute, to, why=why, author=author, now=now)
    for line in months.dispute_lines(found):
        click.echo(printable(line))
    click.echo(book.reconciled(report))
