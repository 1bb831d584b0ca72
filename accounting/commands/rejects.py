"""``meterbridge rejects``: what was set aside."""

from __future__ import annotations

from pathlib import Path

import click

from exporters.commands.options import config_option


@click.command()
@config_option
@click.option("--limit", default=100, show_default=True, help="How many to print, newest first.")
def rejects(config_file: Path, limit: int) -> None:
    """List the records that were set aside, each with its reason."""
    from rich.table import Table

    from accounting.commands.terminal import show
    from accounting.site import book
    from exporters.config import load

    table = Table("seen", "source", "reason", "record", title="rejects")
    for row in book.rejects(load(config_file), limit):
        table.add_row(*row)
    show(table)
