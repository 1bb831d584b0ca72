"""``meterbridge rates``: whether every line has a price, what others would change, and why a line costs so much."""

from __future__ import annotations

import time
from dataclasses import asdict
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
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check_rates(period: str, config_file: Path, as_json: bool) -> None:
    """Prove that every charged line of a month has exactly one price. Exits 1 and names what has none, or two.

    It also says how many lines each price gives, and which prices give none.
    """
    from accounting.commands.terminal import hint, print_json
    from accounting.site import rate_questions
    from exporters.config import load

    found = rate_questions.check(load(config_file), period)
    if found.stands:
        hint(f"note: {found.stands}")
    if as_json:
        print_json(asdict(found))
    else:
        for fault in found.faults:
            click.echo(fault)
    if found.faults:
        raise OperatorError(
            f"{len(found.faults)} kinds of lines of {period} do not have exactly one price", EXIT_BREACH
        )
    if as_json:
        return
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
@click.option("--json", "as_json", is_flag=True, help="As JSON: a list with an object for each project.")
def diff_rates(one: str, other: str, period: str, config_file: Path, as_json: bool) -> None:
    """Say what a month would come to with the rate cards ONE and OTHER, by project. Nothing is changed.

    Each is a file, a folder of files, or the word `settings`: the prices that the settings name.
    """
    from accounting.commands.terminal import hint, print_json, show
    from accounting.site import rate_questions
    from exporters.config import load

    found = rate_questions.difference(load(config_file), one, other, period)
    if found.stands:
        hint(f"note: {found.stands}")
    if as_json:
        print_json([{**asdict(row), "currency": found.currency} for row in found.rows])
        return
    rows = [(row.project, row.one, row.other, row.difference) for row in found.rows]
    show(f"{period}, {found.currency}", ("project", one, other, f"difference {found.currency}"), rows)


@rates.command("explain")
@click.argument("line_id")
@config_option
@click.option("--period", callback=month, help="The month of the line; default: look in every month.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def explain_rates(line_id: str, config_file: Path, period: str | None, as_json: bool) -> None:
    """Say by which price and factors a line came to its amount, with the arithmetic.

    LINE_ID is what the CSV's column line_id says, or the beginning of it.
    """
    from accounting.commands.terminal import print_json
    from accounting.site.line_questions import price_of
    from accounting.statements.one_line.line_told import price_lines
    from exporters.config import load

    found = price_of(load(config_file), line_id, period)
    if as_json:
        print_json(found)
        return
    for line in price_lines(found):
        click.echo(line)


@rates.command("allocations")
@config_option
@click.option("--json", "as_json", is_flag=True, help="As JSON: a list with an object for each grant.")
def show_allocations(config_file: Path, as_json: bool) -> None:
    """List what was granted to projects, what they used of it, and what is left. Exits 1 where one overdrew.

    Each month draws on the grants that are valid in it, the one that expires first before the others.
    """
    from accounting.commands.terminal import show, show_json
    from accounting.site import rate_questions
    from exporters.config import load

    columns = ("project", "grant", "unit", "granted", "used", "left", "state")
    rows, wrong = rate_questions.account_rows(load(config_file), int(time.time()))
    if as_json:
        show_json(columns, rows)
    else:
        show("allocations", columns, rows)
    if wrong:
        raise OperatorError("; ".join(wrong), EXIT_BREACH)
