"""Disputes: what stands on the suspense account, who says what about it, and what was ruled.

A dispute is all that two jobs (or more, at the same time) claim of the same cards of one machine, or all that a job
holds there by a key of its own that does not verify. `accounting.evidence.rulings.dispute_id` names it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, or_, select, tuple_

from accounting.evidence.questions import Projects
from accounting.evidence.rulings import RulingMade, add_ruling, dispute_id, rulings_made, standing
from accounting.ledger.booking import CORRECTION
from accounting.model import ALSO, RULED
from accounting.reconcile.rule import parties
from accounting.store.database import LedgerError, chunks, read, write
from accounting.store.rows import CLAIM_COLUMNS, JOB_COLUMNS, claim_of, job_of
from accounting.store.tables import claims, jobs, node_days, nodes, postings, records, transactions
from exporters.model import Disposition, Job, JobKey, LinkKey, NodeKey, Scheduler

_C, _D, _J, _N, _P, _R, _T = claims.c, node_days.c, jobs.c, nodes.c, postings.c, records.c, transactions.c


class State(StrEnum):
    """What has become of a dispute."""

    OPEN = "open"
    RULED = "ruled"
    LAPSED = "no longer applicable"  # it was ruled, and the claims are not in conflict any more


@dataclass(frozen=True, slots=True)
class Party:
    """One side: the job, who pays if it wins, and what its records say. ``records`` are source, cluster and SHA-256."""

    job: Job
    project: str
    keys: tuple[LinkKey, ...]
    records: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Dispute:
    """One dispute as the books have it. ``quantity`` is milliGPU-seconds, 0 once it has lapsed."""

    name: str
    machine: str
    start: int
    end: int
    quantity: int
    state: State
    parties: tuple[Party, ...]
    reason: str
    ruling: RulingMade | None = None


@dataclass(slots=True)
class _Found:
    """What the books say about one dispute."""

    start: int = 1 << 62
    end: int = 0
    disputed: int = 0
    ruled: int = 0
    told: dict[str, None] | None = None


def disputes(engine: Engine, projects: Projects, *, start: int = 0, end: int = 1 << 62) -> list[Dispute]:
    """Every dispute of the node-days that begin in ``[start, end)``, the largest open one first.

    Corrections of a closed month are part of it: what is told is what holds now. A ruling that has no effect (any
    more) is told as lapsed, when no stretch of time is asked for.
    """
    with read(engine) as connection:
        last = standing(rulings_made(connection))
        found = _booked(connection, start, end)
        every = (start, end) == (0, 1 << 62)
        lapsed = [(m.machine, m.parties) for m in last.values() if every and m.to is not None]
        places = {**found, **{place: _Found() for place in lapsed if place not in found}}
        told = [_dispute(connection, place, sums, last, projects) for place, sums in places.items()]
    return sorted(told, key=lambda d: (list(State).index(d.state), -d.quantity, d.name))


def _booked(connection: Connection, start: int, end: int) -> dict[tuple[str, tuple[JobKey, ...]], _Found]:
    """Disputed and ruled quantities by machine and parties: what stands and the corrections of it."""
    own, other = jobs.alias("own"), jobs.alias("other")
    stands = or_(_T.id == _D.transaction_id, _T.kind == CORRECTION)
    query = (
        select(
            _T.machine, _P.account, _P.reason, _P.start_at, _P.end_at, func.sum(_P.quantity),
            own.c.scheduler, own.c.cluster, own.c.run, other.c.scheduler, other.c.cluster, other.c.run,
        )
        .select_from(postings)
        .join(transactions, _T.id == _P.transaction_id)
        .join(node_days, and_(_D.machine == _T.machine, _D.start_at == _T.start_at))
        .join(own, own.c.id == _P.job_id)
        .outerjoin(other, other.c.id == _P.linked_id)
        .where(stands, _in_doubt(), _T.start_at >= start, _T.start_at < end)
        .group_by(
            _T.machine, _P.account, _P.reason, _P.start_at, _P.end_at,
            own.c.scheduler, own.c.cluster, own.c.run, other.c.scheduler, other.c.cluster, other.c.run,
        )
        .having(func.sum(_P.quantity) != 0)
        .order_by(_T.machine, _P.start_at, _P.reason)
    )  # fmt: skip
    found: dict[tuple[str, tuple[JobKey, ...]], _Found] = defaultdict(_Found)
    rows = connection.execute(query).all()
    named = _jobs_named(connection, {word for row in rows for word in _also(row.reason)})
    for machine, account, reason, first, last, quantity, *names in rows:
        keys = [JobKey(Scheduler(s), cluster, run) for s, cluster, run in (names[:3], names[3:]) if s is not None]
        keys += [named[word] for word in _also(reason) if word in named]
        sums = found[machine, parties(*keys)]
        sums.start, sums.end = min(sums.start, first), max(sums.end, last)
        if account == Disposition.DISPUTED:
            sums.disputed += int(quantity)
        else:
            sums.ruled += int(quantity)
        sums.told = {**(sums.told or {}), reason: None}
    return found


def _also(reason: str) -> list[str]:
    """The further jobs that a posting's reason names, as texts."""
    _, found, words = reason.rpartition(ALSO)
    return words.split(", ") if found else []


