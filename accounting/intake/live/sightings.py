"""What one live source showed in successive readings, joined into intervals: coverage, capacity, claims.

An interval that goes on is written once, with no end: it is understood to last to the end of its source's coverage,
which every reading extends. So a reading that shows nothing new writes one row. Where two readings are more than a gap
apart, everything ends at the first of them and begins anew at the second: the time between is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, bindparam, select, update

from accounting.intake import runs_seen
from accounting.intake.coverage import LIVE, WHOLE, begin_live, extend_live, last_live
from accounting.intake.identities import LIVE as SEEN
from accounting.intake.identities import job_ids, node_ids, put_jobs
from accounting.intake.records import keep
from accounting.intake.rejects import aside_of, set_aside
from accounting.intake.versions import version_of_claim
from accounting.model import LEFT
from accounting.store.database import chunks, insert_many, next_id, storable, upsert
from accounting.store.day_changes import touch_jobs
from accounting.store.rows import CLAIM_COLUMNS, claim_of, compact
from accounting.store.tables import capacity as capacity_table
from accounting.store.tables import claims as claims_table
from accounting.store.tables import jobs as jobs_table
from accounting.store.tables import nodes as nodes_table
from accounting.store.tables import records as records_table
from accounting.store.tables import splits as splits_table
from exporters.model import Claim, Job, JobKey, Node, NodeKey, Scheduler
from exporters.recorder import SourceReading

Unit = tuple[str, NodeKey]
"""What holds, and where: at most one claim each."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the ledger knows of one source between two readings. ``stretch`` is its coverage: id, start, end.

    ``shown`` are the claims of a Slurm that is read live, by job, and ``splits`` what was kept of them.
    """

    scheduler: str = ""
    stretch: tuple[int, int, int] | None = None
    nodes: Mapping[tuple[NodeKey, str], tuple[int, Node]] = field(default_factory=dict)
    claims: Mapping[Unit, Claim] = field(default_factory=dict)
    ended: tuple[Claim, ...] = ()
    jobs: Mapping[JobKey, Job] = field(default_factory=dict)
    shown: Mapping[JobKey, Sequence[Claim]] = field(default_factory=dict)
    splits: Mapping[JobKey, str] = field(default_factory=dict)
    runs: runs_seen.Open = field(default_factory=dict)
    whole: tuple[int, int, int] | None = None
    rejects: frozenset[tuple[str, str]] = frozenset()


def recall(connection: Connection, source: str, cluster: str) -> Seen:
    """What an earlier recorder left in the ledger about this source."""
    nodes = {}
    c, n = capacity_table.c, nodes_table.c
    query = (
        select(c.id, n.scheduler, n.name, c.model, c.milligpu, c.up, c.reason, c.hostnames, c.slots)
        .join(nodes_table, n.id == c.node_id)
        .where(c.source == source, n.cluster == cluster, c.end_at.is_(None))
    )
    scheduler = ""
    for number, scheduler, name, model, milligpu, up, reason, hostnames, slots in connection.execute(query):
        key = NodeKey(Scheduler(scheduler), cluster, name)
        shares = tuple((kind, size, count) for kind, size, count in json.loads(slots or "[]"))
        nodes[key, model] = (number, Node(key, milligpu, bool(up), model, reason, _names(hostnames), shares))
    return Seen(
        scheduler,
        last_live(connection, source, cluster, LIVE),
        nodes,
        _open_claims(connection, source, cluster),
        runs=runs_seen.recall(connection, source, cluster),
        whole=last_live(connection, source, cluster, WHOLE),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text else ()


def _open_claims(connection: Connection, source: str, cluster: str) -> dict[Unit, Claim]:
    c, r, j, n = claims_table.c, records_table.c, jobs_table.c, nodes_table.c
    query = (
        select(j.scheduler, j.cluster, j.run, n.scheduler, n.cluster, n.name, *(c[name] for name in CLAIM_COLUMNS))
        .join(records_table, r.id == c.record_id)
        .join(jobs_table, j.id == c.job_id)
        .join(nodes_table, n.id == c.node_id)
        .where(c.current, c.end_at.is_(None), r.source == source, r.cluster == cluster)
    )
    found = {}
    for scheduler, job_cluster, run, node_scheduler, node_cluster, name, *values in connection.execute(query):
        node = NodeKey(Scheduler(node_scheduler), node_cluster, name)
        claim = claim_of(JobKey(Scheduler(scheduler), job_cluster, run), node, values)
        found[claim.unit, node] = claim
    return found


def take(connection: Connection, reading: SourceReading, seen: Seen, gap: float) -> Seen:
    """Write what a reading tells beyond what was ``seen``, in the caller's transaction; returns what is seen now.

    A reading that is not later than the last one adds only what is told once: ended claims and rejects.
    """
    at = int(reading.polled_at)
    rejects = frozenset((r.record, r.reason) for r in reading.rejects)
    news = [aside_of(r, reading.cluster) for r in reading.rejects if (r.record, r.reason) not in seen.rejects]
    set_aside(connection, news, at)
    ended = tuple(c for c in reading.ended if c.job.scheduler is Scheduler.KUBERNETES)
    if ended != seen.ended:
        _keep_claims(connection, reading, ended, at)
    seen = replace(seen, rejects=rejects, ended=ended)
    if seen.stretch is not None and at <= seen.stretch[2]:
        return seen
    scheduler = seen.scheduler or _scheduler_of(reading)
    put_jobs(connection, [j for j in reading.jobs if not _same_job(j, seen.jobs.get(j.key))], SEEN, at)
    last = seen.stretch[2] if seen.stretch else at
    claims = _take_claims(connection, reading, seen, ended, last)
    shown = _shown(reading.claims)
    splits = _take_splits(connection, shown, seen, at)
    runs, whole = seen.runs, seen.whole
    if scheduler == Scheduler.SLURM.value:
        held = {job: (some, _split(some)) for job, some in shown.items()}
        runs, whole = runs_seen.take(connection, reading, held, runs, whole, (last, at), gap)
    nodes = dict(seen.nodes)
    if seen.stretch is not None and at - last <= gap:
        stretch = (seen.stretch[0], seen.stretch[1], at)
        extend_live(connection, stretch[0], at)
    else:
        _close_nodes(connection, [(number, last, "silent") for number, _ in nodes.values()])
        listed = {n.key for n in reading.nodes}
        _tell_left(connection, reading.source, [n for _, n in nodes.values() if n.key not in listed], at)
        nodes = {}
        stretch = (begin_live(connection, reading.source, scheduler, reading.cluster, LIVE, at), at, at)
    return replace(
        seen,
        scheduler=scheduler,
        stretch=stretch,
        nodes=_take_nodes(connection, reading, nodes, at),
        claims=claims,
        jobs={j.key: j for j in reading.jobs},
        shown=shown,
        splits=splits,
        runs=runs,
        whole=whole,
    )


def _same_job(job: Job, known: Job | None) -> bool:
    return job is known or (known is not None and job == known and dict(job.labels) == dict(known.labels))


def _scheduler_of(reading: SourceReading) -> str:
    """The scheduler that a source reads, as its keys say; empty for devices."""
    if reading.scheduler:
        return reading.scheduler
    keys: list[NodeKey] | list[JobKey] = [n.key for n in reading.nodes] or [j.key for j in reading.jobs]
    keys = keys or [c.job for c in (*reading.claims, *reading.ended)]
    return keys[0].scheduler.value if keys else ""


def _take_claims(
    connection: Connection, reading: SourceReading, seen: Seen, ended: tuple[Claim, ...], last: int
) -> dict[Unit, Claim]:
    """Keep claims that are new or other than before, and end those that are gone without a word at ``last``."""
    held = {(c.unit, c.node): c for c in reading.claims if c.job.scheduler is Scheduler.KUBERNETES}
    told = held.keys() | {(c.unit, c.node) for c in ended}
    gone = [replace(c, end=max(last, c.start), end_basis="vanished") for u, c in seen.claims.items() if u not in told]
    over = _ended_since(connection, [c.unit for c in gone])
    gone = [c for c in gone if c.unit not in over]
    news = [c for u, c in held.items() if seen.claims.get(u) != c]
    _keep_claims(connection, reading, (*news, *gone), int(reading.polled_at))
    return held


def _ended_since(connection: Connection, units: Sequence[str]) -> set[str]:
    """Those of these units whose end was recovered while this source could not be read: better than a guess."""
    c = claims_table.c
    found: set[str] = set()
    for part in chunks(sorted(units)):
        found.update(connection.scalars(select(c.unit).where(c.current, c.end_at.is_not(None), c.unit.in_(part))))
    return found


def _keep_claims(connection: Connection, reading: SourceReading, claims: tuple[Claim, ...], at: int) -> None:
    keep(connection, [version_of_claim(c, reading.source, reading.cluster) for c in claims], at)


def _shown(claims: Iterable[Claim]) -> dict[JobKey, list[Claim]]:
    """Claims of Slurm by job."""
    found: dict[JobKey, list[Claim]] = {}
    for c in claims:
        if c.job.scheduler is Scheduler.SLURM:
            found.setdefault(c.job, []).append(c)
    return found


def _split(claims: Iterable[Claim]) -> str:
    """What each node gave to a job, as it is kept."""
    rows = [
        [storable(c.node.name), storable(c.model), storable(c.profile), c.milligpu, list(c.indices), list(c.uuids)]
        for c in claims
    ]
    return compact(sorted(rows))


def _take_splits(
    connection: Connection, shown: Mapping[JobKey, Sequence[Claim]], seen: Seen, at: int
) -> dict[JobKey, str]:
    """Slurm's history forgets which node gave how many cards, and which: what is seen of that is kept per run."""
    now: dict[JobKey, str] = {}
    news: dict[JobKey, str] = {}
    for job, claims in shown.items():
        before = seen.splits.get(job)
        if before is not None and claims == seen.shown.get(job):
            now[job] = before
        elif not any(c.split_assumed for c in claims):
            now[job] = _split(claims)
            if now[job] != before:
                news[job] = now[job]
    if not news:
        return now
    ids = job_ids(connection, news.keys())
    last = _last_splits(connection, ids.values())
    news = {job: split for job, split in news.items() if last.get(ids[job]) != split}
    put = upsert(splits_table, connection.dialect.name)
    put = put.on_conflict_do_update(index_elements=["job_id", "split"], set_={"seen_at": put.excluded.seen_at})
    free = next_id(connection, splits_table)
    rows = [
        {"id": free + n, "job_id": ids[job], "split": split, "seen_at": at}
        for n, (job, split) in enumerate(sorted(news.items()))
    ]
    if rows:
        connection.execute(put, rows)
        touch_jobs(connection, [ids[job] for job in news])
    return now


