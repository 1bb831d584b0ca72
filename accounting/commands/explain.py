"""``meterbridge explain``: where a line comes from."""

from __future__ import annotations

from pathlib import Path

import click

from accounting.commands.month import month
from exporters.commands.options import config_option

EXAMPLES = """\b
Examples:
  meterbridge explain L7ad1b0ff1b9d8975afab     hours, price, amount, and the sum per node
  meterbridge explain L7ad1 --evidence          by the beginning of its id; with the raw records
"""


@click.command(epilog=EXAMPLES)
@click.argument("line_id")
@config_option
@click.option("--period", callback=month, help="The month of the line; default: look in every month.")
@click.option("--evidence", is_flag=True, help="Also what it stands on: postings, node-days, claims, raw records.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON; with --evidence raw records to the byte.")
def explain(line_id: str, config_file: Path, period: str | None, evidence: bool, as_json: bool) -> None:
    """Say why a line comes to its amount: hours, price, arithmetic, and the sum per node.

    LINE_ID is what the CSV's column line_id says, or the beginning of it.
    """
    from accounting.commands.terminal import print_json
    from accounting.site import line_questions
    from exporters.config import load

    config = load(config_file)
    if as_json:
        print_json(line_questions.explained(config, line_id, period, evidence=evidence))
        return
    for line in line_questions.explain(config, line_id, period, evidence=evidence):
        click.echo(line)
