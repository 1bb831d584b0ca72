"""The front door's commands about months and disputes."""

from __future__ import annotations

import getpass
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from accounting.commands import book, months
from accounting.commands.exits import EXIT_BREACH, EXIT_USAGE, Refused, config_option, refusals
from accounting.statements.chargeback import money
from accounting.statements.csvtext import printable
from exporters.config import load


@click.command()
@click.argument("period")
@config_option
def settle(period: str, config_file: Path) -> None:
    """Say what is still open before a month may be closed. Exits 1 while something must be done first.

    Records that were not read to the end of the month, node-days with newer records, and late records that are still
    waited for (`ledger.settle`) must be done first. Disputes, unknown hours and rejects are told, and may stay.
    """
    with refusals():
        found = months.settle(load(config_file), period, int(time.time()))
    for one in found:
        click.echo(f"{'must' if one.must else 'note'}: {one.what}")
    todo = sum(one.must for one in found)
    if todo:
        raise Refused(f"{period} cannot be closed yet: {todo} must be done first", EXIT_BREACH)
    click.echo(f"{period} may be closed")


@click.command("close")
@click.argument("period")
@config_option
@click.option("--force", is_flag=True, help="Close it although `settle` says that something must be done first.")
def close_period(period: str, config_file: Path, force: bool) -> None:
    """Close a month for ever, with today's prices and terms. What is learnt later is a correction in an open month.

    Months are closed in order of time, once they are over. Closing one again changes nothing.
    """
    with refusals():
        try:
            kept = months.close_month(load(config_file), period, int(time.time()), force=force)
        except months.NotSettledError as e:
            raise Refused(f"{e}; --force closes it all the same", EXIT_BREACH) from e
    amount = f": {money(kept.amount, kept.rates.minor_digits)} {kept.rates.currency}" if kept else ""
    click.echo(f"{period} is closed{amount}")


@click.command("seal")
@click.argument("period")
@config_option
def seal_period(period: str, config_file: Path) -> None:
    """Seal a closed month: print a hash over all that was booked in it, chained to the seal of the month before.

    `check` computes it again. Whoever keeps the printed seal can prove that nothing up to that month was changed.
    """
    with refusals():
        click.echo(f"{period} {months.seal_month(load(config_file), period, int(time.time()))}")


@click.command()
@config_option
def periods(config_file: Path) -> None:
    """List the months: open, closed or sealed, capacity and charged GPU-hours, amount and seal."""
    with refusals():
        table = Table("month", "state", "capacity", "charged", "amount", "currency", "seal", title="periods")
        for row in months.month_rows(load(config_file)):
            table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


@click.command()
@click.argument("period", required=False)
@config_option
def disputes(period: str | None, config_file: Path) -> None:
    """List what two owners claim without a link between them, with the evidence of both. Default: of every month.

    Also those that were ruled, and rulings that have no effect any more because the claims are not in conflict now.
    """
    with refusals():
        for dispute in months.list_disputes(load(config_file), period):
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
        raise Refused("say either --to JOB or --revoke", EXIT_USAGE)
    with refusals():
        now = int(time.time())
        found, report = months.rule_on(load(config_file), dispute, to, why=why, author=author, now=now)
    for line in months.dispute_lines(found):
        click.echo(printable(line))
    click.echo(book.reconciled(report))


COMMANDS = (settle, close_period, seal_period, periods, disputes, rule)
"""What the front door adds to its own."""