def _last_splits(connection: Connection, job_numbers: Iterable[int]) -> dict[int, str]:
    """The split last seen of each of these jobs: seen again after a restart, it is no news."""
    s = splits_table.c
    found: dict[int, str] = {}
    for part in chunks(sorted(job_numbers)):
        query = select(s.job_id, s.split).where(s.job_id.in_(part)).order_by(s.seen_at, s.split.desc())
        found.update((number, split) for number, split in connection.execute(query))
    return found


def _take_nodes(
    connection: Connection, reading: SourceReading, before: Mapping[tuple[NodeKey, str], tuple[int, Node]], at: int
) -> dict[tuple[NodeKey, str], tuple[int, Node]]:
    """Open an interval for every node that is new or other than before, and close those that are over."""
    now = {(n.key, n.model): n for n in reading.nodes}
    keys = {key for key, _ in now}
    closed, after = [], {}
    for place, (number, node) in before.items():
        if now.get(place) == node:
            after[place] = (number, node)
        else:
            closed.append((number, at, "changed" if place[0] in keys else LEFT))
    _close_nodes(connection, closed)
    new = sorted(place for place in now if place not in after)
    numbers = _insert(connection, reading.source, [now[place] for place in new], at, None, "")
    return after | {place: (number, now[place]) for place, number in zip(new, numbers, strict=True)}


