"""Current claims out of the tables, each with its job; with the exact split over nodes where the live side saw it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, or_, select

from accounting.evidence.fingerprints import claim_digest
from accounting.model import NEAR
from accounting.store.database import chunks
from accounting.store.rows import CLAIM_COLUMNS, JOB_COLUMNS, claim_of, job_of
from accounting.store.tables import PODS, claim_keys
from accounting.store.tables import claims as claims_table
from accounting.store.tables import jobs as jobs_table
from accounting.store.tables import nodes as nodes_table
from accounting.store.tables import records as records_table
from accounting.store.tables import splits as splits_table
from exporters.model import MILLI_PER_GPU, Claim, Job, LinkKind, NodeKey, Scheduler

Name = tuple[bool, str, str]
"""Whether it is of a Slurm run, a cluster, and a native id in it."""

_TIES = (LinkKind.SAME, LinkKind.INSIDE)


class HeldClaim(NamedTuple):
    """A claim, the job that holds it, the record that says so, and a digest of what is known
    (`accounting.evidence.fingerprints`).
    """

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

    Keys of pods name Slurm runs, and those of Slurm runs (AdminComment) name pods: tied is what ``held`` name, and what
    names one of them, as far as the two overlap or come near each other (job ids and pods' names are used again:
    another time's is not meant). The sweep takes the same ones (`accounting.reconcile.sweep.links.naming`).
    """
    named, bearing = _Names(), _Names()
    for h in held:
        for name in _said(h.claim):
            named[name].append(h.claim)
        for name in _names(h.claim):
            bearing[name].append(h.claim)
    found = [h for h in _bearing(connection, named, a, b) if named.near(h.claim, _names(h.claim))]
    found += [h for h in _naming(connection, bearing, a, b) if bearing.near(h.claim, _said(h.claim))]
    return [*{(h.record_id, h.claim.job, h.claim.unit, h.claim.node): h for h in found}.values()]


class _Names(defaultdict[Name, list[Claim]]):
    """Claims by a name."""

    def __init__(self) -> None:
        super().__init__(list)

    def near(self, claim: Claim, names: Iterable[Name]) -> bool:
        """Whether a claim of one of these names is near ``claim`` in time."""
        return any(_near(claim, other) for name in names for other in self.get(name, ()))

    def by_cluster(self, *, slurm: bool) -> Iterator[tuple[str, list[str]]]:
        """The names of runs, or of pods, in lists that fit into a query."""
        found: dict[str, list[str]] = defaultdict(list)
        for which, cluster, value in sorted(self):
            if which is slurm:
                found[cluster].append(value)
        return ((cluster, part) for cluster, values in found.items() for part in chunks(values))


def _names(claim: Claim) -> tuple[Name, Name]:
    """By what a key may name a claim: a key without a cluster means any."""
    slurm = claim.job.scheduler is Scheduler.SLURM
    return (slurm, claim.job.cluster, claim.native_id), (slurm, "", claim.native_id)


def _said(claim: Claim) -> list[Name]:
    """What a claim's own keys name: something of the other scheduler."""
    other = claim.job.scheduler is not Scheduler.SLURM
    return [(other, key.cluster, key.value) for key in claim.keys if key.kind in _TIES]


def _near(one: Claim, other: Claim) -> bool:
    return (other.end is None or one.start <= other.end + NEAR) and (one.end is None or other.start <= one.end + NEAR)


def _outside(query: Select[Any], a: int, b: int) -> Select[Any]:
    return query.where(or_(_C.end_at <= a, _C.start_at >= b))


def _bearing(connection: Connection, named: _Names, a: int, b: int) -> list[HeldClaim]:
    """Runs and pods outside the time that bear one of these names."""
    found: list[HeldClaim] = []
    for slurm in (True, False):
        scheduler = Scheduler.SLURM if slurm else Scheduler.KUBERNETES  # which is looked up last: nearly all are of one
        every = _outside(_QUERY, a, b).where(_J.scheduler.concat("") == scheduler.value)
        for cluster, values in named.by_cluster(slurm=slurm):
            here = every.where(_J.cluster == cluster) if cluster else every
            borne = _J.native_id.in_(values) if slurm else and_(PODS, _C.native_id.in_(values))
            found += _read(connection, here.where(borne))
    return _exact(connection, found)


def _naming(connection: Connection, bearing: _Names, a: int, b: int) -> list[HeldClaim]:
    """Runs and pods outside the time that have one of these names in a key."""
    k = claim_keys.c
    naming = _outside(_QUERY, a, b).join(claim_keys, k.claim_id == _C.id).where(k.kind.in_([t.value for t in _TIES]))
    found: list[HeldClaim] = []
    for slurm in (True, False):
        for cluster, values in bearing.by_cluster(slurm=slurm):
            found += _read(connection, naming.where(k.cluster == cluster, k.value.in_(values)))
    return _exact(connection, found)


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
    seen = splits_of(connection, sorted({h.job_id for h in held if h.claim.job.scheduler is Scheduler.SLURM}))
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


def splits_of(connection: Connection, jobs: Sequence[int]) -> dict[int, list[Any]]:
    """The splits that were seen live of some runs, by their ids, the last one first: see `with_split`."""
    found: dict[int, list[Any]] = defaultdict(list)
    c = splits_table.c
    for part in chunks(jobs):
        query = select(c.job_id, c.split).where(c.job_id.in_(part)).order_by(c.seen_at.desc(), c.split)
        for job, split in connection.execute(query):
            found[job].append(json.loads(split))
    return found


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
