"""Claims, links and samples -> who holds which card, and what it does. Pure; nothing is dropped.

The live twin of `accounting.reconcile`: the same links, the same nesting, the same division of a pool, at one moment
and with the cards known wherever a scheduler's index, a card's UUID or dcgm-exporter's pod label tells them.

Each machine is joined by itself. What a join needs of a machine is mostly what it needed fifteen seconds ago, so a
`Memory` keeps each machine's part, and only those are joined anew of which something was said anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import attrgetter

from exporters.join.card_owners import Shares, known_hands, owners_of_cards
from exporters.join.cards import Card
from exporters.join.links import find_links
from exporters.join.machines import Machines
from exporters.join.nesting import Nest, nest
from exporters.join.occupancy import Part, divide
from exporters.join.plain import plain_cards, plain_owners, plain_parts
from exporters.join.pools import Pool, allot, merge_pools, pool_of
from exporters.join.samples import one_per_card, strays
from exporters.join.shard import WHOLE, Shard
from exporters.join.site_picture import (
    CardRow,
    CardUse,
    Device,
    Devices,
    Held,
    NodeRow,
    Picture,
    Reading,
    card_rows,
    node_rows,
)
from exporters.join.splits.at_one_moment import fitted
from exporters.model import MILLI_PER_GPU, Claim, Disposition, JobKey, Node, NodeKey, Sample, Scheduler

_TOLD = attrgetter("uuid", "index", "mig_instance", "pods", "hpc_jobs", "minor")
"""What a join takes from a sample besides what its card did."""
_ORDER = attrgetter("start", "job.scheduler", "native_id", "job", "unit", "model", "milligpu")
"""The order of a machine's claims: where one of two must give way, it is the later."""
NodeSeen = tuple[Node, bool]
"""A node, and whether its scheduler was read lately."""


@dataclass(slots=True)
class MachinePart:
    """One machine's part of a picture; ``shares`` are those of its samples, in their order, ``card_rows`` its own."""

    held: list[Held] = field(default_factory=list)
    shown: list[Held] = field(default_factory=list)
    rest: list[tuple[str, Disposition, int]] = field(default_factory=list)
    capacity: list[tuple[str, int]] = field(default_factory=list)
    shares: list[Shares] = field(default_factory=list)
    card_rows: list[CardRow] = field(default_factory=list)
    node_rows: list[NodeRow] = field(default_factory=list)
    orphaned: list[tuple[JobKey, int]] = field(default_factory=list)
    unplaced: list[Claim] = field(default_factory=list)
    unequal: bool = False


class Memory:
    """The last part of each machine with what it was made of. One per exporter; not for two threads at once."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[tuple[object, ...], MachinePart]] = {}
        self._devices = Devices(())

    def part(self, machine: str, made_of: tuple[object, ...], make: Callable[[], MachinePart]) -> MachinePart:
        """The machine's part: the last one if it was made of the same."""
        known = self._parts.get(machine)
        if known is None or known[0] != made_of:
            known = self._parts[machine] = (made_of, make())
        return known[1]

    def devices(self, names: tuple[Device, ...]) -> Devices:
        """The devices of these names: the last ones if they are the same."""
        if names != self._devices.names:
            self._devices = Devices(names)
        return self._devices

    def keep(self, machines: Mapping[str, object]) -> None:
        """Forget the machines that are gone."""
        if len(self._parts) > len(machines):
            self._parts = {machine: part for machine, part in self._parts.items() if machine in machines}


