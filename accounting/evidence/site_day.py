"""A day's machines: what claims are on them, what they had, and the hash of all inputs of each node-day.

What is known of a node-day here is what a `NodeDay` holds of it. Everything is read in bulk: what changes rarely
(capacity, coverage, events) once per range, claims once per day. Reading never depends on the order in which the ledger
was told: the same evidence gives the same node-days.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from accounting.arrays import Ints
from accounting.evidence.claim_reader import Reader
from accounting.evidence.claim_rows import Rows, joined
from accounting.evidence.day_claims import Days, inside
from accounting.evidence.fingerprints import STILL_HELD, inputs_digest, node_number, number_of, place_text
from accounting.evidence.hypotheses.assumed_splits import fitted, with_shares
from accounting.evidence.hypotheses.proven_cards import least, proven
from accounting.evidence.hypotheses.slot_weights import Holes, weighed
from accounting.evidence.known_cards import unit_of
from accounting.evidence.node_facts import Facts
from accounting.evidence.placing import Placed, placed
from accounting.evidence.questions import Projects, Resolver
from accounting.evidence.ties.day_ties import tied_rows
from accounting.intake.live import holdings
from accounting.model import CapacityStretch, CoverageStretch, HoldingStretch, Ruling
from accounting.store.columns import Columns
from exporters.join.links import FOREVER
from exporters.model import Claim, Job, JobKey, NodeKey, Scheduler

Borders = Callable[[int, int], Sequence[int]]
"""The moments strictly between two others at which it may change who pays for a job."""

Place = tuple[Scheduler, str]


@dataclass(frozen=True, slots=True)
class World:
    """What the days of one range share. ``unweighed`` is of one day: when claims held nobody knows how much."""

    reader: Reader
    facts: Facts
    capacity: Mapping[NodeKey, Sequence[CapacityStretch]]
    resolver: Resolver
    present: Resolver
    projects: Projects
    borders: Borders | None
    rulings: Mapping[str, Sequence[Ruling]]
    machines: frozenset[str] | None = None
    unweighed: Holes = field(default_factory=dict)

    def wanted(self, machine: str) -> bool:
        """Whether this machine is asked for."""
        return self.machines is None or machine in self.machines


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine on one day, without its claims."""

    name: str
    capacity: Sequence[CapacityStretch]
    coverage: Sequence[CoverageStretch]
    known_until: Sequence[tuple[Scheduler, str, int]]
    rulings: Sequence[Ruling]
    holdings: Sequence[HoldingStretch]


@dataclass(frozen=True, slots=True)
class SiteDay:
    """The node-days over ``[start, end)``, by machine.

    ``rows`` are the claims that matter to each, as they are on the machine (cut where their node moved); those of
    ``machines[m]`` are ``first[m]:first[m + 1]``. ``project`` numbers who pays for each (`projects`). ``hashes`` are
    the inputs' hashes.
    """

    start: int
    end: int
    world: World
    machines: Sequence[Machine]
    first: Ints
    rows: Rows
    project: Ints
    projects: Sequence[str]
    hashes: Sequence[bytes]

    def span(self, machine: int) -> range:
        """The rows of one machine."""
        return range(int(self.first[machine]), int(self.first[machine + 1]))

    def claim(self, row: int) -> Claim:
        """The claim behind a row."""
        return self.world.reader.claim(self.rows, row)

    def job_key(self, row: int) -> JobKey:
        """The job of a row."""
        return self.world.reader.job_key(self.rows, row)


def site_day(tables: Columns, world: World, days: Days, a: int, b: int) -> SiteDay:
    """Everything about the node-days over ``[a, b)``."""
    reader = world.reader
    read, unweighed = weighed(reader, days.read(tables, a, b), world.facts.nodes)
    held = fitted(reader, reader.exact(tables, read), world.capacity, a, b)
    on = placed(held, b, world.resolver, reader.nodes, reader.machines)
    on = on.keep(inside(on.rows, a, b))
    tied, _ = weighed(reader, with_shares(reader, tied_rows(tables, reader, held, a, b)), world.facts.nodes)
    beyond = placed(tied, b, world.resolver, reader.nodes, reader.machines)
    beyond = beyond.take(np.isin(beyond.machine, np.unique(on.machine)))
    pools, keys = _capacity(world, a, b)
    claimed = {(pair >> 32, pair & 0xFFFFFFFF) for pair in np.unique((on.machine << 32) | on.rows.node).tolist()}
    names = reader.machines.items
    for m, node in claimed:
        keys[names[m]].add(reader.nodes[node])
    world = replace(world, unweighed=unweighed)
    _prove(world, on, pools, keys, a, b)
    busy = {names[m] for m, _ in claimed}
    there = [m for m in sorted(keys) if world.wanted(m) and (m in busy or any(s.milligpu for s in pools[m]))]
    return _assembled(tables.connection, world, (a, b), there, joined_placed(on, beyond), pools, keys)


