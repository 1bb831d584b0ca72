"""``meterbridge rates``: whether every line has a price, what others would change, and why a line costs so much."""

from __future__ import annotations

import time
from pathlib import Path

import click

from accounting.commands.month import month
from exporters.commands.options import config_option
from exporters.errors import EXIT_BREACH, OperatorError


@click.group()
def rates() -> None:
    """Ask what prices come to: check a month, compare cards, explain a line."""


@rates.command("check")
@click.argument("period", callback=month)
@config_option
def check_rates(period: str, config_file: Path) -> None:
    """Prove that every charged line of a month has exactly one price. Exits 1 and names what has none, or two.

    It also says how many lines each price gives, and which prices give none.
    """
    from accounting.site import rate_questions
    from exporters.config import load

    found = rate_questions.check(load(config_file), period)
    for fault in found.faults:
        click.echo(fault)
    if found.faults:
        raise OperatorError(
            f"{len(found.faults)} kinds of lines of {period} do not have exactly one price", EXIT_BREACH
        )
    for told, lines in found.lines.items():
        click.echo(f"{lines} lines: {told}")
    for key in found.unused:
        click.echo(f"note: gives no line of {period} its price: {key}")
    click.echo(f"every line of {period} has exactly one price")


@rates.command("diff")
@click.argument("one")
@click.argument("other")
@click.option("--period", callback=month, required=True, help="The month to rate with both.")
@config_option
def diff_rates(one: str, other: str, period: str, config_file: Path) -> None:
    """Say what a month would come to with the rate cards ONE and OTHER, by project. Nothing is changed.

    Each is a file, a folder of files, or the word `settings`: the prices that the settings name.
    """
    from rich.table import Table

    from accounting.commands.terminal import show
    from accounting.site import rate_questions
    from exporters.config import load

    currency, rows = rate_questions.difference(load(config_file), one, other, period)
    table = Table("project", one, other, "difference", title=f"{period}, {currency}")
    for row in rows:
        table.add_row(row.project, row.one, row.other, row.more)
    show(table)


@rates.command("explain")
@click.argument("line_id")
@config_option
@click.option("--period", callback=month, help="The month of the line; default: look in every month.")
def explain_rates(line_id: str, config_file: Path, period: str | None) -> None:
    """Say by which price and factors a line came to its amount, with the arithmetic."""
    from accounting.site import rate_questions
    from exporters.config import load

    for line in rate_questions.explain(load(config_file), line_id, period):
        click.echo(line)


@rates.command("allocations")
@config_option
def show_allocations(config_file: Path) -> None:
    """List what was granted to projects, what they used of it, and what is left. Exits 1 where one overdrew.

    Each month draws on the grants that are valid in it, the one that expires first before the others.
    """
    from rich.table import Table

    from accounting.commands.terminal import show
    from accounting.site import rate_questions
    from exporters.config import load

    rows, wrong = rate_questions.account_rows(load(config_file), int(time.time()))
    table = Table("project", "grant", "unit", "granted", "used", "left", "", title="allocations")
    for row in rows:
        table.add_row(*row)
    show(table)
    if wrong:
        raise OperatorError("; ".join(wrong), EXIT_BREACH)
