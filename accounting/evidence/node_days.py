"""Evidence: reads back from the tables what is known about each machine, as node-days ready to be reconciled.

Everything is read in bulk: what changes rarely (capacity, coverage, events) once per range, claims once per node-day
date. Reading never depends on the order in which the ledger was told: the same evidence gives the same node-days.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo

from sqlalchemy import Connection, Engine

from accounting.evidence.capacity import stretches
from accounting.evidence.claims import claims_between, tied_claims
from accounting.evidence.fingerprints import claim_print
from accounting.evidence.known_cards import unit_of
from accounting.evidence.node_facts import Facts, load_facts
from accounting.evidence.rulings import in_force
from accounting.intake import holdings
from accounting.model import CapacityStretch, CoverageStretch, HoldingStretch, NodeDay, Ruling
from accounting.store.calendar import segments
from accounting.store.database import read
from exporters.model import Claim, Job, JobKey, NodeKey, Scheduler

Resolver = Callable[[NodeKey, int, int], Sequence[tuple[str, int, int]]]
"""Which machine a node is: stretches ``(machine, start, end)`` that partition the interval asked for."""

Projects = Callable[[Job, float], str]
"""Who pays for a job at a moment: a matter of its scheduler, cluster, account and labels alone."""

_Told = tuple[bytes, Claim]
"""A claim, and a digest of what is known of it (`accounting.evidence.fingerprints`)."""


def node_days(
    engine: Engine,
    start: int,
    end: int,
    resolver: Resolver,
    *,
    zone: tzinfo = UTC,
    projects: Projects | None = None,
    machines: Collection[str] | None = None,
    present: Resolver | None = None,
) -> Iterator[NodeDay]:
    """Every node-day that touches ``[start, end)``, by day and then by machine.

    The first node-day begins where its day does, also before ``start``; the last one ends at ``end`` even within its
    day: what comes after has not happened yet. A machine is there when it had cards, or something was claimed on it.
    ``projects`` is asked for the beginning of the node-day, or of the run when that is later. ``machines`` limits the
    answer to some. ``present`` says where and when a node is there with its cards (a NodeSet's Slurm node only while
    its pod runs); without it a node is wherever ``resolver`` puts it.
    """
    days = list(segments(start, end, zone))
    if not days:
        return
    with read(engine) as connection:
        facts = load_facts(connection, days[0][0], end)
        rulings = in_force(connection)
    capacity = {key: stretches(node, days[0][0], end) for key, node in facts.nodes.items()}
    for a, whole in days:
        b = min(whole, end)
        with read(engine) as connection:
            yield from _day(
                connection, a, b, _World(facts, capacity, resolver, present or resolver, projects, machines, rulings)
            )


@dataclass(frozen=True, slots=True)
class _World:
    """What the days of one range share."""

    facts: Facts
    capacity: Mapping[NodeKey, Sequence[CapacityStretch]]
    resolver: Resolver
    present: Resolver
    projects: Projects | None
    machines: Collection[str] | None
    rulings: Mapping[str, Sequence[Ruling]]

    def wanted(self, machine: str) -> bool:
        return self.machines is None or machine in self.machines


def _day(connection: Connection, a: int, b: int, world: _World) -> Iterator[NodeDay]:
    """All node-days over ``[a, b)``."""
    held = claims_between(connection, a, b)
    claims: dict[str, set[_Told]] = defaultdict(set)
    keys: dict[str, set[NodeKey]] = defaultdict(set)
    jobs: dict[JobKey, Job] = {}
    places = _Places(world.resolver, b)
    for h in held:
        for machine, piece in places.of(h.claim):
            if piece.start < b and (piece.end is None or piece.end > max(a, piece.start)):
                claims[machine].add((h.told, piece))
                keys[machine].add(piece.node)
                jobs[h.claim.job] = h.job
    for h in tied_claims(connection, held, a, b):
        for machine, piece in places.of(h.claim):
            if machine in claims:
                claims[machine].add((h.told, piece))
                jobs[h.claim.job] = h.job
    pools: dict[str, list[CapacityStretch]] = defaultdict(list)
    for key, node_stretches in world.capacity.items():
        here = [s for s in node_stretches if s.start < b and s.end > a]
        for machine, first, last in world.present(key, a, b) if here else ():
            cut = [replace(s, start=max(s.start, first), end=min(s.end, last)) for s in here]
            pools[machine] += [s for s in cut if s.start < s.end]
            keys[machine].add(key)
    seen = holdings.between(connection, a, b)
    for machine in sorted(keys):
        had = pools[machine]
        if world.wanted(machine) and (claims[machine] or any(s.milligpu for s in had)):
            yield _node_day(machine, a, b, claims[machine], had, keys[machine], jobs, world, seen.get(machine, ()))


def _node_day(
    machine: str,
    a: int,
    b: int,
    told: Collection[_Told],
    capacity: Sequence[CapacityStretch],
    keys: Collection[NodeKey],
    jobs: Mapping[JobKey, Job],
    world: _World,
    seen: Sequence[HoldingStretch],
) -> NodeDay:
    related = sorted({(key.scheduler, key.cluster) for key in keys})
    claims = {c for _, c in told}
    paying = sorted({c.job for c in claims})
    units = {unit_of(c.job, c.unit) for c in claims}
    asked = world.projects
    projects = {k: asked(jobs[k], max(a, jobs[k].start or a)) for k in paying} if asked else {}
    return NodeDay(
        machine=machine,
        start=a,
        end=b,
        claims=tuple(sorted(claims, key=_order)),
        capacity=tuple(sorted(capacity)),
        coverage=tuple(_coverage(world.facts, related, a, b)),
        projects=tuple(projects.items()),
        known_until=tuple((*place, min(b, until)) for place in related if (until := world.facts.until.get(place))),
        rulings=tuple(r for r in world.rulings.get(machine, ()) if set(r.parties) <= set(paying)),
        holdings=tuple(sorted(h for h in seen if unit_of(h.job, h.unit) in units)),
        prints=tuple(sorted({claim_print(digest, c, projects.get(c.job, "")) for digest, c in told})),
    )


def _order(claim: Claim) -> tuple[object, ...]:
    return (
        claim.start,
        claim.job,
        claim.unit,
        claim.node,
        claim.model,
        claim.profile,
        claim.milligpu,
        claim.end is None,
        claim.end or 0,
        claim.indices,
        claim.uuids,
    )


def _coverage(facts: Facts, related: Sequence[tuple[Scheduler, str]], a: int, b: int) -> Iterator[CoverageStretch]:
    for scheduler, cluster in related:
        for first, last in facts.covered.get((scheduler, cluster), ()):
            if first < b and last > a:
                yield CoverageStretch(max(first, a), min(last, b), scheduler, cluster)


class _Places:
    """Puts claims on machines, asking the resolver once per node where that is enough."""

    def __init__(self, resolver: Resolver, now: int) -> None:
        self.resolver, self.now = resolver, now
        self.asked: dict[NodeKey, tuple[int, int, Sequence[tuple[str, int, int]]]] = {}

    def of(self, claim: Claim) -> list[tuple[str, Claim]]:
        """The claim on each machine it was on; cut where its node moved from one to another. An open end stays open."""
        end = max(self.now, claim.start + 1) if claim.end is None else max(claim.end, claim.start + 1)
        first, last, found = self.asked.get(claim.node, (0, 0, ()))
        if not (first <= claim.start and end <= last):
            first, last = (min(first, claim.start), max(last, end)) if found else (claim.start, max(end, self.now))
            found = self.resolver(claim.node, first, last)
            self.asked[claim.node] = (first, last, found)
        if len(found) == 1:
            return [(found[0][0], claim)]
        pieces = [(m, max(s, claim.start), min(e, end)) for m, s, e in found]
        pieces = [(m, s, e) for m, s, e in pieces if s < e]
        return [
            (m, replace(claim, start=s, end=claim.end if n + 1 == len(pieces) else e))
            for n, (m, s, e) in enumerate(pieces)
        ]
