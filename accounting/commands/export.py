"""``meterbridge export``: the books for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from accounting.commands.month import month
from exporters.commands.options import config_option


@click.group()
def export() -> None:
    """Write the books in other programs' forms."""


@export.command("beancount")
@click.argument("period", callback=month)
@config_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder for the file.")
def export_beancount(period: str, config_file: Path, out: Path) -> None:
    """Write a month's transactions as PERIOD.beancount, with our balances as assertions: bean-check proves them."""
    from accounting.site import book
    from exporters.config import load

    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{period}.beancount"
    book.export_beancount(load(config_file), period, path)
    click.echo(path)
