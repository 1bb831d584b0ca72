"""``meterbridge rejects``: what was set aside."""

from __future__ import annotations

from pathlib import Path

import click

from exporters.commands.options import config_option


@click.command()
@config_option
@click.option("--limit", default=100, show_default=True, help="How many to print, newest first.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: a list with an object for each record.")
def rejects(config_file: Path, limit: int, as_json: bool) -> None:
    """List the records that were set aside, each with its reason."""
    from accounting.commands.terminal import show, show_json
    from accounting.site import book
    from exporters.config import load

    columns = ("seen", "source", "reason", "record")
    rows = book.rejects(load(config_file), limit)
    if as_json:
        show_json(columns, rows)
        return
    show("rejects", columns, rows)
