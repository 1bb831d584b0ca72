"""Books reconciled node-days: what is written for a new one, a changed one, and one whose period is closed.

The rules are stated in `accounting.ledger`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, tuple_, update

from accounting.intake.identities import job_ids
from accounting.intake.rejects import UNPLACED, Aside, resolve, set_aside
from accounting.model import NodeDayResult, Posting
from accounting.store.calendar import OPEN, Period, correcting_period, open_period
from accounting.store.database import chunks, insert_many, next_id, storable
from accounting.store.rows import claim_text
from accounting.store.tables import day_marks, node_days, postings, transactions
from exporters.model import Claim, JobKey

CAPACITY = "capacity"
"""The account that every other posting balances against."""

POST, REVERSAL, CORRECTION = "post", "reversal", "correction"
"""Kinds of transactions."""


class Posted(StrEnum):
    """What became of a node-day that was handed to the ledger."""

    POSTED = "posted"
    REPOSTED = "reposted"
    CORRECTED = "corrected"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Entry:
    """A reconciled node-day, ready to be booked. ``author`` and ``reason`` are of the rulings in it, if any."""

    result: NodeDayResult
    end: int
    inputs_hash: bytes
    rules_hash: bytes
    author: str = ""
    reason: str = ""


class Head(NamedTuple):
    """Where the books stand with one node-day."""

    end: int
    inputs_hash: bytes
    rules_hash: bytes
    transaction_id: int | None
    correction_id: int | None


_Key = tuple[str, str, str, int | None, str, int, int, str, int | None, str]
_Amounts = dict[_Key, tuple[int, int]]
"""Quantity and held by everything else that a posting says."""

_KEY_COLUMNS = ("account", "model", "project", "job_id", "unit", "start_at", "end_at", "link", "linked_id", "reason")


def heads_of(rows: Iterable[Any]) -> dict[tuple[str, int], Head]:
    """Rows of ``node_days`` by machine and start."""
    return {
        (r.machine, r.start_at): Head(
            r.end_at, bytes(r.inputs_hash), bytes(r.rules_hash), r.transaction_id, r.correction_id
        )
        for r in rows
    }


class Booking:
    """One batch of node-days being booked in one database transaction."""

    def __init__(self, connection: Connection, now: int, zone: tzinfo) -> None:
        self.connection, self.now, self.zone = connection, now, zone
        self.transaction_id = next_id(connection, transactions)
        self.posting_id = next_id(connection, postings)
        self.transactions: list[tuple[Any, ...]] = []
        self.postings: list[tuple[Any, ...]] = []
        self.new_heads: list[tuple[Any, ...]] = []
        self.moved_heads: list[dict[str, Any]] = []
        self.periods: dict[int, tuple[Period, str]] = {}

    def book(self, entries: Sequence[Entry]) -> list[Posted]:
        """Decide what each entry means for the books, then write everything."""
        had = self._current_heads(entries)
        changed = [e for e in entries if not _same(e, had.get((e.result.machine, e.result.start)))]
        jobs = {k for e in changed for p in e.result.postings for k in (p.job, p.linked) if k is not None}
        self.jobs: Mapping[JobKey, int] = job_ids(self.connection, jobs)
        standing = self._standing(changed, had)
        answers = []
        for e in entries:
            place = (e.result.machine, e.result.start)
            head = had.get(place)
            answers.append(Posted.UNCHANGED if _same(e, head) else self._book(e, head, standing.get(place, {})))
        self._write()
        forget_marks(self.connection, {e.result.start for e in changed})
        lost = [(e.result.machine, e.result.start, e.result.unplaced) for e in changed]
        set_unplaced_aside(self.connection, lost, self.now)
        return answers

    def _current_heads(self, entries: Sequence[Entry]) -> dict[tuple[str, int], Head]:
        c = node_days.c
        found: dict[tuple[str, int], Head] = {}
        for part in chunks([(e.result.machine, e.result.start) for e in entries], 400):
            query = select(node_days).where(tuple_(c.machine, c.start_at).in_(part))
            found.update(heads_of(self.connection.execute(query)))
        return found

    def _standing(
        self, changed: Sequence[Entry], had: Mapping[tuple[str, int], Head]
    ) -> dict[tuple[str, int], dict[int, _Amounts]]:
        """Per node-day what its standing transaction and its corrections say, by transaction."""
        owners: dict[int, tuple[str, int]] = {}
        corrected: list[tuple[str, int]] = []
        for e in changed:
            place = (e.result.machine, e.result.start)
            head = had.get(place)
            if head is not None and head.transaction_id is not None:
                owners[head.transaction_id] = place
            if head is not None and head.correction_id is not None:
                corrected.append(place)
        t, p = transactions.c, postings.c
        for part in chunks(corrected, 400):
            query = select(t.id, t.machine, t.start_at).where(
                tuple_(t.machine, t.start_at).in_(part), t.kind == CORRECTION
            )
            owners.update((number, (machine, start)) for number, machine, start in self.connection.execute(query))
        found: dict[tuple[str, int], dict[int, _Amounts]] = defaultdict(lambda: defaultdict(dict))
        columns = [p[name] for name in _KEY_COLUMNS]
        for numbers in chunks(sorted(owners)):
            rows = select(p.transaction_id, p.quantity, p.held, *columns).where(p.transaction_id.in_(numbers))
            for number, quantity, held, *key in self.connection.execute(rows):
                _add(found[owners[number]][number], tuple(key), quantity, held)
        return found

    def _book(self, entry: Entry, head: Head | None, standing: Mapping[int, _Amounts]) -> Posted:
        result = entry.result
        wanted: _Amounts = {}
        for posting in result.postings:
            _add(wanted, self._key(posting), posting.quantity, posting.held)
        stands: _Amounts = {}
        for amounts in standing.values():
            for key, (quantity, held) in amounts.items():
                _add(stands, key, quantity, held)
        hashes = {"inputs_hash": entry.inputs_hash, "rules_hash": entry.rules_hash, "end_at": entry.end}
        if head is not None and wanted == stands and entry.end == head.end:
            self._move(result, **hashes)
            return Posted.UNCHANGED
        period, state = self._period(result.start)
        if state == OPEN:
            if head is None:
                number = self._transaction(POST, entry, entry.end, period.name, None, wanted)
                self.new_heads.append(
                    (result.machine, result.start, entry.end, entry.inputs_hash, entry.rules_hash, number, None)
                )
                return Posted.POSTED
            assert head.transaction_id is not None  # noqa: S101 - only a closed period leaves a head without it
            undone = {
                key: (-quantity, -held) for key, (quantity, held) in standing.get(head.transaction_id, {}).items()
            }
            self._transaction(REVERSAL, entry, head.end, period.name, head.transaction_id, undone)
            number = self._transaction(POST, entry, entry.end, period.name, None, wanted)
            self._move(result, transaction_id=number, **hashes)
            return Posted.REPOSTED
        difference = dict(wanted)
        for key, (quantity, held) in stands.items():
            _add(difference, key, -quantity, -held)
        booked_in = correcting_period(self.connection, period, self.zone)
        amended = head.transaction_id if head else None
        number = self._transaction(CORRECTION, entry, entry.end, booked_in.name, amended, difference)
        if head is None:
            self.new_heads.append(
                (result.machine, result.start, entry.end, entry.inputs_hash, entry.rules_hash, None, number)
            )
        else:
            self._move(result, correction_id=number, **hashes)
        return Posted.CORRECTED

    def _period(self, moment: int) -> tuple[Period, str]:
        if moment not in self.periods:
            self.periods[moment] = open_period(self.connection, moment, self.zone)
        return self.periods[moment]

    def _key(self, p: Posting) -> _Key:
        return (
            p.account,
            storable(p.model),
            storable(p.project),
            self.jobs[p.job] if p.job else None,
            storable(p.unit),
            p.start,
            p.end,
            p.link.value if p.link else "",
            self.jobs[p.linked] if p.linked else None,
            storable(p.reason),
        )

    def _transaction(
        self, kind: str, entry: Entry, end: int, period: str, amends: int | None, amounts: _Amounts
    ) -> int:
        number = self.transaction_id
        self.transaction_id += 1
        self.transactions.append(
            (
                number, kind, entry.result.machine, entry.result.start, end, period, amends, entry.inputs_hash,
                entry.rules_hash, self.now, storable(entry.author), storable(entry.reason),
            )
        )  # fmt: skip
        for key, (quantity, held) in amounts.items():
            self.postings.append((self.posting_id, number, quantity, held, *key))
            self.posting_id += 1
        return number

    def _move(self, result: NodeDayResult, **news: Any) -> None:
        self.moved_heads.append({"b_machine": result.machine, "b_start": result.start, **news})

    def _write(self) -> None:
        insert_many(self.connection, transactions, [c.name for c in transactions.columns], self.transactions)
        insert_many(
            self.connection, postings, ("id", "transaction_id", "quantity", "held", *_KEY_COLUMNS), self.postings
        )
        insert_many(self.connection, node_days, [c.name for c in node_days.columns], self.new_heads)
        place = (node_days.c.machine == bindparam("b_machine"), node_days.c.start_at == bindparam("b_start"))
        kinds: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for moved in self.moved_heads:
            kinds[tuple(n for n in moved if not n.startswith("b_"))].append(moved)
        for names, rows in kinds.items():
            self.connection.execute(
                update(node_days).where(*place).values({name: bindparam(name) for name in names}), rows
            )


def forget_marks(connection: Connection, starts: Iterable[int]) -> None:
    """Forget what the days that begin then are known by (`accounting.bulk.marks`), since something is booked of them.

    Whoever books may know less than another writer who marked the day meanwhile: without its mark it is read again.
    """
    for part in chunks(sorted(starts)):
        connection.execute(delete(day_marks).where(day_marks.c.start_at.in_(part)))


def set_unplaced_aside(
    connection: Connection, changed: Iterable[tuple[str, int, Sequence[tuple[Claim, str]]]], now: int
) -> None:
    """Set aside the claims of booked node-days (machine, start, claims with reasons) that found no cards.

    What was set aside of these node-days before and has found its cards now is resolved.
    """
    asides = []
    places = []
    for machine, start, unplaced in changed:
        places.append(about := f"node-day {machine} {start}")
        for claim, reason in unplaced:
            record = claim_text(claim).encode()
            what = f"{about}: {claim.job} {storable(claim.unit)}: {storable(reason)}"
            identity = about.encode() + record
            asides.append(Aside(UNPLACED, "reconcile", claim.job.cluster, record, what, identity, about))
    resolve(connection, places, asides, now)
    set_aside(connection, asides, now)


def _same(entry: Entry, head: Head | None) -> bool:
    return head is not None and (head.inputs_hash, head.rules_hash, head.end) == (
        entry.inputs_hash,
        entry.rules_hash,
        entry.end,
    )


def _add(amounts: _Amounts, key: _Key, quantity: int, held: int) -> None:
    """Add to a posting; one that comes to nothing is none."""
    old = amounts.get(key, (0, 0))
    new = (old[0] + quantity, old[1] + held)
    if new == (0, 0):
        amounts.pop(key, None)
    else:
        amounts[key] = new
