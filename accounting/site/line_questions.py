"""What is asked of one line: which it is, and on what evidence it stands."""

from __future__ import annotations

from sqlalchemy import Engine

from accounting.site import book
from accounting.site.known_months import month_names
from accounting.statements.explain import explain_usage, render
from accounting.statements.month import Named, line_named
from accounting.store.calendar import period_named
from accounting.store.database import LedgerError
from exporters.config import Config


def explain(config: Config, line_id: str, name: str | None, *, escape: bool) -> bytes:
    """The evidence chain of a line, raw records byte for byte; ``escape`` makes them fit for a terminal.

    Raises `LedgerError` as `line_found` does.
    """
    with book.opened(config) as engine:
        month, _, found = line_found(config, engine, line_id, name)
        span = found.spans[0][0], found.spans[-1][1]
        chain = explain_usage(engine, *span, found.usage, month if found.corrects else "", found.spans)
        return render(chain, escape=escape)


def line_found(config: Config, engine: Engine, line_id: str, name: str | None) -> tuple[str, book.Prices, Named]:
    """A line by its id, in one month or in the latest that has it: the month, its prices, and what the line is.

    Raises `LedgerError` when no month (or not that one) has such a line.
    """
    months = [name] if name else list(reversed(month_names(engine)))
    for month in months:
        period = period_named(month, book.zone(config))
        at = book.prices(config, engine, period)
        found = line_named(engine, period, line_id, at.cards)
        if found is not None:
            return month, at, found
    raise LedgerError(f"no line {line_id} in {', '.join(months) or 'an empty ledger'}: line_id is a column of the CSV")
