"""Recovers what happened while nobody recorded a Kubernetes cluster, from a history that somebody else kept.

Only the gaps are asked for: the time that neither the live recorder nor an earlier recovery covers. A pod that both
know is one subject (its unit on its node), so that nothing is counted twice:

* the recorder saw it end: the recorder is believed;
* the recorder saw it, and not its end: its claim stays as it was seen (owner, cards, keys), and gets the end;
* the recorder never saw it: the history's claim is kept. The history does not export owners' UIDs, so the job is the
  one of that namespace, kind and name that was seen live at that time, when there is exactly one; else it is named by
  ``namespace/Kind/name``, as a job is whose owners may not be read.

Such claims end by ``recovered`` or ``recovered by sampling`` (`exporters.sources.kubernetes.past.kube_past`), and their
records hold the samples. Time that was recovered is covered; the rest of the gaps stays unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sqlalchemy import Connection, Engine, func, select

from accounting.intake.coverage import HISTORY, LIVE, counts, cover_window
from accounting.intake.events import keep_events
from accounting.intake.faults import senseless
from accounting.intake.history import RecordSource
from accounting.intake.identities import LIVE as SEEN_LIVE
from accounting.intake.identities import put_jobs
from accounting.intake.records import keep
from accounting.intake.rejects import Aside, aside_of, set_aside
from accounting.intake.versions import Version, hash_of, version_of_claim
from accounting.store.database import chunks, next_id, read, write
from accounting.store.rows import CLAIM_COLUMNS, claim_of, compact
from accounting.store.tables import claims as claims_table
from accounting.store.tables import coverage as coverage_table
from accounting.store.tables import jobs as jobs_table
from accounting.store.tables import nodes as nodes_table
from accounting.store.tables import records as records_table
from accounting.store.tables import windows as windows_table
from exporters.model import Claim, Job, JobKey, NodeEvent, NodeKey, Record, Reject, Scheduler
from exporters.sources.kubernetes.past.kube_past import RECOVERED, SAMPLED

SEEN = "seen live"
"""Why a record was not used."""

STEP = 21_600
"""Seconds asked for at once."""


class Past(RecordSource, Protocol):
    """A history that knows when it was itself there to see."""

    def covered(self, start: int, end: int) -> Sequence[tuple[int, int]]:
        """The parts of ``[start, end)`` it can speak of."""
        ...


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What a recovery did. ``seconds`` of ``gap`` seconds nobody had recorded are covered now."""

    source: str
    cluster: str
    gap: int = 0
    seconds: int = 0
    read: int = 0
    charged: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    rejected: int = 0


def gaps(engine: Engine, cluster: str, start: int, end: int, shortest: int) -> list[tuple[int, int]]:
    """Stretches of ``[start, end)``, each longer than ``shortest`` seconds, without evidence about a cluster's pods."""
    c = coverage_table.c
    query = select(c.start_at, c.end_at).where(
        counts(), c.scheduler == Scheduler.KUBERNETES.value, c.cluster == cluster
    )
    found, at = [], start
    with read(engine) as connection:
        for a, b in connection.execute(query.order_by(c.start_at)):
            if a > at:
                found.append((at, min(a, end)))
            at = max(at, b)
    found.append((at, end))
    return [(a, b) for a, b in found if b - a > shortest]


def recover(
    engine: Engine, source: Past, *, now: int, start: int, shortest: int = 120, step: int = STEP
) -> RecoveryReport:
    """Ask ``source`` for every gap of ``[start, now)``. Raises what it raises; what was recovered until then stands."""
    total, gap, seconds = _Count(), 0, 0
    for first, last in gaps(engine, source.cluster, start, now, shortest):
        gap += last - first
        for a in range(first, last, step):
            seconds += _recover(engine, source, a, min(a + step, last), now, total)
    with write(engine) as connection:
        _end_open(connection, source, now)
    return RecoveryReport(
        source.name, source.cluster, gap, seconds, total.read, total.charged, dict(total.excluded), total.pending,
        total.rejected,
    )  # fmt: skip


def _end_open(connection: Connection, source: Past, now: int) -> None:
    """Pods that the history still showed at its last scrape, and that the recorder did not see when it was back."""
    c, r, t = claims_table.c, records_table.c, coverage_table.c
    here = (t.cluster == source.cluster, t.scheduler == Scheduler.KUBERNETES.value)
    told = connection.scalar(select(func.max(t.end_at)).where(*here, t.kind == HISTORY, t.source == source.name))
    back = connection.scalar(select(func.max(t.start_at)).where(*here, t.kind == LIVE))
    if told is None or back is None or back < told:
        return
    query = select(c.unit).join(records_table, r.id == c.record_id)
    still = query.where(c.current, c.end_at.is_(None), r.source == source.name, r.cluster == source.cluster)
    ended = [
        replace(claim, end=max(told, claim.start), end_basis=SAMPLED)
        for claim in _known(connection, list(connection.scalars(still))).values()
        if claim.end is None
    ]
    keep(connection, [version_of_claim(claim, source.name, source.cluster) for claim in ended], now)


@dataclass
class _Count:
    read: int = 0
    charged: int = 0
    pending: int = 0
    rejected: int = 0
    excluded: Counter[str] = field(default_factory=Counter)

    def add(self, other: _Count) -> None:
        self.read += other.read
        self.charged += other.charged
        self.pending += other.pending
        self.rejected += other.rejected
        self.excluded += other.excluded


