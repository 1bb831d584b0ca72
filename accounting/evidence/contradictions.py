"""Where sources contradict each other about somebody's cards, and how much time that is about.

One text for `settle`, the notes of a statement and the service's metrics. What is in dispute on a machine stands in the
books, and is no part of this.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from sqlalchemy import Connection, select

from accounting.evidence.node_facts import seen_in_no_record
from accounting.intake.coverage import covered_until
from accounting.intake.live_only import LIVE_ONLY
from accounting.intake.rejects import DOUBTS, LOST, RUNAWAY, UNCOUNTED, UNPLACED
from accounting.model import DAY
from accounting.store.tables import claims, jobs, records
from accounting.store.tables import rejects as rejects_table
from exporters.model import Scheduler

UNRECORDED = "unrecorded"
"""Cards that slurmctld showed in the hands of runs of which no record tells any."""

KINDS = (RUNAWAY, LOST, UNRECORDED, LIVE_ONLY, UNCOUNTED, UNPLACED)

_Seen = tuple[str, str, int, int, int]
_Until = Mapping[tuple[Scheduler, str], int]

_C, _J, _R, _A = claims.c, jobs.c, records.c, rejects_table.c


class Contradiction(NamedTuple):
    """One of `KINDS`; ``quantity`` is the milliGPU-seconds that it is about, 0 where nobody knows."""

    kind: str
    quantity: int
    said: str


def contradictions(connection: Connection, start: int, end: int, zone: tzinfo = UTC) -> list[Contradiction]:
    """Those about ``[start, end)`` that stand, the largest first."""
    unrecorded, until = seen_in_no_record(connection, start, end), covered_until(connection)
    found = [
        *_unrecorded(unrecorded, zone),
        *_live_only(connection, start, end, until),
        *_set_aside(connection, start, end, until, unrecorded),
    ]
    return sorted(found, key=lambda one: (-one.quantity, one.kind, one.said))


def _unrecorded(seen: Iterable[_Seen], zone: tzinfo) -> Iterator[Contradiction]:
    for _, name, first, last, quantity in seen:
        said = (
            f"job {name} held cards from {_moment(first, zone)} to {_moment(last, zone)} before slurmctld's eyes, and "
            "no record tells of them: they are unknown"
        )
        yield Contradiction(UNRECORDED, quantity, said)


def _live_only(connection: Connection, start: int, end: int, until: _Until) -> Iterator[Contradiction]:
    """What is charged by a site's choice although no record tells it."""
    query = (
        select(
            _J.cluster, _J.run, _J.display_id, _J.name, _J.user_name, _J.account, _C.milligpu, _C.start_at, _C.end_at
        )
        .join(jobs, _J.id == _C.job_id)
        .where(_C.current, _C.end_basis == LIVE_ONLY, _C.start_at < end)
        .where((_C.end_at > start) | _C.end_at.is_(None))
    )
    held: dict[str, int] = defaultdict(int)
    for cluster, run, display, name, user, account, milligpu, first, last in connection.execute(query):
        known = min(end, until.get((Scheduler.SLURM, cluster), end)) if last is None else min(end, last)
        said = (
            f"job {display or run} {name!r} of {user or '-'}, {account or '-'}, is charged by what slurmctld showed "
            "alone, and no record tells of its cards (ledger.live_only)"
        )
        held[said] += milligpu * max(0, known - max(start, first))
    yield from (Contradiction(LIVE_ONLY, quantity, said) for said, quantity in held.items() if quantity)


def _set_aside(
    connection: Connection, start: int, end: int, until: _Until, seen: Iterable[_Seen]
) -> Iterator[Contradiction]:
    """What stands in ``rejects``. A run without an end is about what it would hold had it gone on."""
    query = select(_A.kind, _A.cluster, _A.about, _A.record, _A.reason, _A.seen_at)
    stands = query.where(_A.kind.in_([*DOUBTS, UNPLACED]), _A.resolved_at.is_(None)).order_by(_A.id)
    cut = _cut(connection, start, end, until)
    uncounted: dict[str, int] = defaultdict(int)
    for cluster, *_, quantity in seen:
        uncounted[cluster] += quantity
    for kind, cluster, about, record, reason, at in connection.execute(stands):
        if kind == UNCOUNTED:
            if uncounted[cluster] or start <= at < end:
                yield Contradiction(kind, uncounted[cluster], reason)
        elif kind == UNPLACED:
            if quantity := _without_cards(about, bytes(record), start, end):
                yield Contradiction(kind, quantity, reason)
        elif about not in cut or cut[about]:
            yield Contradiction(kind, cut.get(about, 0), reason)


def _cut(connection: Connection, start: int, end: int, until: _Until) -> dict[str, int]:
    """What runs would hold that are held to their last sighting, had they gone on, by cluster and run."""
    query = (
        select(_J.cluster, _J.run, _C.milligpu, _C.end_at)
        .join(records, _R.id == _C.record_id)
        .join(jobs, _J.id == _C.job_id)
        .where(_C.current, _R.current, _C.end_basis.in_([RUNAWAY, LOST]))
    )
    found: dict[str, int] = defaultdict(int)
    for cluster, run, milligpu, over in connection.execute(query):
        known = min(end, until.get((Scheduler.SLURM, cluster), end))
        found[f"{cluster}/{run}"] += milligpu * max(0, known - max(start, over))
    return found


def _without_cards(about: str, record: bytes, start: int, end: int) -> int:
    """What a claim that found no cards on a node-day (``node-day MACHINE START``) asked for there."""
    day = int(about.rpartition(" ")[2])
    told = json.loads(record)
    first = max(start, day, told["start_at"])
    last = min(end, day + DAY, told["end_at"] or end)
    return int(told["milligpu"]) * int(max(0, last - first))


def _moment(at: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")
