"""Books a day's node-days: new ones in an open period straight as rows, the others as `accounting.booking` does.

What is written is the same either way, in the same order, under the same ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from accounting.booking import POST, Booking, Entry, Posted, set_unplaced_aside
from accounting.bulk.postings import VALUES, DayPostings
from accounting.bulk.site import SiteDay
from accounting.database import insert_many, next_id, storable
from accounting.ledger import heads
from accounting.model import NodeDayResult
from accounting.periods import OPEN, open_period
from accounting.rulings import ruled
from accounting.tables import node_days, postings, transactions


@dataclass(frozen=True, slots=True)
class Done:
    """A day's reconciled node-days: ``which`` are numbers into the day's machines, ascending.

    ``columns`` tells for each its number among the sweep's columns, -1 for one that the scalar rules did: those are in
    ``singly``.
    """

    day: SiteDay
    which: Sequence[int]
    columns: Sequence[int]
    swept: DayPostings
    singly: dict[int, NodeDayResult]
    rules_hash: bytes

    def entry(self, n: int) -> Entry:
        """One of the node-days, as `accounting.booking` takes it."""
        machine, column = self.which[n], self.columns[n]
        result = self.singly[machine] if column < 0 else self.swept.result(column)
        told = ruled(self.day.machines[machine].rulings)
        return Entry(result, self.day.end, self.day.hashes[machine], self.rules_hash, *told)

    def unplaced(self, n: int) -> int:
        """How many claims of one of the node-days found no cards."""
        column = self.columns[n]
        return len(self.singly[self.which[n]].unplaced if column < 0 else self.swept.unplaced(column))


def book_day(connection: Connection, done: Done, *, now: int, zone: tzinfo) -> Counter[Posted]:
    """Book the node-days of ``done`` in their order. Raises `LedgerError` when one does not balance."""
    done.swept.refuse_unbalanced()
    day = done.day
    _, state = open_period(connection, day.start, zone)
    had = heads(connection, day.start, day.start + 1)
    counts: Counter[Posted] = Counter()

    def is_new(n: int) -> bool:
        return state == OPEN and done.columns[n] >= 0 and (day.machines[done.which[n]].name, day.start) not in had

    for new, some in groupby(range(len(done.which)), key=is_new):
        numbers = [*some]
        if new:
            _post(connection, done, numbers, now=now, zone=zone)
            counts[Posted.POSTED] += len(numbers)
        else:
            counts.update(Booking(connection, now, zone).book([done.entry(n) for n in numbers]))
    return counts


def _post(connection: Connection, done: Done, numbers: Sequence[int], *, now: int, zone: tzinfo) -> None:
    """Write node-days of which nothing was booked before; their numbers follow each other."""
    day, swept = done.day, done.swept
    period, _ = open_period(connection, day.start, zone)
    number, posting = next_id(connection, transactions), next_id(connection, postings)
    booked: list[tuple[Any, ...]] = []
    heads_: list[tuple[Any, ...]] = []
    for n, id_ in zip(numbers, range(number, number + len(numbers)), strict=True):
        machine = day.machines[done.which[n]]
        digest = day.hashes[done.which[n]]
        author, reason = ruled(machine.rulings)
        booked.append(
            (
                id_, POST, machine.name, day.start, day.end, period.name, None, digest, done.rules_hash, now,
                storable(author), storable(reason),
            )
        )  # fmt: skip
        heads_.append((machine.name, day.start, day.end, digest, done.rules_hash, id_, None))
    insert_many(connection, transactions, [c.name for c in transactions.columns], booked)
    first, last = done.columns[numbers[0]], done.columns[numbers[-1]] + 1
    counts = (swept.first[first + 1 : last + 1] - swept.first[first:last]).tolist()
    owners = [
        id_ for id_, count in zip(range(number, number + len(numbers)), counts, strict=True) for _ in range(count)
    ]
    columns = swept.columns(first, last)
    rows = [*zip(range(posting, posting + len(owners)), owners, *columns, strict=True)]
    insert_many(connection, postings, ("id", "transaction_id", *VALUES), rows)
    insert_many(connection, node_days, [c.name for c in node_days.columns], heads_)
    lost = [(day.machines[done.which[n]].name, day.start, swept.unplaced(done.columns[n])) for n in numbers]
    set_unplaced_aside(connection, lost, now)
