"""The claims of one day after the other.

A claim that lies within one day is found by its end, through an index. The few that do not have an index of their own,
and are kept in memory from their first day to their last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import ColumnElement, and_, func, or_, select

from accounting.arrays import Flags, Ints
from accounting.evidence.claim_reader import QUERY, Reader
from accounting.evidence.claim_rows import Rows, joined
from accounting.model import DAY
from accounting.store.columns import Columns, among
from accounting.store.tables import LONG, claims, records
from exporters.join.links import FOREVER

_C = claims.c


class Days:
    """The claims that overlap each of ``segments`` (node-days: sorted, without overlap), whole."""

    def __init__(self, reader: Reader, segments: Sequence[tuple[int, int]]) -> None:
        self.reader, self.segments = reader, segments
        self.seen = -1
        self.long: tuple[Ints, Ints, Ints] = (np.empty(0, np.int64),) * 3  # id, start, end
        self.kept: Rows | None = None

    def read(self, tables: Columns, a: int, b: int) -> Rows:
        """The claims that overlap ``[a, b)``, one of the segments."""
        self._find_long(tables)
        short = QUERY.where(_C.end_at > a, _C.end_at <= b, _C.start_at < b, ~self._crossing())
        rows = self.reader.read(tables, short)
        numbers, start, end = self.long
        there = numbers[(start < b) & (end > a)]
        if self.kept is not None:
            self.kept = self.kept.take(np.isin(self.kept.id, there))
        missing = there if self.kept is None else there[~np.isin(there, self.kept.id)]
        some = [rows] if self.kept is None else [rows, self.kept]
        if not len(missing):
            return joined(some)
        wanted = among(_C.id, missing.tolist(), tables.connection.dialect.name)
        late = self.reader.read(tables, QUERY.where(wanted))
        self.kept = late if self.kept is None else joined([self.kept, late])
        return joined([*some, late])

    def _find_long(self, tables: Columns) -> None:
        """Claims that do not lie within one segment, anew when records have come since."""
        newest = int(tables.connection.execute(select(func.coalesce(func.max(records.c.id), 0))).scalar_one())
        if newest == self.seen:
            return
        self.seen, self.kept = newest, None
        first, last = self.segments[0][0], self.segments[-1][1]
        end = func.coalesce(_C.end_at, FOREVER)
        over = or_(LONG, *self._odd())
        query = select(_C.id, _C.start_at, end.label("end")).where(_C.current, over, _C.start_at < last, end > first)
        number, start, finish = (column.to_numpy() for column in tables.table(query).columns)
        self.long = (number, start, finish)

    def _crossing(self) -> ColumnElement[bool]:
        """Whether a claim goes beyond a midnight, or a border of a segment that is none."""
        return or_(_C.start_at // DAY != (_C.end_at - 1) // DAY, *self._odd())

    def _odd(self) -> list[ColumnElement[bool]]:
        odd = sorted({moment for segment in self.segments for moment in segment if moment % DAY})
        return [and_(_C.start_at < moment, _C.end_at > moment) for moment in odd]


def inside(rows: Rows, a: int, b: int) -> Flags:
    """Which rows hold something in ``[a, b)``; one of no length holds nothing."""
    found: Flags = (rows.start < b) & (rows.end > np.maximum(a, rows.start))
    return found
