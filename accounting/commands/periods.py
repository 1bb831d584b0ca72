"""``meterbridge settle``, ``close``, ``seal`` and ``periods``: the months, and how they become final."""

from __future__ import annotations

import time
from pathlib import Path

import click

from accounting.commands.month import month
from exporters.commands.options import config_option
from exporters.errors import EXIT_BREACH, OperatorError


@click.command()
@click.argument("period", callback=month)
@config_option
@click.option("--json", "as_json", is_flag=True, help="As JSON: a list with an object for each thing that is open.")
def settle(period: str, config_file: Path, as_json: bool) -> None:
    """Say what is still open before a month may be closed. Exits 1 while something must be done first.

    Records that were not read to the end of the month, node-days with newer records, and late records that are still
    waited for (`ledger.settle`) must be done first. Disputes, unknown hours and rejects are told, and may stay.
    """
    from accounting.commands.terminal import hint, print_json
    from accounting.site import months
    from exporters.config import load

    found = months.settle(load(config_file), period, int(time.time()))
    if as_json:
        print_json([{"must": one.must, "what": one.what} for one in found])
    else:
        for one in found:
            click.echo(f"{'must' if one.must else 'note'}: {one.what}")
    todo = sum(one.must for one in found)
    if todo:
        raise OperatorError(f"{period} cannot be closed yet: {todo} must be done first", EXIT_BREACH)
    if not as_json:
        click.echo(f"{period} may be closed")
        hint(f"next: meterbridge close {period}")


@click.command("close")
@click.argument("period", callback=month)
@config_option
@click.option("--force", is_flag=True, help="Close it although `settle` says that something must be done first.")
def close_period(period: str, config_file: Path, force: bool) -> None:
    """Close a month for ever, with today's prices and terms. What is learnt later is a correction in an open month.

    Months are closed in order of time, once they are over. Closing one again changes nothing.
    """
    from accounting.commands.terminal import hint
    from accounting.rates.rating import money
    from accounting.site import months
    from exporters.config import load

    try:
        kept = months.close_month(load(config_file), period, int(time.time()), force=force)
    except months.NotSettledError as e:
        raise OperatorError(f"{e}; --force closes it all the same", EXIT_BREACH) from e
    amount = f": {money(kept.amount, kept.rates.minor_digits)} {kept.rates.currency}" if kept else ""
    click.echo(f"{period} is closed{amount}")
    hint(f"next: meterbridge statement {period} writes its final files; meterbridge seal {period} makes it provable")


@click.command("seal")
@click.argument("period", callback=month)
@config_option
def seal_period(period: str, config_file: Path) -> None:
    """Seal a closed month: print a hash over all that was booked in it, chained to the seal of the month before.

    `check` computes it again. Whoever keeps the printed seal can prove that nothing up to that month was changed.
    """
    from accounting.commands.terminal import hint
    from accounting.site import months
    from exporters.config import load

    seal = months.seal_month(load(config_file), period, int(time.time()))
    click.echo(f"{period} {seal}")
    hint(f"keep this seal outside of this machine; later: meterbridge check --seal {seal}")


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="As JSON: a list with an object for each month.")
def periods(config_file: Path, as_json: bool) -> None:
    """List the months: open, closed or sealed, capacity and charged GPU-hours, amount and seal."""
    from accounting.commands.terminal import show, show_json
    from accounting.site import months
    from exporters.config import load

    columns = ("month", "state", "capacity_gpu_hours", "charged_gpu_hours", "amount", "currency", "seal")
    rows = months.month_rows(load(config_file))
    if as_json:
        show_json(columns, rows)
        return
    show("periods", [column.replace("_gpu_hours", " GPU-hours") for column in columns], rows)