def _recover(engine: Engine, source: Past, start: int, end: int, now: int, total: _Count) -> int:
    """One part of a gap, in one transaction; the seconds covered by it."""
    parts = list(source.covered(start, end))
    if not parts:
        return 0
    told = list(source.records(start, end))
    events = [e for a, b in parts for e in source.events(a, b)]
    count = _Count()
    with write(engine) as connection:
        versions, bad = _sorted(connection, source, told, now, count)
        set_aside(connection, [*bad, *(aside_of(e, source.cluster) for e in events if isinstance(e, Reject))], now)
        keep(connection, versions, now)
        keep_events(connection, source.name, [e for e in events if isinstance(e, NodeEvent)], now)
        for a, b in parts:
            cover_window(connection, source.name, Scheduler.KUBERNETES, source.cluster, a, b)
        connection.execute(
            windows_table.insert().values(
                id=next_id(connection, windows_table), source=source.name, cluster=source.cluster, start_at=start,
                end_at=end, read_at=now, read=count.read, charged=count.charged,
                excluded=sum(count.excluded.values()), pending=count.pending, rejected=count.rejected,
                reasons=compact(count.excluded) if count.excluded else "",
            )
        )  # fmt: skip
    total.add(count)
    return sum(b - a for a, b in parts)


def _sorted(
    connection: Connection, source: Past, told: Iterable[Record | Reject], now: int, count: _Count
) -> tuple[list[Version], list[Aside]]:
    """What is to be kept of what was told, and what is set aside; each is counted in exactly one of four.

    Jobs that only the history knows are described on the way.
    """
    records: list[Record] = []
    bad: list[Aside] = []
    for item in told:
        count.read += 1
        reject = item if isinstance(item, Reject) else senseless(item, now)
        if isinstance(item, Record) and reject is None:
            records.append(item)
        else:
            count.rejected += 1
            bad.append(aside_of(reject, source.cluster))  # type: ignore[arg-type]
    known = _known(connection, [c.unit for r in records for c in r.claims])
    jobs = _live_jobs(connection, source.cluster, {r.job.native_id for r in records})
    versions: list[Version] = []
    standing_in: list[Job] = []
    for record in records:
        if record.excluded:
            count.excluded[record.excluded] += 1
            continue
        found = [v for c in record.claims if (v := _version(source, record, c, known, jobs)) is not None]
        versions += found
        standing_in += [record.job] if any(v.key == record.job.key for v in found) else []
        if not found:
            count.excluded[SEEN] += 1
        elif record.pending:
            count.pending += 1
        else:
            count.charged += 1
    put_jobs(connection, standing_in, SEEN_LIVE, now)
    return versions, bad


def _version(
    source: Past,
    record: Record,
    claim: Claim,
    known: Mapping[tuple[str, NodeKey], Claim],
    jobs: Mapping[str, Sequence[tuple[JobKey, int | None, int | None]]],
) -> Version | None:
    """A recovered claim as a version of the subject that the recorder would have kept; None when that knows better."""
    seen = known.get((claim.unit, claim.node))
    if seen is None or seen.end_basis.startswith(RECOVERED):
        kept = replace(claim, job=seen.job if seen is not None else _job(claim, record, jobs))
    elif claim.end is None or (seen.end is not None and (seen.end_basis != "vanished" or claim.end <= seen.end)):
        return None
    else:
        kept = replace(seen, end=max(claim.end, seen.start), end_basis=claim.end_basis)
    version = version_of_claim(kept, source.name, source.cluster)
    raw = record.raw.encode("utf-8", "surrogateescape")
    return version._replace(raw=raw, hash=hash_of(version.source, version.cluster, raw))


def _job(claim: Claim, record: Record, jobs: Mapping[str, Sequence[tuple[JobKey, int | None, int | None]]]) -> JobKey:
    """The one job of that name which was seen live at that time, else the history's own name for it."""
    until = claim.end if claim.end is not None else claim.start + 1
    there = [
        key
        for key, start, end in jobs.get(record.job.native_id, ())
        if key != record.job.key and (start is None or start < until) and (end is None or end > claim.start)
    ]
    return there[0] if len(there) == 1 else record.job.key


def _known(connection: Connection, units: Sequence[str]) -> dict[tuple[str, NodeKey], Claim]:
    """The current claims of these units."""
    c, j, n = claims_table.c, jobs_table.c, nodes_table.c
    found = {}
    for part in chunks(sorted(set(units))):
        query = (
            select(j.scheduler, j.cluster, j.run, n.scheduler, n.cluster, n.name, *(c[name] for name in CLAIM_COLUMNS))
            .join(jobs_table, j.id == c.job_id)
            .join(nodes_table, n.id == c.node_id)
            .where(c.current, c.unit.in_(part))
        )
        for scheduler, cluster, run, node_scheduler, node_cluster, name, *values in connection.execute(query):
            node = NodeKey(Scheduler(node_scheduler), node_cluster, name)
            claim = claim_of(JobKey(Scheduler(scheduler), cluster, run), node, values)
            found[claim.unit, node] = claim
    return found


def _live_jobs(
    connection: Connection, cluster: str, names: set[str]
) -> dict[str, list[tuple[JobKey, int | None, int | None]]]:
    """Jobs of these native ids with their times, by native id."""
    j = jobs_table.c
    found: dict[str, list[tuple[JobKey, int | None, int | None]]] = {}
    for part in chunks(sorted(names)):
        query = select(j.run, j.native_id, j.start_at, j.end_at).where(
            j.scheduler == Scheduler.KUBERNETES.value, j.cluster == cluster, j.native_id.in_(part)
        )
        for run, name, start, end in connection.execute(query):
            found.setdefault(name, []).append((JobKey(Scheduler.KUBERNETES, cluster, run), start, end))
    return found
