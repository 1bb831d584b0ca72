"""``meterbridge statement`` and ``usage``: what finance receives, what a project lead reads, and sums of it."""

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
@click.option(
    "--focus", is_flag=True, help="Also focus-cost-and-usage-PERIOD.csv and .parquet: what is paid, as FOCUS 1.4."
)
def statement(period: str, config_file: Path, out: Path, html: bool, parquet: bool, focus: bool) -> None:
    """Write the chargeback of a month: chargeback-PERIOD.csv, its summary and its notes.

    All files of a call are made from one reading of the books, so they agree to the cent.
    """
    from accounting.commands.terminal import hint
    from accounting.site import book
    from accounting.site.statement_pages import every_file, take_away
    from exporters.config import load

    config = load(config_file)
    more = every_file(config, out, html=html, parquet=parquet, focus=focus)
    written = book.write_statement(config, period, out, more)
    for path in written:
        click.echo(path)
    for path in take_away(out, period, written) if html else ():
        hint(f"{path} was taken away: {period} has no line of that project any more")


USAGE_EXAMPLES = """\b
Examples:
  meterbridge usage                                           the latest month, by project
  meterbridge usage 2026-10 --by user,model --project vision  who of a project used which cards
  meterbridge usage 2026-09 2026-10 --by month,project --json two months, for a program
"""


def _months(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(month(context, parameter, name) for name in names)


def _by(_context: click.Context, _parameter: click.Parameter, text: str) -> list[str]:
    from accounting.statements.grouped import BY

    asked = list(dict.fromkeys(part.strip() for part in text.split(",")))
    if unknown := [name for name in asked if name not in BY]:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(BY)}")
    return asked


@click.command(epilog=USAGE_EXAMPLES)
@click.argument("periods", nargs=-1, metavar="[PERIOD]...", callback=_months)
@config_option
@click.option(
    "--by", default="project", callback=_by, show_default=True, help="What to add up by, with commas between."
)
@click.option("--project", help="Only what this project is charged for.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: a list with an object for each row.")
def usage(periods: tuple[str, ...], config_file: Path, by: list[str], project: str | None, as_json: bool) -> None:
    """Say who used how much: charged GPU-hours and amounts of some months (default: the latest), largest first.

    By month, project, user, account (namespaces, too), model, scheduler, cluster or partition. The figures are sums of
    the very lines of `meterbridge statement`, corrections of earlier months among them.
    """
    from accounting.commands.terminal import hint, show, show_json
    from accounting.site.usage_questions import usage_rows
    from exporters.config import load

    columns, rows = usage_rows(load(config_file), periods, by, project)
    if as_json:
        show_json(columns, rows)
        return
    show("usage", [column.replace("_gpu_hours", " GPU-hours").replace("_", " ") for column in columns], rows)
    if project is not None and not rows:
        hint(f"nothing is charged to a project {project!r}: `meterbridge usage` lists the projects there are")