def _prove(
    world: World,
    on: Placed,
    pools: Mapping[str, list[CapacityStretch]],
    keys: Mapping[str, Collection[NodeKey]],
    a: int,
    b: int,
) -> None:
    """Add what claims prove of machines at which nobody looked (`accounting.evidence.hypotheses.proven_cards`)."""
    names = world.reader.machines.items
    most = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(most, on.machine, on.rows.milligpu)
    for m in np.flatnonzero(most).tolist():
        known = least(pools[names[m]], a, b)
        if known and most[m] <= known:
            continue
        seen = [span for key in keys[names[m]] for span in world.facts.seen.get(key, ())]
        if not any(first <= a and last >= b for first, last in seen):
            claims = [world.reader.claim(on.rows, row) for row in np.flatnonzero(on.machine == m).tolist()]
            pools[names[m]] += proven(claims, pools[names[m]], seen, a, b)


def joined_placed(*some: Placed) -> Placed:
    """Placed rows below each other."""
    return Placed(joined([p.rows for p in some]), np.concatenate([p.machine for p in some]))


def _capacity(
    world: World, a: int, b: int
) -> tuple[defaultdict[str, list[CapacityStretch]], defaultdict[str, set[NodeKey]]]:
    """What each machine had, and which nodes it was."""
    pools: defaultdict[str, list[CapacityStretch]] = defaultdict(list)
    keys: defaultdict[str, set[NodeKey]] = defaultdict(set)
    for key, stretches in world.capacity.items():
        here = [s for s in stretches if s.start < b and s.end > a]
        for machine, first, last in world.present(key, a, b) if here else ():
            cut = [replace(s, start=max(s.start, first), end=min(s.end, last)) for s in here]
            pools[machine] += [s for s in cut if s.start < s.end]
            keys[machine].add(key)
    return pools, keys


def _assembled(
    connection: Connection,
    world: World,
    span: tuple[int, int],
    there: Sequence[str],
    on: Placed,
    pools: Mapping[str, Sequence[CapacityStretch]],
    keys: Mapping[str, set[NodeKey]],
) -> SiteDay:
    a, b = span
    number = {name: n for n, name in enumerate(there)}
    machine = np.array([number.get(name, -1) for name in world.reader.machines.items], np.int64)
    machine = machine[on.machine] if len(on.rows) else on.machine
    on, machine = on.keep(machine >= 0), machine[machine >= 0]
    project, projects = _projects(world, on.rows, a, b)
    prints = _prints(world.reader, on.rows, project, projects)
    order = _by_print(machine, prints)
    rows, project, prints, machine = on.rows.take(order), project[order], prints[order], machine[order]
    first = np.searchsorted(machine, np.arange(len(there) + 1)).astype(np.int64)
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (machine[1:] != machine[:-1]) | (prints[1:] != prints[:-1]).any(axis=1)
    kept = np.concatenate([[0], np.cumsum(new)])[first] * prints.shape[1] * 8
    data = memoryview(prints[new].tobytes())
    seen = holdings.between(connection, a, b)
    found, hashes = [], []
    for m, name in enumerate(there):
        here = range(int(first[m]), int(first[m + 1]))
        made = _machine(world, (name, a, b), pools.get(name, ()), keys[name], rows, here, seen.get(name, ()))
        text = place_text((name, a, b), made.capacity, made.coverage, made.known_until, made.rulings, made.holdings)
        found.append(made)
        hashes.append(inputs_digest(text, data[kept[m] : kept[m + 1]]))
    return SiteDay(a, b, world, found, first, rows, project, projects, hashes)


