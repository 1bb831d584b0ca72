"""What changes rarely, read once per range: each node's sightings and events, and which time is covered."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Select, func, select

from accounting.evidence.capacity import Event, NodeFacts, Sighting
from accounting.evidence.hypotheses.proven_cards import most_held
from accounting.intake.coverage import HISTORY, LIVE, WHOLE, counts, covered_until, live_ends
from accounting.intake.live_only import LIVE_ONLY
from accounting.intake.runs_seen import REMEMBERED
from accounting.store.database import chunks, read
from accounting.store.rows import CLAIM_COLUMNS, WAITS, claim_of
from accounting.store.tables import LAST_SEEN, UNRECORDED, claim_keys, runs_seen
from accounting.store.tables import capacity as capacity_table
from accounting.store.tables import claims as claims_table
from accounting.store.tables import coverage as coverage_table
from accounting.store.tables import jobs as jobs_table
from accounting.store.tables import node_events as events_table
from accounting.store.tables import nodes as nodes_table
from accounting.store.tables import records as records_table
from exporters.join.links import FOREVER
from exporters.model import Claim, JobKey, LinkKind, Node, NodeKey, Scheduler

Place = tuple[Scheduler, str]
"""A scheduler's cluster."""

Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Nodes by key; the time over which each cluster's claims are known, and the last second of it.

    ``unsaid`` is when not all claims on a node are known, so that what nobody claims is not idle: cards of a Slurm node
    were seen live in the hands of runs for which no record tells any, or somebody was last seen with some, and nobody
    looked until he was gone. ``seen`` is when a source saw a node.
    """

    nodes: Mapping[NodeKey, NodeFacts]
    covered: Mapping[Place, Spans]
    until: Mapping[Place, int]
    unsaid: Mapping[NodeKey, Spans]
    seen: Mapping[NodeKey, Spans]

    def known(
        self, place: Place, keys: Iterable[NodeKey], a: int, b: int, unweighed: Mapping[NodeKey, Spans]
    ) -> list[tuple[int, int]]:
        """The parts of ``[a, b)`` over which the claims of a cluster on these nodes are known; ``unweighed`` is when
        some are of which nobody knows how much they hold.
        """
        own = [key for key in keys if (key.scheduler, key.cluster) == place]
        holes = sorted(hole for key in own for hole in (*self.unsaid.get(key, ()), *unweighed.get(key, ())))
        found = []
        for first, last in self.covered.get(place, ()):
            at, end = max(first, a), min(last, b)
            for begin, over in holes:
                if at < min(begin, end):
                    found.append((at, min(begin, end)))
                at = max(at, over)
            if at < end:
                found.append((at, end))
        return found


def load_facts(connection: Connection, start: int, end: int) -> Facts:
    """Everything about nodes that matters to ``[start, end)``, also what was seen before and is carried into it."""
    keys = node_keys(connection)
    sightings = _sightings(connection, end)
    late = _first_sightings(connection, [n for n in keys if n not in sightings], end)
    sightings.update(late)
    events = _events(connection, end)
    unsure = [n for n in keys if min((s.start for s in sightings.get(n, ())), default=start + 1) > start]
    mentioned = _mentions(connection, unsure)
    live = _first_live(connection)
    unseen = [n for n in keys if n not in sightings]
    held = most_held(connection, [n for n in unseen if _place(keys[n]) in live or not _counted(events.get(n, ()))])
    covered = _spans(connection, select(coverage_table).where(counts()))
    read_at = _spans(connection, select(coverage_table).where(coverage_table.c.kind == HISTORY))
    nodes = {
        key: NodeFacts(
            key,
            sightings.get(number, ()),
            events.get(number, ()),
            read_at.get((key.scheduler, key.cluster), ()),
            mentioned.get(number, (None, 0))[0],
            mentioned.get(number, (None, 0))[1],
            held.get(number, ()),
            live.get(_place(key)),
        )
        for number, key in keys.items()
    }
    seen = {keys[number]: _together(some) for number, some in sightings.items()}
    return Facts(nodes, covered, covered_until(connection), _unsaid(connection, keys, start, end), seen)


def _together(sightings: Iterable[Sighting]) -> Spans:
    """The time that sightings cover; those that touch are one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted((s.start, s.end) for s in sightings if s.start < s.end):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _unsaid(
    connection: Connection, keys: Mapping[int, NodeKey], start: int, end: int
) -> dict[NodeKey, list[tuple[int, int]]]:
    """When slurmctld showed cards of a node in the hands of runs for which no record tells any, and the time between
    the last reading that showed somebody who then was gone and the next one, by node.
    """
    found: dict[NodeKey, list[tuple[int, int]]] = defaultdict(list)
    for run in _in_no_record(connection, start, end):
        for name in sorted({row[0] for row in run.held}):
            found[NodeKey(Scheduler.SLURM, run.cluster, name)].append((run.start, run.missed))
    for node, last, gone in _last_seen(connection, start, end):
        found[keys[node]].append((last, gone))
    for key, last, gone in _seen_only(connection, start, end):
        found[key].append((last, gone))
    return {key: sorted(spans) for key, spans in found.items()}


