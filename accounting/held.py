"""Current claims out of the tables, each with its job; with the exact split over nodes where the live side saw it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, or_, select

from accounting.database import chunks
from accounting.prints import claim_digest
from accounting.rows import CLAIM_COLUMNS, JOB_COLUMNS, claim_of, job_of
from accounting.tables import claim_keys
from accounting.tables import claims as claims_table
from accounting.tables import jobs as jobs_table
from accounting.tables import nodes as nodes_table
from accounting.tables import records as records_table
from accounting.tables import splits as splits_table
from exporters.model import MILLI_PER_GPU, Claim, Job, LinkKind, NodeKey, Scheduler

NEAR = 3600
"""Seconds by which two claims that a key ties may miss each other and still be looked at together."""

_TIES = (LinkKind.SAME, LinkKind.INSIDE)


class HeldClaim(NamedTuple):
    """A claim, the job that holds it, the record that says so, and a digest of what is known (`accounting.prints`)."""

    claim: Claim
    job: Job
    job_id: int
    record_id: int
    told: bytes


_C, _J, _N, _R = claims_table.c, jobs_table.c, nodes_table.c, records_table.c
_QUERY = (
    select(
        _C.job_id,
        _C.record_id,
        _R.meaning,
        _N.scheduler,
        _N.cluster,
        _N.name,
        *(_C[name] for name in CLAIM_COLUMNS),
        *(_J[name].label(f"job_{name}") for name in JOB_COLUMNS),
    )
    .join(jobs_table, _J.id == _C.job_id)
    .join(nodes_table, _N.id == _C.node_id)
    .join(records_table, _R.id == _C.record_id)
    .where(_C.current)
)


def claims_between(connection: Connection, a: int, b: int) -> list[HeldClaim]:
    """All current claims that overlap ``[a, b)``, whole."""
    return _exact(connection, _read(connection, _QUERY.where(_C.start_at < b, or_(_C.end_at > a, _C.end_at.is_(None)))))


def tied_claims(connection: Connection, held: Sequence[HeldClaim], a: int, b: int) -> list[HeldClaim]:
    """Claims outside ``[a, b)`` that a link key ties to one of ``held``.

    They are the Slurm runs that pods of ``held`` name, and the pods that name runs of ``held``, as far as the two
    overlap or come near each other (job ids are recycled: another time's run of that number is not meant).
    The sweep takes the same ones (`accounting.sweep.naming`).
    """
    named = {(k.cluster, k.value) for h in held for k in h.claim.keys if k.kind in _TIES}
    runs = _runs(connection, named, a, b)
    pods = _pods(connection, [h.claim for h in held if h.claim.job.scheduler is Scheduler.SLURM], a, b)
    spans: dict[tuple[str, str], list[Claim]] = defaultdict(list)
    for h in held:
        for k in h.claim.keys:
            if k.kind in _TIES:
                spans[k.cluster, k.value].append(h.claim)
    kept = []
    for h in runs:
        names = ((cluster, h.claim.native_id) for cluster in (h.claim.job.cluster, ""))
        if any(_near(h.claim, c) for name in names for c in spans.get(name, ())):
            kept.append(h)
    return [*kept, *pods]


def _near(one: Claim, other: Claim) -> bool:
    return (other.end is None or one.start <= other.end + NEAR) and (one.end is None or other.start <= one.end + NEAR)


def _outside(query: Select[Any], a: int, b: int) -> Select[Any]:
    return query.where(or_(_C.end_at <= a, _C.start_at >= b))


def _runs(connection: Connection, named: set[tuple[str, str]], a: int, b: int) -> list[HeldClaim]:
    clusters: dict[str, list[str]] = defaultdict(list)
    for cluster, value in sorted(named):
        if not cluster or ("", value) not in named:  # what is named without a cluster is looked for in all of them
            clusters[cluster].append(value)
    found: list[HeldClaim] = []
    for cluster, values in clusters.items():
        slurm = _outside(_QUERY, a, b).where(_J.scheduler == Scheduler.SLURM.value)
        slurm = slurm.where(_J.cluster == cluster) if cluster else slurm  # a key without a cluster means any
        for part in chunks(values):
            found += _read(connection, slurm.where(_J.native_id.in_(part)))
    return _exact(connection, found)


def _pods(connection: Connection, runs: Sequence[Claim], a: int, b: int) -> list[HeldClaim]:
    """Pods outside the time that name one of these runs, near it in time."""
    by_name: dict[tuple[str, str], list[Claim]] = defaultdict(list)
    for r in runs:
        by_name[r.job.cluster, r.native_id].append(r)
        by_name["", r.native_id].append(r)
    k = claim_keys.c
    naming = _outside(_QUERY, a, b).join(claim_keys, k.claim_id == _C.id)
    found: list[HeldClaim] = []
    for part in chunks(sorted(by_name)):
        for cluster in sorted({c for c, _ in part}):
            values = [value for c, value in part if c == cluster]
            query = naming.where(k.kind.in_([t.value for t in _TIES]), k.cluster == cluster, k.value.in_(values))
            found += _read(connection, query)
    return [
        h
        for h in found
        if any(
            _near(h.claim, r) for n in h.claim.keys if n.kind in _TIES for r in by_name.get((n.cluster, n.value), ())
        )
    ]


def _read(connection: Connection, query: Select[Any]) -> list[HeldClaim]:
    jobs: dict[int, Job] = {}
    nodes: dict[tuple[str, str, str], NodeKey] = {}
    width = 6 + len(CLAIM_COLUMNS)
    found = []
    for row in connection.execute(query):
        job_id, record_id, meaning, *place = row[:6]
        job = jobs.get(job_id)
        if job is None:
            job = jobs[job_id] = job_of(row[width:])
        node = nodes.get(tuple(place))
        if node is None:
            node = nodes[tuple(place)] = NodeKey(Scheduler(place[0]), place[1], place[2])
        found.append(HeldClaim(claim_of(job.key, node, row[6:width]), job, job_id, record_id, bytes(meaning)))
    return found


def _exact(connection: Connection, held: list[HeldClaim]) -> list[HeldClaim]:
    """Put what was seen live (share and cards per node) in the place of what history had to assume."""
    runs = sorted({h.job_id for h in held if h.claim.job.scheduler is Scheduler.SLURM})
    seen: dict[int, list[Any]] = defaultdict(list)
    c = splits_table.c
    for part in chunks(runs):
        query = select(c.job_id, c.split).where(c.job_id.in_(part)).order_by(c.seen_at.desc(), c.split)
        for job_id, split in connection.execute(query):
            seen[job_id].append(json.loads(split))
    if not seen:
        return held
    records: dict[int, list[int]] = defaultdict(list)
    for n, h in enumerate(held):
        if h.job_id in seen:
            records[h.record_id].append(n)
    exact = list(held)
    for numbers in records.values():
        before = [held[n].claim for n in numbers]
        after = next((s for told in seen[held[numbers[0]].job_id] if (s := with_split(before, told))), before)
        for n, claim in zip(numbers, after, strict=True):
            if claim != held[n].claim:
                exact[n] = held[n]._replace(claim=claim, told=claim_digest(claim))
    return exact


def with_split(claims: Sequence[Claim], split: Iterable[Sequence[Any]]) -> list[Claim] | None:
    """One run's claims with their exact shares and cards, or None when ``split`` is not about these claims.

    ``split`` rows are ``[node, model, profile, milligpu, indices, uuids]``. It fits when it names the same nodes and
    the same total; a share that history knew exactly must agree. Rows are matched by node, and by model and profile
    where a node has several.
    """
    rows = list(split)
    if sum(r[3] for r in rows) != sum(c.milligpu for c in claims) or len(rows) != len(claims):
        return None
    whole = {(r[0], r[1], r[2]): r for r in rows}
    by_node: Mapping[str, Sequence[Any]] = {r[0]: r for r in rows} if len({r[0] for r in rows}) == len(rows) else {}
    found = []
    for c in claims:
        row = whole.get((c.node.name, c.model, c.profile)) or by_node.get(c.node.name)
        if row is None or (not c.split_assumed and row[3] != c.milligpu):
            return None
        cards = tuple(row[4]) if len(row[4]) * MILLI_PER_GPU == row[3] else ()
        found.append(
            replace(
                c,
                milligpu=row[3],
                split_assumed=False,
                model=c.model or row[1],
                indices=c.indices or cards,
                uuids=c.uuids or tuple(row[5]),
            )
        )
    return found
