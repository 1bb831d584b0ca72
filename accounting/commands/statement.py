"""``meterbridge statement``: what finance receives, and what a project lead reads."""

from __future__ import annotations

from pathlib import Path

import click

from accounting.commands.month import month
from exporters.commands.options import config_option

EXAMPLES = """\b
Examples:
  meterbridge statement 2026-10                          three files, here
  meterbridge statement 2026-10 --html --out statements  and a page for the site and for each project
"""


@click.command(epilog=EXAMPLES)
@click.argument("period", callback=month)
@config_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder for the files.")
@click.option(
    "--html", is_flag=True, help="Also pages for people: PERIOD.html, and PERIOD/PROJECT.html for each project."
)
@click.option("--parquet", is_flag=True, help="Also chargeback-PERIOD.parquet: the same lines, typed.")
def statement(period: str, config_file: Path, out: Path, html: bool, parquet: bool) -> None:
    """Write the chargeback of a month: chargeback-PERIOD.csv, its summary and its notes.

    All files of a call are made from one reading of the books, so they agree to the cent.
    """
    from accounting.commands.terminal import hint
    from accounting.site import book
    from accounting.site.statement_pages import every_file, take_away
    from exporters.config import load

    config = load(config_file)
    written = book.write_statement(config, period, out, every_file(config, out, html=html, parquet=parquet))
    for path in written:
        click.echo(path)
    for path in take_away(out, period, written) if html else ():
        hint(f"{path} was taken away: {period} has no line of that project any more")