def _jobs_named(connection: Connection, words: Collection[str]) -> dict[str, JobKey]:
    """The jobs of which ``str`` gives such a text. Any slash may be the one between cluster and run."""
    wanted = []
    for word in sorted(words):
        scheduler, *parts = word.split("/")
        wanted += [(scheduler, "/".join(parts[:n]), "/".join(parts[n:])) for n in range(1, len(parts))]
    found = {}
    for some in chunks(wanted, 300):
        where = tuple_(_J.scheduler, _J.cluster, _J.run).in_(some)
        for scheduler, cluster, run in connection.execute(select(_J.scheduler, _J.cluster, _J.run).where(where)):
            key = JobKey(Scheduler(scheduler), cluster, run)
            found[str(key)] = key
    return found


def _in_doubt() -> ColumnElement[bool]:
    """Postings in dispute, and those that a ruling moved."""
    return or_(_P.account == Disposition.DISPUTED.value, _P.reason.startswith(RULED, autoescape=True))


def _dispute(
    connection: Connection,
    place: tuple[str, tuple[JobKey, ...]],
    sums: _Found,
    last: Mapping[str, RulingMade],
    projects: Projects,
) -> Dispute:
    machine, keys = place
    name = dispute_id(machine, keys)
    state = State.OPEN if sums.disputed else State.RULED if sums.ruled else State.LAPSED
    start, end = (sums.start, sums.end) if sums.end else (0, 0)
    return Dispute(
        name,
        machine,
        start,
        end,
        sums.disputed + sums.ruled,
        state,
        tuple(_party(connection, key, start, end, projects) for key in keys),
        "; ".join(sums.told or ()),
        last.get(name),
    )


def _party(connection: Connection, key: JobKey, start: int, end: int, projects: Projects) -> Party:
    number, *values = connection.execute(
        select(_J.id, *(_J[name] for name in JOB_COLUMNS)).where(
            _J.scheduler == key.scheduler.value, _J.cluster == key.cluster, _J.run == key.id
        )
    ).one()
    job = job_of(values)
    there = and_(_C.start_at < end, or_(_C.end_at > start, _C.end_at.is_(None))) if end else _C.id.is_not(None)
    query = (
        select(_R.source, _R.cluster, _R.hash, _N.scheduler, _N.cluster, _N.name, *(_C[n] for n in CLAIM_COLUMNS))
        .join(claims, _C.record_id == _R.id)
        .join(nodes, _N.id == _C.node_id)
        .where(_C.job_id == number, _C.current, there)
        .order_by(_R.id, _C.id)
    )
    seen: dict[LinkKey, None] = {}
    read_from: dict[tuple[str, str, str], None] = {}
    for source, cluster, digest, scheduler, of, name, *claim in connection.execute(query):
        read_from[source, cluster, bytes(digest).hex()] = None
        seen.update(dict.fromkeys(claim_of(key, NodeKey(Scheduler(scheduler), of, name), claim).keys))
    return Party(job, projects(job, max(start, job.start or start)), tuple(seen), tuple(read_from))


def rule(
    engine: Engine, name: str, to: str | None, *, author: str, why: str, now: int, projects: Projects
) -> tuple[Dispute, RulingMade]:
    """Decide a dispute in favour of ``to``, or revoke what was ruled on it (None), and write that down.

    ``to`` is one of the parties: its key, or its native or display id. The books follow when the node-days are
    reconciled next. Raises `LedgerError` for a dispute or a party that is not there, and when there is nothing to
    revoke or no reason is given.
    """
    if not why.strip() or not author.strip():
        raise LedgerError("a ruling needs an author and a reason: --author NAME --why TEXT")
    known = {d.name: d for d in disputes(engine, projects)}
    dispute = known.get(name)
    if dispute is None:
        raise LedgerError(f"there is no dispute {name}: see meterbridge disputes")
    keys = tuple(p.job.key for p in dispute.parties)
    if to is None and (dispute.ruling is None or dispute.ruling.to is None):
        raise LedgerError(f"nothing was ruled on dispute {name}, so nothing can be revoked")
    winner = None if to is None else _named(dispute, to)
    with write(engine) as connection:
        made = add_ruling(connection, dispute.machine, keys, winner, author=author, why=why, at=now)
    return replace(dispute, ruling=made), made


def _named(dispute: Dispute, word: str) -> JobKey:
    found = [
        p.job.key for p in dispute.parties if word in (str(p.job.key), p.job.key.id, p.job.native_id, p.job.display_id)
    ]
    if len(found) != 1:
        sides: Iterator[str] = (str(p.job.key) for p in dispute.parties)
        raise LedgerError(f"{word} is not one of the parties of {dispute.name}: rule to {' or '.join(sides)}")
    return found[0]


def reach(engine: Engine, dispute: Dispute) -> tuple[int, int]:
    """From when to when a ruling may change node-days: while all parties hold something, and where it was booked."""
    c = claims.c
    firsts, lasts = [], []
    with read(engine) as connection:
        for party in dispute.parties:
            key = party.job.key
            row = connection.execute(
                select(func.min(c.start_at), func.max(func.coalesce(c.end_at, 1 << 62)))
                .join(jobs, jobs.c.id == c.job_id)
                .where(jobs.c.scheduler == key.scheduler.value, jobs.c.cluster == key.cluster, jobs.c.run == key.id)
                .where(c.current)
            ).one()
            firsts.append(row[0] or 0)
            lasts.append(row[1] or 0)
    start, end = max(firsts), min(lasts)
    return (min(start, dispute.start), max(end, dispute.end)) if dispute.end else (start, end)