def attribute(
    readings: Sequence[Reading],
    machines: Machines,
    models: Mapping[str, str],
    *,
    grace: int,
    now: float,
    memory: Memory | None = None,
    shard: Shard = WHOLE,
) -> Picture:
    """Join everything known now. ``models`` maps spellings of GPU models to the site's; ``grace`` is as in links.

    ``memory`` is of earlier joins with the same ``models`` and ``grace``. Of several ``shard``s each joins its own
    machines.
    """
    memory = memory or Memory()
    jobs = {job.key: job for r in readings for job in r.jobs}
    at: dict[NodeKey, str] = {}
    claims: dict[str, list[Claim]] = defaultdict(list)
    everything = [c for r in readings for c in r.claims]
    if any(c.split_assumed for c in everything):
        everything = [*fitted(everything, (n for r in readings for n in r.nodes))]
    for claim in everything:
        machine = at.get(claim.node)
        if machine is None:
            machine = at[claim.node] = machines.at(claim.node, now)
        claims[machine].append(claim)
    nodes: dict[str, list[NodeSeen]] = defaultdict(list)
    for r in readings:
        for node in r.nodes:
            nodes[at.get(node.key) or machines.at(node.key, now)].append((node, r.fresh))
    hosts = host_names([n for r in readings for n in r.nodes], machines)
    places: dict[str, str] = {}

    def place(host: str) -> str:
        found = places.get(host)
        if found is None:
            found = places[host] = hosts.get(host.lower()) or machines.plain(host)
        return found

    samples: dict[str, list[Sample]] = defaultdict(list)
    for host, some in groupby(chain.from_iterable(r.samples for r in readings), attrgetter("host")):
        samples[place(host)].extend(some)
    parts: dict[str, MachinePart] = {}
    cards: list[CardUse] = []
    names: list[Device] = []
    for machine in sorted(filter(shard.owns, {*claims, *nodes, *samples})):
        here, seen, read = claims[machine], nodes[machine], one_per_card(samples[machine])
        told = list(map(_TOLD, read))
        part = memory.part(
            machine,
            (here, seen, told),
            lambda m=machine, c=here, n=seen, s=read: _join_machine(m, c, n, s, models, grace),  # type: ignore[misc]
        )
        parts[machine] = part
        cards += [CardUse(machine, s, shares) for s, shares in zip(read, part.shares, strict=False)]
        names += [
            (machine, uuid, mig, index) for (uuid, index, mig, _, _, _), _ in zip(told, part.shares, strict=False)
        ]
    memory.keep(parts)
    return Picture(
        now,
        jobs,
        tuple([h for part in parts.values() for h in part.held]),
        tuple([h for part in parts.values() for h in part.shown]),
        {(machine, model): (word, left) for machine, part in parts.items() for model, word, left in part.rest},
        {(machine, model): milligpu for machine, part in parts.items() for model, milligpu in part.capacity},
        tuple(cards),
        tuple([d for r in readings for d in r.demands]) if shard.first else (),
        _orphaned(parts.values()),
        tuple([(machine, claim) for machine, part in parts.items() for claim in part.unplaced]),
        machines,
        tuple([(machine, p) for r in readings for p in r.ports if shard.owns(machine := place(p.port.host))]),
        nodes_up({machine: here for machine, here in nodes.items() if shard.owns(machine)}),
        memory.devices(tuple(names)),
        [row for part in parts.values() for row in part.card_rows],
        [row for part in parts.values() for row in part.node_rows],
        frozenset(machine for machine, part in parts.items() if part.unequal),
        strays(samples, {m for m in {*nodes, *claims} if nodes[m] or claims[m]}) if any(nodes.values()) else {},
    )


def _orphaned(parts: Iterable[MachinePart]) -> dict[JobKey, int]:
    sums: dict[JobKey, int] = defaultdict(int)
    for part in parts:
        for job, milligpu in part.orphaned:
            sums[job] += milligpu
    return dict(sums)


def nodes_up(nodes: Mapping[str, Sequence[NodeSeen]]) -> dict[tuple[str, str, str], bool]:
    """Whether a machine takes work, by (machine, scheduler, cluster): where it has several nodes, whether one does."""
    found: dict[tuple[str, str, str], bool] = {}
    for machine, here in nodes.items():
        for node, fresh in here:
            key = (machine, node.key.scheduler.value, node.key.cluster)
            if fresh:
                found[key] = node.up or found.get(key, False)
    return found


