"""A month's statement as the service reads it: some lines at a time, out of columns, for those who may see them.

The lines are those of `accounting.statements`, byte for byte; those that nobody asks for are never more than numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy import Engine

from accounting.arrays import Ints
from accounting.bulk.readers import Briefly
from accounting.bulk.statement import MonthStatement
from accounting.bulk.sums import group_of
from accounting.model import Line
from accounting.rates.rating import Rates, rate
from accounting.statements import Statement
from accounting.statements.usage import usages_named
from accounting.store.database import read


@dataclass(frozen=True, slots=True)
class StatedMonth:
    """The lines of a month in a ledger that some may see, and their totals. ``rates`` are the month's."""

    ledger: Engine
    month: MonthStatement
    rates: Rates

    def __len__(self) -> int:
        return len(self.month.order) + len(self.month.statement.lines)

    def of_projects(self, may_see: Callable[[str], bool]) -> StatedMonth:
        """What those may see who may see these projects; each line has the hours that it has in the whole."""
        sums, told = self.month.own.sums, self.month.statement
        seen = np.array([may_see(name) for name in sums.projects], dtype=bool)
        kept = [n for n, line in enumerate(told.lines) if may_see(line.usage.project)]
        statement = replace(
            told,
            lines=tuple(told.lines[n] for n in kept),
            micro_hours=tuple(told.micro_hours[n] for n in kept),
            totals=tuple(total for total in told.totals if may_see(total.project)),
        )
        order = self.month.order[seen[sums.project[self.month.order]]]
        return replace(self, month=replace(self.month, order=order, statement=statement))

    def totals(self) -> Statement:
        """The totals of all these lines; of the lines themselves only the corrections of closed months."""
        return self.month.statement

    def page(self, offset: int, limit: int) -> Statement:
        """``limit`` lines at most, after ``offset`` others; the totals are those of all lines."""
        which = self.month.order[offset : offset + limit]
        told, past = self.month.statement, max(offset - len(self.month.order), 0)
        later = slice(past, past + limit - len(which))
        return replace(
            told,
            lines=(*self._lines(which), *told.lines[later]),
            micro_hours=(*self.month.own.micro[which].tolist(), *told.micro_hours[later]),
        )

    def _lines(self, which: Ints) -> list[Line]:
        sums = self.month.own.sums
        columns = (which, sums.charged[which], sums.held[which], sums.start[which], sums.end[which])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        found = [(group_of(sums, n), (a, b, c, d), sums.measured.get(n, ())) for n, a, b, c, d in rows]
        with read(self.ledger) as connection:
            usages = usages_named(connection, found)
        return rate(usages, self.rates, self.month.statement.billing_period)

    def chargeback(self) -> Iterator[str | bytes]:
        """The lines as the CSV file that `meterbridge statement` writes, some at a time."""
        return self.month.csv(Briefly(self.ledger))