def _last_seen(connection: Connection, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Claims that end at a last sighting: the node, that moment, and when whoever looked next missed them.

    Of a run that slurmctld showed, its next reading says so. One that it never showed was gone when it was first read
    in full; where that was before, when an answer was confronted with it.
    """
    c, r, s, w = claims_table.c, records_table.c, runs_seen.c, coverage_table.c
    shown = select(s.job_id, func.max(s.gone_at).label("gone")).where(s.gone_at.is_not(None)).group_by(s.job_id)
    seen = shown.subquery()
    query = (
        select(c.node_id, r.cluster, c.end_at, seen.c.gone, r.seen_at)
        .join(records_table, r.id == c.record_id)
        .outerjoin(seen, seen.c.job_id == c.job_id)
        .where(LAST_SEEN, c.end_at < end)
    )
    whole: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for cluster, first, over in connection.execute(select(w.cluster, w.start_at, w.end_at).where(w.kind == WHOLE)):
        whole[cluster].append((first, over))
    for node, cluster, last, missed, told in connection.execute(query):
        gone = missed
        if missed is None:
            within = any(first <= last < over for first, over in whole[cluster])
            gone = told if within else min([told, *(first for first, _ in whole[cluster] if first > last)])
        if gone > max(last, start):
            yield node, last, gone


def _seen_only(connection: Connection, start: int, end: int) -> Iterator[tuple[NodeKey, int, int]]:
    """The same of runs that are charged by what slurmctld showed alone."""
    s, r = runs_seen.c, records_table.c
    query = (
        select(s.cluster, s.held, s.last_at, s.gone_at)
        .join(records_table, r.job_id == s.job_id)
        .where(UNRECORDED, r.current, r.finality == WAITS, r.reason == LIVE_ONLY, s.gone_at > start, s.last_at < end)
    )
    for cluster, held, last, gone in connection.execute(query):
        for name in sorted({row[0] for row in json.loads(held)}):
            yield NodeKey(Scheduler.SLURM, cluster, name), last, gone


def seen_in_no_record(connection: Connection, start: int, end: int) -> list[tuple[str, str, int, int, int]]:
    """Runs that slurmctld showed with cards in ``[start, end)``, and for which no record tells any: the cluster, what
    people call the job, from when to when, and milliGPU-seconds.
    """
    found = []
    for run in _in_no_record(connection, start, end):
        a, b = max(run.start, start), min(run.last, end)
        if a < b:
            found.append((run.cluster, run.name, a, b, (b - a) * sum(row[3] for row in run.held)))
    return found


class _Run(NamedTuple):
    """A run that slurmctld showed and no record tells: up to its last sighting, and to the reading that missed it.

    Of one that is still shown nobody has looked since; that is remembered for as long as it is asked for. ``held`` is
    as in ``splits``.
    """

    cluster: str
    name: str
    start: int
    last: int
    missed: int
    held: list[Any]


def _in_no_record(connection: Connection, start: int, end: int) -> Iterator[_Run]:
    s, r, c, j = runs_seen.c, records_table.c, claims_table.c, jobs_table.c
    told = select(c.id).join(records_table, r.id == c.record_id).where(r.job_id == s.job_id, r.current, c.current)
    query = (
        select(
            s.source,
            s.cluster,
            func.coalesce(func.nullif(j.display_id, ""), j.run),
            s.start_at,
            s.last_at,
            s.gone_at,
            s.held,
        )
        .join(jobs_table, j.id == s.job_id)
        .where(UNRECORDED, s.start_at < end, ~told.exists())
        .order_by(s.start_at, s.id)
    )
    ends = live_ends(connection)
    for source, cluster, name, first, last, gone, held in connection.execute(query):
        seen = ends.get((source, cluster), first) if last is None else last
        missed = seen + REMEMBERED if last is None else gone or seen
        if missed > start:
            yield _Run(cluster, name, first, seen, missed, json.loads(held))


def node_keys(connection: Connection) -> dict[int, NodeKey]:
    """Every node the ledger knows, by id."""
    c = nodes_table.c
    rows = connection.execute(select(c.id, c.scheduler, c.cluster, c.name))
    return {number: NodeKey(Scheduler(s), cluster, name) for number, s, cluster, name in rows}


def _read_sightings(connection: Connection, query: Select[tuple[object, ...]]) -> dict[int, list[Sighting]]:
    ends = live_ends(connection)
    found: dict[int, list[Sighting]] = defaultdict(list)
    for r in connection.execute(query.join(nodes_table, nodes_table.c.id == capacity_table.c.node_id)):
        end = ends.get((r.source, r.cluster), r.start_at) if r.end_at is None else r.end_at
        slots = tuple((kind, size, count) for kind, size, count in json.loads(r.slots)) if r.slots else ()
        sighting = Sighting(r.start_at, end, r.model, r.milligpu, bool(r.up), r.reason, r.end_basis, slots)
        found[r.node_id].append(sighting)
    return found


_SIGHTING = select(capacity_table, nodes_table.c.cluster)


def _sightings(connection: Connection, end: int) -> dict[int, list[Sighting]]:
    return _read_sightings(connection, _SIGHTING.where(capacity_table.c.start_at < end))


def _first_sightings(connection: Connection, node_ids: Sequence[int], end: int) -> dict[int, list[Sighting]]:
    """The first sightings of nodes that were only seen later."""
    c = capacity_table.c
    firsts = select(c.node_id, func.min(c.start_at).label("first")).where(c.start_at >= end).group_by(c.node_id)
    sub = firsts.subquery()
    found: dict[int, list[Sighting]] = {}
    for part in chunks(node_ids):
        query = _SIGHTING.join(sub, (sub.c.node_id == c.node_id) & (sub.c.first == c.start_at))
        found.update(_read_sightings(connection, query.where(c.node_id.in_(part))))
    return found


def _events(connection: Connection, end: int) -> dict[int, list[Event]]:
    c = events_table.c
    found: dict[int, list[Event]] = defaultdict(list)
    query = select(c.node_id, c.start_at, c.end_at, c.up, c.milligpu, c.reason, c.seen_at, c.cards).where(c.current)
    for number, start, stop, up, milligpu, reason, seen, cards in connection.execute(query.where(c.start_at < end)):
        models = [(model, size) for model, size in json.loads(cards)] if cards else ()
        found[number].append(Event(start, stop, bool(up), milligpu, reason, seen, models))
    return found


def _counted(events: Iterable[Event]) -> bool:
    return any(e.milligpu is not None for e in events)


def _place(key: NodeKey) -> Place:
    return key.scheduler, key.cluster


def _mentions(connection: Connection, node_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """The first and the last second of claims on nodes."""
    c = claims_table.c
    found: dict[int, tuple[int, int]] = {}
    span = func.min(c.start_at), func.max(func.coalesce(c.end_at, FOREVER))
    for part in chunks(node_ids):
        query = select(c.node_id, *span).where(c.current, c.node_id.in_(part)).group_by(c.node_id)
        found.update((n, (first, last)) for n, first, last in connection.execute(query))
    return found


def _first_live(connection: Connection) -> dict[Place, int]:
    """When the nodes of each cluster were first read live."""
    c = coverage_table.c
    query = select(c.scheduler, c.cluster, func.min(c.start_at)).where(c.kind == LIVE, c.scheduler != "")
    rows = connection.execute(query.group_by(c.scheduler, c.cluster))
    return {(Scheduler(scheduler), cluster): first for scheduler, cluster, first in rows}


def _spans(connection: Connection, query: Select[tuple[object, ...]]) -> dict[Place, list[tuple[int, int]]]:
    """Covered time by cluster: the union over its sources."""
    found: dict[Place, list[tuple[int, int]]] = defaultdict(list)
    for r in connection.execute(query.order_by(coverage_table.c.start_at, coverage_table.c.end_at)):
        if r.end_at <= r.start_at:
            continue
        spans = found[Scheduler(r.scheduler), r.cluster]
        if spans and r.start_at <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], r.end_at))
        else:
            spans.append((r.start_at, r.end_at))
    return found


def nodes_seen(engine: Engine) -> list[Node]:
    """Every node the ledger knows, as last seen (a node known only from history: by its name alone). For resolvers."""
    c = capacity_table.c
    latest: dict[NodeKey, Node] = {}
    with read(engine) as connection:
        keys = node_keys(connection)
        query = select(c.node_id, c.model, c.milligpu, c.up, c.reason, c.hostnames).order_by(c.start_at, c.id)
        for number, model, milligpu, up, reason, names in connection.execute(query):
            hostnames = tuple(json.loads(names)) if names else ()
            latest[keys[number]] = Node(keys[number], milligpu, bool(up), model, reason, hostnames)
    return [latest.get(key) or Node(key, 0, up=True) for key in sorted(keys.values())]


def lenders(engine: Engine) -> list[Claim]:
    """Every current claim that lends its cards to a Slurm node: where that node was, and when. For resolvers."""
    c, j, n = claims_table.c, jobs_table.c, nodes_table.c
    lending = select(claim_keys.c.claim_id).where(claim_keys.c.kind == LinkKind.LENDS.value)
    query = (
        select(j.scheduler, j.cluster, j.run, n.scheduler, n.cluster, n.name, *(c[name] for name in CLAIM_COLUMNS))
        .join(jobs_table, j.id == c.job_id)
        .join(nodes_table, n.id == c.node_id)
        .where(c.current, c.id.in_(lending))
        .order_by(c.start_at, c.unit)
    )
    with read(engine) as connection:
        return [
            claim_of(JobKey(Scheduler(js), jc, run), NodeKey(Scheduler(ns), nc, name), values)
            for js, jc, run, ns, nc, name, *values in connection.execute(query)
        ]
