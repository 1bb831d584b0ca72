"""Books a day's node-days: new ones in an open period straight as rows, the others as `accounting.ledger.booking` does.

What is written is the same either way, in the same order, under the same ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, NamedTuple

from sqlalchemy import Connection

from accounting.bulk.marks import store
from accounting.bulk.postings import VALUES
from accounting.bulk.staging import copy
from accounting.ledger.booking import POST, Booking, Entry, Head, Posted, forget_marks, set_unplaced_aside
from accounting.ledger.books import heads
from accounting.store.calendar import OPEN, open_period
from accounting.store.database import insert_many, next_id, storable
from accounting.store.tables import node_days, postings, transactions
from exporters.model import Claim

Place = tuple[str, int]
"""Machine and start of a node-day."""


class New(NamedTuple):
    """A node-day of which nothing was booked: how many postings it has, and what its rulings tell."""

    machine: str
    inputs_hash: bytes
    author: str
    reason: str
    postings: int
    unplaced: Sequence[tuple[Claim, str]]


@dataclass(frozen=True, slots=True)
class Fresh:
    """New node-days one after the other.

    ``columns`` (`VALUES`) are those of all their postings; without any, they are staged (`accounting.bulk.staging`):
    those from ``posting`` on, of the node-days from ``number`` on.
    """

    node_days: Sequence[New]
    columns: Sequence[Sequence[Any]]
    posting: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """The node-days over ``[start, end)`` that are new or changed, ready to be booked in the order of ``runs``.

    ``seen`` are all machines there are, ``had`` where the books stood when that was found out, and ``is_open`` whether
    the period was open then. ``mark`` is by which the day is known again (`accounting.bulk.marks`), empty if it need
    not be kept. ``staged`` is the image of new postings, if there is one (`accounting.bulk.staging`).
    """

    start: int
    end: int
    rules_hash: bytes
    seen: Sequence[str]
    had: Mapping[Place, Head]
    is_open: bool
    runs: Sequence[Fresh | Sequence[Entry]]
    changed: int
    unplaced: int
    mark: bytes
    staged: bytes = b""


class OutdatedError(Exception):
    """The books are not any more where they stood when a day was reconciled: do it again."""


def book_day(connection: Connection, done: Done, *, now: int, zone: tzinfo) -> Counter[Posted]:
    """Book what is new or changed. Raises `OutdatedError` when somebody else has booked of that day meanwhile."""
    _, state = open_period(connection, done.start, zone)
    if (state == OPEN) != done.is_open or heads(connection, done.start, done.end) != done.had:
        raise OutdatedError
    counts: Counter[Posted] = Counter()
    for run in done.runs:
        if isinstance(run, Fresh):
            _post(connection, done, run, now=now, zone=zone)
            counts[Posted.POSTED] += len(run.node_days)
        else:
            counts.update(Booking(connection, now, zone).book(run))
    if done.mark:
        store(connection, done.start, done.end, done.mark)
    return counts


def _post(connection: Connection, done: Done, run: Fresh, *, now: int, zone: tzinfo) -> None:
    """Write node-days of which nothing was booked before."""
    period, _ = open_period(connection, done.start, zone)
    number, posting = next_id(connection, transactions), next_id(connection, postings)
    booked: list[tuple[Any, ...]] = []
    heads_: list[tuple[Any, ...]] = []
    owners: list[int] = []
    for id_, day in enumerate(run.node_days, start=number):
        booked.append(
            (
                id_, POST, day.machine, done.start, done.end, period.name, None, day.inputs_hash, done.rules_hash, now,
                storable(day.author), storable(day.reason),
            )
        )  # fmt: skip
        heads_.append((day.machine, done.start, done.end, day.inputs_hash, done.rules_hash, id_, None))
        owners += [id_] * day.postings
    insert_many(connection, transactions, [c.name for c in transactions.columns], booked)
    if run.columns:
        rows = [*zip(range(posting, posting + len(owners)), owners, *run.columns, strict=True)]
        insert_many(connection, postings, ("id", "transaction_id", *VALUES), rows)
    elif owners:
        last = run.posting + len(owners) - 1
        copy(connection, run.posting, last, posting - run.posting, number - run.number)
    insert_many(connection, node_days, [c.name for c in node_days.columns], heads_)
    forget_marks(connection, [done.start])
    set_unplaced_aside(connection, [(day.machine, done.start, day.unplaced) for day in run.node_days], now)
