"""``meterbridge explain``: where a line comes from."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from accounting.commands.month import month
from exporters.commands.options import config_option


@click.command()
@click.argument("line_id")
@config_option
@click.option("--period", callback=month, help="The month of the line; default: look in every month.")
def explain(line_id: str, config_file: Path, period: str | None) -> None:
    """Print the evidence behind a line: postings, node-days, claims, and the raw records as read."""
    from accounting.site import line_questions
    from exporters.config import load

    click.echo(line_questions.explain(load(config_file), line_id, period, escape=sys.stdout.isatty()), nl=False)
