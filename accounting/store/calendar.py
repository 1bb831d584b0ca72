"""Billing months in the site's time zone, node-days that fit into them, and whether a month is open or closed.

A node-day is a UTC day; where a month begins within it (a site east or west of Greenwich) the day is cut there, so
that every node-day lies in one period. A closed period never changes: what is learnt later is booked in an open one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from sqlalchemy import Connection, Engine, select, update

from accounting.model import DAY
from accounting.store.database import LedgerError, insert_missing, read, write
from accounting.store.decisions import CLOSE, note
from accounting.store.tables import periods as table
from accounting.store.tables import transactions
from exporters.errors import EXIT_BREACH, EXIT_USAGE

STATES = OPEN, CLOSED, SEALED = "open", "closed", "sealed"

FIRST_YEAR, LAST_YEAR = 1970, 9998
"""The years of billing months: times are counted from 1970, and a month needs a next one."""

_NAME = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A billing month ``2026-10``: ``[start, end)`` in epoch seconds, from local midnight to local midnight."""

    name: str
    start: int
    end: int


class PeriodError(LedgerError):
    """What was given is not the name of a billing month. The message says how one is written."""

    exit_code = EXIT_USAGE


class NotReadyError(LedgerError):
    """A month cannot be closed or sealed yet. The message says what comes first."""

    exit_code = EXIT_BREACH


def period_named(name: str, zone: tzinfo = UTC) -> Period:
    """The month of that name, from 1970 on. Raises `PeriodError` for anything but ``YYYY-MM``."""
    found = _NAME.fullmatch(name)
    if not found or not FIRST_YEAR <= int(found[1]) <= LAST_YEAR:
        raise PeriodError(f"{name!r} is not a billing month; write it like 2026-10")
    return _month(int(found[1]), int(found[2]), zone)


def period_at(moment: int, zone: tzinfo = UTC) -> Period:
    """The month that holds a moment."""
    local = datetime.fromtimestamp(moment, zone)
    return _month(local.year, local.month, zone)


@lru_cache(maxsize=1024)
def _month(year: int, month: int, zone: tzinfo) -> Period:
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    start = int(datetime(year, month, 1, tzinfo=zone).timestamp())
    return Period(f"{year:04}-{month:02}", start, int(datetime(*following, 1, tzinfo=zone).timestamp()))


def segment_at(moment: int, zone: tzinfo = UTC) -> tuple[int, int]:
    """The node-day that holds a moment: its UTC day, cut to its month."""
    day = moment - moment % DAY
    month = period_at(moment, zone)
    return max(day, month.start), min(day + DAY, month.end)


def segments(start: int, end: int, zone: tzinfo = UTC) -> Iterator[tuple[int, int]]:
    """All node-days that touch ``[start, end)``, whole."""
    moment = start
    while moment < end:
        segment = segment_at(moment, zone)
        yield segment
        moment = segment[1]


def open_period(connection: Connection, moment: int, zone: tzinfo) -> tuple[Period, str]:
    """The period that holds a moment, written down when it is new, and its state. Only a writer may ask.

    Raises `LedgerError` when the ledger keeps its months in another time zone than ``zone``.
    """
    period = period_at(moment, zone)
    row = connection.execute(select(table).where(table.c.name == period.name)).first()
    if row is None:
        insert_missing(
            connection,
            table,
            [{"name": period.name, "start_at": period.start, "end_at": period.end, "zone": str(zone), "state": OPEN}],
            ["name"],
        )
        return period, OPEN
    if (row.start_at, row.end_at) != (period.start, period.end):
        raise LedgerError(
            f"period {period.name} of this ledger is kept in time zone {row.zone}, not in {zone}: "
            f"set the time zone back to {row.zone}"
        )
    return period, str(row.state)


def correcting_period(connection: Connection, closed: Period, zone: tzinfo) -> Period:
    """The first period after a closed one that is still open: where its corrections are booked."""
    period, state = closed, CLOSED
    while state != OPEN:
        period, state = open_period(connection, period.end, zone)
    return period


def state(engine: Engine, name: str) -> str:
    """``open``, ``closed`` or ``sealed``. A period that nothing was booked in yet is open."""
    with read(engine) as connection:
        found = connection.execute(select(table.c.state).where(table.c.name == name)).scalar_one_or_none()
    return OPEN if found is None else str(found)


def periods_booked(engine: Engine, zone: tzinfo = UTC) -> list[Period]:
    """The months in which anything was ever booked, oldest first."""
    c = table.c
    query = select(c.name).where(c.name.in_(select(transactions.c.period).distinct())).order_by(c.start_at)
    with read(engine) as connection:
        return [period_named(name, zone) for name in connection.scalars(query)]


def close(
    engine: Engine, name: str, *, now: int, zone: tzinfo = UTC, closed_with: Callable[[Connection], str] | None = None
) -> Period:
    """Close a month for ever. Closing it again changes nothing.

    ``closed_with`` tells what it is closed with (`accounting.periods.closing.ClosedWith`), while nobody else can write,
    and may write what is kept with it.
    Raises `NotReadyError` when the month is not over, or an earlier one that has bookings is still open.
    """
    wanted = period_named(name, zone)
    if now < wanted.end:
        raise NotReadyError(f"period {name} is not over: it ends at {datetime.fromtimestamp(wanted.end, zone)}")
    with write(engine) as connection:
        period, current = open_period(connection, wanted.start, zone)
        c = table.c
        earlier = connection.execute(
            select(c.name).where(c.state == OPEN, c.start_at < period.start).order_by(c.start_at)
        ).scalars()
        if unclosed := list(earlier):
            raise NotReadyError(f"close {', '.join(unclosed)} before {name}: corrections go into later periods")
        if current == OPEN:
            told = closed_with(connection) if closed_with else ""
            news = {"state": CLOSED, "closed_at": now, "closed_with": told}
            connection.execute(update(table).where(c.name == name).values(news))
            note(connection, CLOSE, name, told, now)
    return period
