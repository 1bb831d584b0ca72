"""Booking: reconciled node-days into the books, whose promises are those of `accounting.ledger`.

`book_day` is the only way into them. New node-days of an open period, which nearly all are, go in as the columns that
they come as; of the others it is found out row by row what is to be written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, bindparam, select, tuple_, update

from accounting.intake.day_evidence import keep
from accounting.intake.rejects import set_unplaced_aside
from accounting.ledger.postings import insert_postings
from accounting.reconcile.posting_columns import VALUES, Postings
from accounting.store.calendar import OPEN, Period, correcting_period, open_period
from accounting.store.database import chunks, insert_many, next_id, storable
from accounting.store.day_changes import forget_marks
from accounting.store.tables import day_marks, node_days, postings, transactions
from exporters.model import Claim

POST, REVERSAL, CORRECTION = "post", "reversal", "correction"
"""Kinds of transactions."""

Place = tuple[str, int]
"""Machine and start of a node-day."""


class Posted(StrEnum):
    """What became of a node-day that was handed to the ledger."""

    POSTED = "posted"
    REPOSTED = "reposted"
    CORRECTED = "corrected"
    UNCHANGED = "unchanged"


class Head(NamedTuple):
    """Where the books stand with one node-day."""

    end: int
    inputs_hash: bytes
    rules_hash: bytes
    transaction_id: int | None
    correction_id: int | None


class Draft(NamedTuple):
    """A reconciled node-day. ``author`` and ``reason`` are of its rulings; ``unplaced`` found no cards, and why."""

    machine: str
    end: int
    inputs_hash: bytes
    author: str = ""
    reason: str = ""
    unplaced: Sequence[tuple[Claim, str]] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The node-days of ``[start, end)`` that are new or changed, ready to be booked in the order of ``drafts``.

    ``postings`` are theirs, one node-day's after the other's. ``seen`` are all machines there are, ``had`` where the
    books stood when that was found out, and ``is_open`` whether the period was open then. ``withdrawn`` counts the
    drafts of which no evidence is left. ``mark`` is by which the day is known again
    (`accounting.evidence.day_fingerprints`), empty if it need not be kept.
    """

    start: int
    end: int
    rules_hash: bytes
    seen: Sequence[str]
    had: Mapping[Place, Head]
    is_open: bool
    drafts: Sequence[Draft]
    postings: Postings
    withdrawn: int = 0
    mark: bytes = b""


class OutdatedError(Exception):
    """The books are not any more where they stood when a day was reconciled: do it again."""


_Key = tuple[Any, ...]
Amounts = dict[_Key, tuple[int, int]]
"""Quantity and held by everything else that a posting says, in the order of `VALUES`."""


def heads(connection: Connection, start: int, end: int) -> dict[Place, Head]:
    """Where the books stand with the node-days that begin in ``[start, end)``, by machine and start."""
    c = node_days.c
    rows = connection.execute(select(node_days).where(c.start_at >= start, c.start_at < end))
    return {
        (r.machine, r.start_at): Head(
            r.end_at, bytes(r.inputs_hash), bytes(r.rules_hash), r.transaction_id, r.correction_id
        )
        for r in rows
    }


def book_day(connection: Connection, done: Done, *, now: int, zone: tzinfo) -> Counter[str]:
    """Book what is new or changed in the caller's transaction; how many were posted, reposted, corrected, unchanged.

    Raises `OutdatedError` when somebody else has booked of that day meanwhile, and `LedgerError` when a node-day does
    not balance, or the ledger keeps its months in another zone. Then nothing may be committed.
    """
    done.postings.refuse_unbalanced([f"{d.machine} {done.start}" for d in done.drafts])
    period, state = open_period(connection, done.start, zone)
    if (state == OPEN) != done.is_open or heads(connection, done.start, done.end) != done.had:
        raise OutdatedError
    counts = _Booking(connection, done, period, now, zone).book()
    if done.drafts or done.mark:
        forget_marks(connection, [done.start])
        keep(connection, done.start, done.end)
    if done.mark:
        connection.execute(day_marks.insert().values(start_at=done.start, end_at=done.end, mark=done.mark))
    return counts


def stands(connection: Connection, booked: Mapping[Place, Head]) -> dict[str, dict[int, Amounts]]:
    """What standing transactions and corrections say of some machines on one day, by machine and transaction."""
    owners = {head.transaction_id: machine for (machine, _), head in booked.items() if head.transaction_id is not None}
    corrected = [place for place, head in booked.items() if head.correction_id is not None]
    t, p = transactions.c, postings.c
    for part in chunks(corrected, 400):
        query = select(t.id, t.machine).where(tuple_(t.machine, t.start_at).in_(part), t.kind == CORRECTION)
        owners.update((number, machine) for number, machine in connection.execute(query))
    found: dict[str, dict[int, Amounts]] = defaultdict(lambda: defaultdict(dict))
    columns = [p[name] for name in VALUES]
    for numbers in chunks(sorted(owners)):
        rows = select(p.transaction_id, *columns).where(p.transaction_id.in_(numbers)).order_by(p.id)
        for number, *values in connection.execute(rows):
            _add(found[owners[number]][number], values)
    return found


def amounts_of(rows: Iterable[Sequence[Any]]) -> Amounts:
    """Rows of `VALUES`, added up where they differ in nothing but quantity and held."""
    amounts: Amounts = {}
    for values in rows:
        _add(amounts, values)
    return amounts


def in_all(standing: Mapping[int, Amounts]) -> Amounts:
    """What several transactions come to."""
    return amounts_of((*some, *key) for amounts in standing.values() for key, some in amounts.items())


