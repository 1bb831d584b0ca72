"""Drives reconciliation over a range: evidence -> node-days -> the pure rule -> the books.

A node-day whose inputs and rules are those it was last booked with is not even reconciled again. A node-day that was
booked and of which there is no evidence any more (its machine goes by another name now) is taken back, lest its cards
be counted under both names.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from itertools import groupby

from sqlalchemy import Engine

from accounting.evidence.node_days import Projects, Resolver, node_days
from accounting.evidence.rulings import ruled
from accounting.ledger.booking import Entry, Head, Posted
from accounting.ledger.books import heads, inputs_hash, post_many
from accounting.model import NodeDay, NodeDayResult
from accounting.store.calendar import segment_at, segments
from accounting.store.database import chunks, read

BATCH = 250
"""Node-days per database transaction."""

Reconcile = Callable[[NodeDay], NodeDayResult]
"""The pure rule, with its settings already in it."""

Progress = Callable[[int, int, int], None]
"""Called after each day: seconds done, seconds in all, node-days so far."""


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What became of the node-days of a range.

    ``withdrawn`` are among ``reposted`` or ``corrected``: no evidence of them is left. ``unplaced`` counts claims
    without known capacity, in the node-days that were reconciled anew.
    """

    node_days: int
    posted: int
    reposted: int
    corrected: int
    unchanged: int
    withdrawn: int
    unplaced: int
    start: int
    end: int


def reconcile_range(
    engine: Engine,
    start: int,
    end: int,
    resolver: Resolver,
    reconcile: Reconcile,
    *,
    projects: Projects,
    rules_hash: bytes,
    now: int,
    zone: tzinfo = UTC,
    unfinished: bool = True,
    machines: Collection[str] | None = None,
    progress: Progress | None = None,
    present: Resolver | None = None,
) -> ReconcileReport:
    """Reconcile and book every node-day that touches ``[start, end)``, as far as it is past at ``now``.

    ``unfinished`` also books the day that is not over, up to ``now``; it is then booked anew by every later call, so a
    service that runs often leaves it out. ``machines`` limits the work to some;
    ``present`` is as for `accounting.evidence.node_days.node_days`.
    """
    days = [(a, min(b, now)) for a, b in segments(start, min(end, now), zone) if unfinished or b <= now]
    counts: Counter[str] = Counter()
    found = node_days(
        engine, days[0][0] if days else start, days[-1][1] if days else start, resolver,
        zone=zone, projects=projects, machines=machines, present=present,
    )  # fmt: skip
    by_day = groupby(found, key=lambda day: day.start)
    ahead = next(by_day, None)
    for a, b in days:
        with read(engine) as connection:
            booked = heads(connection, a, segment_at(a, zone)[1])
        work = _Day(engine, reconcile, rules_hash, now, zone, booked, counts)
        if ahead is not None and ahead[0] == a:
            work.book(ahead[1])
            ahead = next(by_day, None)
        if machines is None:
            counts.update(withdraw(engine, booked, work.seen, rules_hash, now=now, zone=zone))
        if progress is not None:
            progress(b - days[0][0], days[-1][1] - days[0][0], counts["node_days"])
    return report_of(counts, days, start)


def report_of(counts: Mapping[str, int], days: Sequence[tuple[int, int]], start: int) -> ReconcileReport:
    """What was counted over ``days``, which began at ``start`` where there were none."""
    return ReconcileReport(
        counts["node_days"],
        counts[Posted.POSTED],
        counts[Posted.REPOSTED],
        counts[Posted.CORRECTED],
        counts[Posted.UNCHANGED],
        counts["withdrawn"],
        counts["unplaced"],
        days[0][0] if days else start,
        days[-1][1] if days else start,
    )


@dataclass(slots=True)
class _Day:
    """The node-days of one day on their way into the books. ``booked`` is what was there before."""

    engine: Engine
    reconcile: Reconcile
    rules_hash: bytes
    now: int
    zone: tzinfo
    booked: Mapping[tuple[str, int], Head]
    counts: Counter[str]
    seen: set[tuple[str, int]] = field(default_factory=set)

    def book(self, days: Iterable[NodeDay]) -> None:
        """Book those of ``days`` that are new or changed."""
        for part in chunks(days, BATCH):
            entries = []
            for day in part:
                place = (day.machine, day.start)
                self.seen.add(place)
                self.counts["node_days"] += 1
                digest, head = inputs_hash(day), self.booked.get(place)
                if head is not None and (head.inputs_hash, head.rules_hash) == (digest, self.rules_hash):
                    self.counts[Posted.UNCHANGED] += 1
                    continue
                result = self.reconcile(day)
                self.counts["unplaced"] += len(result.unplaced)
                entries.append(Entry(result, day.end, digest, self.rules_hash, *ruled(day.rulings)))
            self._post(entries)

    def _post(self, entries: Sequence[Entry]) -> None:
        if entries:
            self.counts.update(post_many(self.engine, entries, now=self.now, zone=self.zone))


def withdraw(
    engine: Engine,
    booked: Mapping[tuple[str, int], Head],
    seen: Collection[tuple[str, int]],
    rules_hash: bytes,
    *,
    now: int,
    zone: tzinfo,
) -> Counter[str]:
    """Take back what was ``booked`` of a day and was not ``seen`` now; what became of it, and of how many."""
    counts: Counter[str] = Counter()
    entries = []
    for machine, start in sorted(place for place in booked if place not in seen):
        digest, head = no_evidence(machine, start), booked[machine, start]
        if head.inputs_hash != digest:
            entries.append(Entry(NodeDayResult(machine, start, ()), head.end, digest, rules_hash))
    for part in chunks(entries, BATCH):
        counts["withdrawn"] += len(part)
        counts.update(post_many(engine, part, now=now, zone=zone))
    return counts


def no_evidence(machine: str, start: int) -> bytes:
    """The inputs' hash of a node-day of which no evidence is left."""
    return hashlib.sha256(f"no evidence of {machine} {start}".encode()).digest()


def rules_hash(text: str) -> bytes:
    """SHA-256 of the canonical text of the rules (`accounting.reconcile.rule.Rules.text`)."""
    return hashlib.sha256(text.encode()).digest()