def _machine(
    world: World,
    span: tuple[str, int, int],
    capacity: Sequence[CapacityStretch],
    keys: set[NodeKey],
    rows: Rows,
    here: range,
    seen: Sequence[HoldingStretch],
) -> Machine:
    name, a, b = span
    places = sorted({(key.scheduler, key.cluster) for key in keys})
    until = world.facts.until
    known = [(*place, min(b, second)) for place in places if (second := until.get(place))]
    ruled = world.rulings.get(name, ())
    jobs = {world.reader.job_key(rows, n) for n in here} if ruled else set()
    rulings = [r for r in ruled if set(r.parties) <= jobs]
    if seen:
        units = {*world.reader.units(rows, np.arange(here.start, here.stop))}
        seen = sorted(h for h in seen if unit_of(h.job, h.unit) in units)
    return Machine(name, capacity, _coverage(world, places, keys, a, b), known, rulings, seen)


def _coverage(
    world: World, places: Sequence[Place], keys: Collection[NodeKey], a: int, b: int
) -> list[CoverageStretch]:
    found = []
    for place in places:
        known = world.facts.known(place, keys, a, b, world.unweighed)
        found += [CoverageStretch(first, last, *place) for first, last in known]
    return found


def _projects(world: World, rows: Rows, a: int, b: int) -> tuple[Ints, list[str]]:
    """Who pays for each row: asked once for all that nothing tells apart."""
    moment = np.maximum(a, np.where(rows.began > 0, rows.began, a))
    if world.borders is None:
        _, stretch = np.unique(moment, return_inverse=True)
    else:
        until = int(moment.max(initial=b)) + 1  # what is tied to the day may begin after it
        stretch = np.searchsorted(np.array(world.borders(a, until), dtype=np.int64), moment, side="right")
    several = int(stretch.max(initial=0)) + 1
    alike, first, which = np.unique(
        world.reader.payer(rows) * several + stretch, return_index=True, return_inverse=True
    )
    told: dict[str, int] = {}
    codes = []
    for payer, row in zip((alike // several).tolist(), first.tolist(), strict=True):
        scheduler, cluster, account, labels = world.reader.payers.items[payer]
        key = JobKey(Scheduler(scheduler), cluster, "")
        job = Job(key, "", "", "", "", account, "", labels=json.loads(labels) if labels else {})
        codes.append(told.setdefault(world.projects(job, int(moment[row])), len(told)))
    return np.array(codes, dtype=np.int64)[which], [*told]


def _prints(reader: Reader, rows: Rows, project: Ints, projects: Sequence[str]) -> NDArray[np.uint64]:
    """The print of every row (`accounting.evidence.fingerprints`): eight big-endian numbers each.

    The digest of what is told of it (two), its node and kind of cards, its share, start, end and who pays.
    """
    found = np.empty((len(rows), 8), dtype=">u8")
    numbers = sorted(reader.nodes)
    nodes = np.array([node_number(reader.nodes[n]) for n in numbers], dtype=np.uint64)
    kinds = np.array([number_of(repr(kind)) for kind in reader.kinds.items], dtype=np.uint64)
    payers = np.array([number_of(name) for name in projects], dtype=np.uint64)
    found[:, :2] = rows.told
    if len(rows):
        found[:, 2] = nodes[np.searchsorted(np.array(numbers), rows.node)]
        found[:, 3], found[:, 7] = kinds[reader.kind(rows)], payers[project]
    found[:, 4], found[:, 5] = rows.milligpu, rows.start.view(np.uint64)
    found[:, 6] = np.where(rows.end == FOREVER, STILL_HELD, rows.end).view(np.uint64)
    return found


def _by_print(machine: Ints, prints: NDArray[np.uint64]) -> Ints:
    """The order by machine and print. Prints nearly always differ at their beginning."""
    head = prints[:, 0].astype(np.uint64)
    order = np.lexsort((head, machine))
    like = np.zeros(len(order), dtype=bool)
    like[1:] = (machine[order][1:] == machine[order][:-1]) & (head[order][1:] == head[order][:-1])
    like[:-1] |= like[1:]
    some = order[like]
    if len(some):
        order[like] = some[np.lexsort((*prints[some].astype(np.uint64).T[::-1], machine[some]))]
    return order
