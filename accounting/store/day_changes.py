"""Of which days the evidence has changed: counters by day, so that a day that is as it was need not be read again.

Whoever writes claims, what is known of their jobs, or what was seen of cards says here which time that is about. The
counters only ever grow, so one that is the same as before means that nothing was said of its day since. Where in doubt,
a day is counted too often: then it is read, and found to be the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, select

from accounting.model import DAY, NEAR
from accounting.store.database import chunks, upsert
from accounting.store.tables import claims, day_changes, day_marks, records

Span = tuple[int, int | None]
"""Epoch seconds; no end: it still goes on."""

_LONGEST = 400
"""Days that are counted one by one; what is longer counts as if it still went on."""

_D = day_changes.c


def touch(connection: Connection, spans: Iterable[Span]) -> None:
    """Count what is written of these times, for their days and for what a key may tie to them (`NEAR`)."""
    days: Counter[int] = Counter()
    since: Counter[int] = Counter()
    for start, end in spans:
        first = (start - NEAR) // DAY
        last = first + _LONGEST if end is None else (end + NEAR) // DAY
        if last == first:
            days[first] += 1
        elif last - first < _LONGEST:
            days.update(range(first, last + 1))
        else:
            since[first] += 1
    told = [{"day": day, "changes": days[day], "since": since[day]} for day in sorted(days | since)]
    if told:
        put = upsert(day_changes, connection.dialect.name)
        more = {"changes": _D.changes + put.excluded.changes, "since": _D.since + put.excluded.since}
        connection.execute(put.on_conflict_do_update(index_elements=["day"], set_=more), told)


def touch_records(connection: Connection, numbers: Iterable[int]) -> None:
    """Count what changes of these records' claims."""
    _touch(connection, claims.c.record_id, numbers)


def touch_jobs(connection: Connection, numbers: Iterable[int]) -> None:
    """Count what changes of these jobs: wherever they have claims."""
    _touch(connection, records.c.job_id, numbers)


def _touch(connection: Connection, column: Any, numbers: Iterable[int]) -> None:
    query = select(claims.c.start_at, claims.c.end_at).join(records, records.c.id == claims.c.record_id)
    for part in chunks(numbers):
        touch(connection, [(start, end) for start, end in connection.execute(query.where(column.in_(part)))])


class Changes:
    """The counters as they stand."""

    def __init__(self, connection: Connection) -> None:
        self._rows = [tuple(row) for row in connection.execute(select(_D.day, _D.changes, _D.since))]

    def of(self, a: int, b: int) -> int:
        """A number that grows whenever something is written of the days of ``[a, b)``."""
        first, last = a // DAY, (b - 1) // DAY
        return sum((n if first <= day else 0) + more for day, n, more in self._rows if day <= last)


def forget_marks(connection: Connection, starts: Iterable[int]) -> None:
    """Forget what the days that begin then are known by, since something is booked of them.

    Whoever books may know less than another writer who marked the day meanwhile: without its mark it is read again.
    """
    for part in chunks(sorted(starts)):
        connection.execute(delete(day_marks).where(day_marks.c.start_at.in_(part)))
