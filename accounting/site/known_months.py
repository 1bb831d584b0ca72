"""Of which months something is booked: nothing known is not nothing used."""

from __future__ import annotations

from datetime import tzinfo

from sqlalchemy import Engine, select

from accounting.store.calendar import Period, period_named
from accounting.store.database import LedgerError, read
from accounting.store.tables import periods


def known_month(engine: Engine, name: str, where: tzinfo) -> Period:
    """A month of which something is booked. Raises `LedgerError` of any other: nothing known is not nothing used."""
    period = period_named(name, where)
    if why := unknown_month(engine, name):
        raise LedgerError(why)
    return period


def unknown_month(engine: Engine, name: str) -> str:
    """That nothing of a month is booked, in a sentence; nothing where something is."""
    known = month_names(engine)
    if name in known:
        return ""
    told = f"there are {known[0]} to {known[-1]}" if known else "nothing was reconciled yet"
    return f"no records of {name} are booked: {told}; meterbridge reconcile books what was read"


def month_names(engine: Engine) -> list[str]:
    """The billing months that were booked in, oldest first."""
    with read(engine) as connection:
        return list(connection.scalars(select(periods.c.name).order_by(periods.c.start_at)))