def host_names(nodes: Sequence[Node], machines: Machines) -> dict[str, str]:
    """Host names as devices report them -> machines. A name that two machines share names neither of them."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in nodes:
        for name in (node.key.name, *node.hostnames):
            found[name.lower()].add(machines.static(node.key))
    return {name: next(iter(places)) for name, places in found.items() if len(places) == 1}


def _join_machine(
    machine: str,
    claims: Sequence[Claim],
    nodes: Sequence[NodeSeen],
    samples: Sequence[Sample],
    models: Mapping[str, str],
    grace: int,
) -> MachinePart:
    claims = sorted(claims, key=_ORDER)
    canvas = MachinePart()
    views: dict[tuple[Scheduler, str], list[Pool]] = defaultdict(list)
    for node, _ in nodes:
        views[node.key.scheduler, node.key.cluster].append(Pool(node.model, node.milligpu))
    pools = merge_pools(views, models)
    capacity, rest = sum(p.milligpu for p in pools), _rest(nodes)
    owners = plain_cards(claims, capacity, samples) if len(pools) == 1 else None
    if owners is not None:
        pool = pools[0]
        canvas.capacity.append((pool.model, capacity))
        canvas.held = plain_parts(machine, pool.model, capacity, claims)
        canvas.rest.append((pool.model, rest, capacity - MILLI_PER_GPU * len(owners)))
        canvas.shares = plain_owners(owners, samples)
        return _with_rows(canvas, machine, samples)
    active = [i for i, c in enumerate(claims) if c.milligpu > 0]
    if not pools:
        canvas.unplaced += [claims[i] for i in active]
        return canvas
    links = find_links(claims, grace=grace)
    known = known_hands(claims, samples, pools, links)
    canvas.unequal = known.unequal
    slurm = [(n, fresh) for n, fresh in nodes if n.key.scheduler is Scheduler.SLURM]
    down = {(n.key.cluster, n.key.name) for n, _ in slurm if not n.up}
    unread = {n.key.cluster for n, fresh in slurm if not fresh}
    nested = nest(active, claims, links, known.hands, capacity=capacity, down=down, unread=unread)
    cards = {i: tuple(hand.cards) for i, hand in nested.cards.items()}
    reasons = nested.reasons
    for pool, leaves in zip(pools, allot(pools, nested.leaves, claims, models), strict=True):
        canvas.capacity.append((pool.model, pool.milligpu))
        left = 0
        for part in divide(pool.milligpu, leaves, rest):
            if part.owner < 0:
                left = part.milligpu
            else:
                canvas.held.append(_held(part, machine, pool, claims, nested, cards, reasons))
        canvas.rest.append((pool.model, rest, left))
    for i in nested.shown:
        if i in nested.within:
            link = nested.within[i]
            part = Part(Disposition.CHARGED, i, claims[i].milligpu)
            pool = pools[pool_of(claims[i], pools, models)]
            canvas.shown.append(_held(part, machine, pool, claims, nested, cards, {i: link.evidence}))
    for i, milligpu in nested.orphaned.items():
        canvas.orphaned.append((claims[i].job, milligpu))
    canvas.shares = owners_of_cards(claims, nested, cards, samples)
    return _with_rows(canvas, machine, samples)


def _with_rows(canvas: MachinePart, machine: str, samples: Sequence[Sample]) -> MachinePart:
    canvas.card_rows = card_rows(machine, canvas.held, samples)
    canvas.node_rows = node_rows(machine, canvas.held, canvas.rest)
    return canvas


def _held(
    part: Part,
    machine: str,
    pool: Pool,
    claims: Sequence[Claim],
    nested: Nest,
    cards: Mapping[int, Sequence[Card]],
    reasons: Mapping[int, str],
) -> Held:
    link = nested.within.get(part.owner)
    return Held(
        machine,
        pool.model,
        claims[part.owner],
        part.disposition,
        part.milligpu,
        tuple(cards.get(part.owner, ())),
        claims[part.opponent] if part.opponent >= 0 else None,
        link,
        claims[link.outer] if link else None,
        reasons.get(part.owner, ""),
        hand.basis if (hand := nested.cards.get(part.owner)) else None,
    )


def _rest(nodes: Sequence[NodeSeen]) -> Disposition:
    """What the cards are that nobody holds: `unknown` unless every scheduler that has them was read lately."""
    having = [(n, fresh) for n, fresh in nodes if n.milligpu > 0]
    if not all(fresh for _, fresh in having):
        return Disposition.UNKNOWN
    return Disposition.IDLE if any(n.up for n, _ in having) else Disposition.DOWN
