"""``meterbridge statement``: what finance receives."""

from __future__ import annotations

from pathlib import Path

import click

from accounting.commands.month import month
from exporters.commands.options import config_option


@click.command()
@click.argument("period", callback=month)
@config_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder for the files.")
def statement(period: str, config_file: Path, out: Path) -> None:
    """Write the chargeback of a month: chargeback-PERIOD.csv, its summary and its notes."""
    from accounting.site import book
    from exporters.config import load

    for path in book.write_statement(load(config_file), period, out):
        click.echo(path)