class _Booking:
    """One day's drafts being booked."""

    def __init__(self, connection: Connection, done: Done, period: Period, now: int, zone: tzinfo) -> None:
        self.connection, self.done, self.period, self.now, self.zone = connection, done, period, now, zone
        self.transaction_id = next_id(connection, transactions)
        self.posting_id = next_id(connection, postings)
        self.transactions: list[tuple[Any, ...]] = []
        self.postings: list[tuple[Any, ...]] = []
        self.fresh: list[tuple[int, int, int]] = []  # draft, its transaction, and its first posting
        self.new_heads: list[tuple[Any, ...]] = []
        self.moved_heads: list[dict[str, Any]] = []

    def book(self) -> Counter[str]:
        """Decide what each draft means for the books, then write everything."""
        places = {(draft.machine, self.done.start) for draft in self.done.drafts}
        standing = stands(self.connection, {p: head for p, head in self.done.had.items() if p in places})
        counts: Counter[str] = Counter()
        for n, draft in enumerate(self.done.drafts):
            head = self.done.had.get((draft.machine, self.done.start))
            if head is None and self.done.is_open:
                self._post(n, draft)
                counts[Posted.POSTED] += 1
            else:
                counts[self._amend(n, draft, head, standing.get(draft.machine, {}))] += 1
        self._write()
        lost = [(d.machine, self.done.start, d.unplaced) for d in self.done.drafts]
        set_unplaced_aside(self.connection, lost, self.now)
        return counts

    def _post(self, n: int, draft: Draft) -> None:
        """The first transaction of a node-day."""
        rows = self.done.postings.count(n)
        self.fresh.append((n, self.transaction_id, self.posting_id))
        self.posting_id += rows
        number = self._transaction(POST, draft, draft.end, self.period.name, None)
        self._head(draft, number, None)

    def _amend(self, n: int, draft: Draft, head: Head | None, standing: Mapping[int, Amounts]) -> Posted:
        """Another transaction of a node-day, or the first one in a closed period, if the postings are others."""
        wanted, booked = amounts_of(self.done.postings.rows(n)), in_all(standing)
        if head is not None and wanted == booked and draft.end == head.end:
            self._move(draft)
            return Posted.UNCHANGED
        if self.done.is_open:
            assert head is not None and head.transaction_id is not None  # noqa: S101, PT018 - only closed periods have none
            undone = {key: (-q, -h) for key, (q, h) in standing.get(head.transaction_id, {}).items()}
            amends = head.transaction_id
            self._write_down(self._transaction(REVERSAL, draft, head.end, self.period.name, amends), undone)
            number = self._transaction(POST, draft, draft.end, self.period.name, None)
            self._write_down(number, wanted)
            self._move(draft, transaction_id=number)
            return Posted.REPOSTED
        difference = dict(wanted)
        for key, (quantity, held) in booked.items():
            _add(difference, (-quantity, -held, *key))
        later = correcting_period(self.connection, self.period, self.zone)
        number = self._transaction(CORRECTION, draft, draft.end, later.name, head.transaction_id if head else None)
        self._write_down(number, difference)
        if head is None:
            self._head(draft, None, number)
        else:
            self._move(draft, correction_id=number)
        return Posted.CORRECTED

    def _transaction(self, kind: str, draft: Draft, end: int, period: str, amends: int | None) -> int:
        number = self.transaction_id
        self.transaction_id += 1
        self.transactions.append(
            (
                number, kind, draft.machine, self.done.start, end, period, amends, draft.inputs_hash,
                self.done.rules_hash, self.now, storable(draft.author), storable(draft.reason),
            )
        )  # fmt: skip
        return number

    def _write_down(self, transaction: int, amounts: Amounts) -> None:
        for n, (key, (quantity, held)) in enumerate(amounts.items(), start=self.posting_id):
            self.postings.append((n, transaction, quantity, held, *key))
        self.posting_id += len(amounts)

    def _head(self, draft: Draft, transaction: int | None, correction: int | None) -> None:
        hashes = (draft.inputs_hash, self.done.rules_hash)
        self.new_heads.append((draft.machine, self.done.start, draft.end, *hashes, transaction, correction))

    def _move(self, draft: Draft, **news: int) -> None:
        hashes = {"inputs_hash": draft.inputs_hash, "rules_hash": self.done.rules_hash}
        self.moved_heads.append({"b_machine": draft.machine, "end_at": draft.end, **hashes, **news})

    def _write(self) -> None:
        connection, all_of = self.connection, self.done.postings
        insert_many(connection, transactions, [c.name for c in transactions.columns], self.transactions)
        if self.fresh:
            drafts, owners, begins = (np.array(column, dtype=np.int64) for column in zip(*self.fresh, strict=True))
            insert_postings(connection, all_of, drafts, owners, begins)
        insert_many(connection, postings, ("id", "transaction_id", *VALUES), self.postings)
        insert_many(connection, node_days, [c.name for c in node_days.columns], self.new_heads)
        place = (node_days.c.machine == bindparam("b_machine"), node_days.c.start_at == self.done.start)
        kinds: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for moved in self.moved_heads:
            kinds[tuple(n for n in moved if not n.startswith("b_"))].append(moved)
        for names, rows in kinds.items():
            connection.execute(update(node_days).where(*place).values({name: bindparam(name) for name in names}), rows)


def _add(amounts: Amounts, values: Sequence[Any]) -> None:
    """Add a row of `VALUES`, which begins with quantity and held; one that comes to nothing is none."""
    quantity, held, *rest = values
    key = tuple(rest)
    old = amounts.get(key, (0, 0))
    new = (old[0] + quantity, old[1] + held)
    if new == (0, 0):
        amounts.pop(key, None)
    else:
        amounts[key] = new