def _tell_left(connection: Connection, source: str, nodes: list[Node], at: int) -> None:
    """Nodes that were last seen before a hole, and are not there after it: an interval of no length says that."""
    _insert(connection, source, sorted(nodes, key=lambda n: (n.key, n.model)), at, at, LEFT)


def _insert(connection: Connection, source: str, nodes: list[Node], start: int, end: int | None, basis: str) -> range:
    """Write an interval of each node; returns the rows' ids."""
    ids = node_ids(connection, {n.key for n in nodes})
    free = next_id(connection, capacity_table) if nodes else 0
    rows = []
    for number, n in enumerate(nodes, start=free):
        names = compact([storable(h) for h in n.hostnames]) if n.hostnames else ""
        what = (storable(n.model), n.milligpu, n.up, storable(n.reason), names)
        slots = compact(n.slots) if n.slots else ""
        rows.append((number, ids[n.key], source, *what, start, end, basis, slots))
    insert_many(connection, capacity_table, [c.name for c in capacity_table.columns], rows)
    return range(free, free + len(rows))


def _close_nodes(connection: Connection, closed: list[tuple[int, int, str]]) -> None:
    if closed:
        statement = update(capacity_table).where(capacity_table.c.id == bindparam("b_id"))
        connection.execute(
            statement.values(end_at=bindparam("end_at"), end_basis=bindparam("end_basis")),
            [{"b_id": number, "end_at": end, "end_basis": basis} for number, end, basis in closed],
        )
