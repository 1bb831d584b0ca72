"""``meterbridge export`` and ``meterbridge ledger``: the books for other programs, and copies of them all."""

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


@click.group()
def ledger() -> None:
    """Copy the ledger while it is in use, make one out of a copy, give back unused space."""


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
def backup(file: Path, config_file: Path) -> None:
    """Copy the ledger as it is at this moment into FILE, which must not exist yet.

    Exporter and service go on meanwhile. The copy is proved to be readable, and appears whole or not at all.
    """
    from accounting.site import book, copies
    from exporters.config import load

    with book.opened(load(config_file)) as engine:
        size = copies.backup(engine, file)
    click.echo(f"{file}: {size} bytes")


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
def restore(file: Path, config_file: Path) -> None:
    """Make the ledger of the settings out of the copy FILE. There must be none yet: nothing is overwritten."""
    from accounting.site import book, copies
    from accounting.store.database import LedgerError
    from exporters.config import load

    config = load(config_file)
    if config.ledger is None:
        raise LedgerError("no ledger is configured: add ledger.url to the settings")
    copies.restore(config.ledger.url, file)
    with book.opened(config):  # an older copy is brought to this version's schema
        click.echo("restored; next: meterbridge check")


@ledger.command()
@config_option
def vacuum(config_file: Path) -> None:
    """Give back the space that deleted rows left, and gather what the database plans by. Writers wait meanwhile."""
    from accounting.site import book, copies
    from exporters.config import load

    with book.opened(load(config_file)) as engine:
        before, after = copies.vacuum(engine)
    click.echo(f"{before} bytes before, {after} bytes after")
