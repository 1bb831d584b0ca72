"""Claims, links and samples -> who holds which card, and what it does. Pure; nothing is dropped.

The live twin of `accounting.reconcile`: the same links, the same nesting, the same division of a pool, at one moment
and with the cards known wherever a scheduler's index, a card's UUID or dcgm-exporter's pod label tells them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from exporters.cards import Card, Hand, card_uuid, whole
from exporters.fieldtable import Table, table
from exporters.links import Link, find_links
from exporters.machines import Machines
from exporters.model import MILLI_PER_GPU, Claim, Demand, Disposition, Job, JobKey, Node, Sample, Scheduler
from exporters.nesting import Nest, nest
from exporters.occupancy import Part, divide
from exporters.pools import Pool, allot, merge_pools, pool_of
from exporters.ports import PortSample
from exporters.samples import card_of, one_per_card


@dataclass(frozen=True, slots=True)
class Reading:
    """One source's last good data. ``fresh`` is False once it is too old to prove that something is not so."""

    scheduler: Scheduler | None
    cluster: str
    fresh: bool
    jobs: Sequence[Job] = ()
    claims: Sequence[Claim] = ()
    nodes: Sequence[Node] = ()
    demands: Sequence[Demand] = ()
    samples: Sequence[Sample] = ()
    ports: Sequence[PortSample] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """One owner's part of one machine's pool right now.

    ``milligpu`` of GPU ``model`` are held under ``disposition``; ``cards`` are those known to be the claim's, by index,
    or by UUID where nobody tells the index.
    ``opponent`` is the other side of a dispute; ``link`` says how the claim lives inside the claim ``outer``.
    """

    machine: str
    model: str
    claim: Claim
    disposition: Disposition
    milligpu: int
    cards: tuple[Card, ...] = ()
    opponent: Claim | None = None
    link: Link | None = None
    outer: Claim | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CardUse:
    """One device reading and whose it is: ``shares`` are (claim, milliGPU of this device), empty when unknown."""

    machine: str
    sample: Sample
    shares: tuple[tuple[Claim, int], ...]


@dataclass(frozen=True)
class Picture:
    """The whole site at one moment.

    ``held`` are owners' parts; ``shown`` linked claims that hold nothing of their own; ``rest`` what nobody holds, per
    (machine, model); ``capacity`` per (machine, model). For every pool the parts and the rest sum to the capacity.
    ``orphaned`` are milliGPU that a job holds and its own pods leave unused. ``unplaced`` are claims on machines of
    which no capacity is known. ``machines`` resolves node names as of this join.
    ``ports`` are the ports read lately, each on its machine. ``nodes_up`` says whether a machine takes work, by
    (machine, scheduler, cluster), of schedulers that were read lately.
    """

    at: float
    jobs: Mapping[JobKey, Job]
    held: tuple[Held, ...]
    shown: tuple[Held, ...]
    rest: Mapping[tuple[str, str], tuple[Disposition, int]]
    capacity: Mapping[tuple[str, str], int]
    cards: tuple[CardUse, ...]
    demands: tuple[Demand, ...]
    orphaned: Mapping[JobKey, int]
    unplaced: tuple[tuple[str, Claim], ...]
    machines: Machines
    ports: tuple[tuple[str, PortSample], ...] = ()
    nodes_up: Mapping[tuple[str, str, str], bool] = field(default_factory=dict)

    @cached_property
    def table(self) -> Table:
        """What the cards' readings tell, in columns, in the order of ``cards``."""
        return table([use.sample for use in self.cards])


@dataclass(slots=True)
class _Canvas:
    """What a join fills, machine by machine."""

    held: list[Held] = field(default_factory=list)
    shown: list[Held] = field(default_factory=list)
    rest: dict[tuple[str, str], tuple[Disposition, int]] = field(default_factory=dict)
    capacity: dict[tuple[str, str], int] = field(default_factory=dict)
    cards: list[CardUse] = field(default_factory=list)
    orphaned: dict[JobKey, int] = field(default_factory=lambda: defaultdict(int))
    unplaced: list[tuple[str, Claim]] = field(default_factory=list)


def attribute(
    readings: Sequence[Reading], machines: Machines, models: Mapping[str, str], *, grace: int, now: float
) -> Picture:
    """Join everything known now. ``models`` maps spellings of GPU models to the site's; ``grace`` is as in links."""
    jobs = {job.key: job for r in readings for job in r.jobs}
    claims: dict[str, list[Claim]] = defaultdict(list)
    for claim in (c for r in readings for c in r.claims):
        claims[machines.at(claim.node, now)].append(claim)
    nodes: dict[str, list[tuple[Node, bool]]] = defaultdict(list)
    for r in readings:
        for node in r.nodes:
            nodes[machines.at(node.key, now)].append((node, r.fresh))
    hosts = host_names([n for r in readings for n in r.nodes], machines)

    def place(host: str) -> str:
        return hosts.get(host.lower()) or machines.plain(host)

    samples: dict[str, list[Sample]] = defaultdict(list)
    for sample in (s for r in readings for s in r.samples):
        samples[place(sample.host)].append(sample)
    canvas = _Canvas()
    for machine in sorted({*claims, *nodes, *samples}):
        _join_machine(canvas, machine, claims[machine], nodes[machine], one_per_card(samples[machine]), models, grace)
    demands = tuple(d for r in readings for d in r.demands)
    return Picture(
        now,
        jobs,
        tuple(canvas.held),
        tuple(canvas.shown),
        canvas.rest,
        canvas.capacity,
        tuple(canvas.cards),
        demands,
        dict(canvas.orphaned),
        tuple(canvas.unplaced),
        machines,
        tuple((place(p.port.host), p) for r in readings for p in r.ports),
        nodes_up(nodes),
    )


def nodes_up(nodes: Mapping[str, Sequence[tuple[Node, bool]]]) -> dict[tuple[str, str, str], bool]:
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
    canvas: _Canvas,
    machine: str,
    claims: list[Claim],
    nodes: list[tuple[Node, bool]],
    samples: Sequence[Sample],
    models: Mapping[str, str],
    grace: int,
) -> None:
    claims.sort(key=lambda c: (c.start, c.job.scheduler, c.native_id, c.job, c.unit, c.model, c.milligpu))
    views: dict[tuple[Scheduler, str], list[Pool]] = defaultdict(list)
    for node, _ in nodes:
        views[node.key.scheduler, node.key.cluster].append(Pool(node.model, node.milligpu))
    pools = merge_pools(views, models)
    active = [i for i, c in enumerate(claims) if c.milligpu > 0]
    if not pools:
        canvas.unplaced += [(machine, claims[i]) for i in active]
        return
    links = find_links(claims, grace=grace)
    hands = known_hands(claims, samples, pools)
    slurm = [(n, fresh) for n, fresh in nodes if n.key.scheduler is Scheduler.SLURM]
    down = {(n.key.cluster, n.key.name) for n, _ in slurm if not n.up}
    unread = {n.key.cluster for n, fresh in slurm if not fresh}
    capacity = sum(p.milligpu for p in pools)
    nested = nest(active, claims, links, hands, capacity=capacity, down=down, unread=unread)
    cards = {i: tuple(sorted(hand.cards, key=_by_index)) for i, hand in nested.cards.items()}
    rest = _rest(nodes)
    reasons = nested.reasons
    for pool, leaves in zip(pools, allot(pools, nested.leaves, claims, models), strict=True):
        canvas.capacity[machine, pool.model] = pool.milligpu
        left = 0
        for part in divide(pool.milligpu, leaves, rest):
            if part.owner < 0:
                left = part.milligpu
            else:
                canvas.held.append(_held(part, machine, pool, claims, nested, cards, reasons))
        canvas.rest[machine, pool.model] = (rest, left)
    for i in nested.shown:
        if i in nested.within and claims[i].milligpu > 0:
            link = nested.within[i]
            part = Part(Disposition.CHARGED, i, claims[i].milligpu)
            pool = pools[pool_of(claims[i], pools, models)]
            canvas.shown.append(_held(part, machine, pool, claims, nested, cards, {i: link.evidence}))
    for i, milligpu in nested.orphaned.items():
        canvas.orphaned[claims[i].job] += milligpu
    canvas.cards += card_uses(machine, claims, nested, cards, samples)


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
    )


def _rest(nodes: Sequence[tuple[Node, bool]]) -> Disposition:
    """What the cards are that nobody holds: `unknown` unless every scheduler that has them was read lately."""
    having = [(n, fresh) for n, fresh in nodes if n.milligpu > 0]
    if not all(fresh for _, fresh in having):
        return Disposition.UNKNOWN
    return Disposition.IDLE if any(n.up for n, _ in having) else Disposition.DOWN


def known_hands(claims: Sequence[Claim], samples: Sequence[Sample], pools: Sequence[Pool]) -> dict[int, Hand]:
    """Whole cards known to be held, by position in ``claims``.

    From the scheduler's own index, else the card's UUID, else the pod or job label on a reading; a claim on every card
    of the machine needs no evidence. Evidence for more cards than the claim holds is stale and is not used. Shares of a
    card (MIG, time slicing) are not whole cards: `card_uses` finds their readings.
    """
    by_uuid = {s.uuid: card_of(s) for s in samples}
    by_label: dict[str, set[Card]] = defaultdict(set)
    for s in samples:
        if not s.mig_instance:
            for namespace, name, uid in s.pods:
                by_label[uid or f"{namespace}/{name}"].add(card_of(s))
                by_label[f"{namespace}/{name}"].add(card_of(s))
            for job in s.hpc_jobs:
                by_label[f"slurm:{job}"].add(card_of(s))
    everything = tuple(range(sum(p.milligpu for p in pools) // MILLI_PER_GPU))
    known: dict[int, Hand] = {}
    for i, claim in enumerate(claims):
        if not whole(claim):
            continue
        slurm = claim.job.scheduler is Scheduler.SLURM
        label = f"slurm:{claim.native_id}" if slurm else claim.native_id
        candidates: tuple[tuple[Card, ...], ...] = (
            claim.indices,
            tuple(by_uuid[u] for u in map(card_uuid, claim.uuids) if u and u in by_uuid),
            tuple(by_label.get(claim.unit, ()) or by_label.get(label, ())),
            everything if len(everything) * MILLI_PER_GPU == claim.milligpu else (),
        )
        found = next((c for c in candidates if c), ())
        if 0 < len(found) * MILLI_PER_GPU <= claim.milligpu:
            by_number = slurm and all(isinstance(card, int) for card in found)
            known[i] = Hand(dict.fromkeys(sorted(found, key=_by_index), MILLI_PER_GPU), by_number)
    return known


def _by_index(card: Card) -> tuple[bool, Card]:
    """Cards with an index first, in their order."""
    return (isinstance(card, str), card)


def card_uses(
    machine: str,
    claims: Sequence[Claim],
    nested: Nest,
    cards: Mapping[int, Sequence[Card]],
    samples: Sequence[Sample],
) -> list[CardUse]:
    """Whose each reading is. A card inside a job inside a pod is the job's; shares of a device are in its milliGPU."""
    owners: dict[Card, set[int]] = defaultdict(set)
    for leaf in nested.leaves:
        if leaf.disposition is Disposition.CHARGED:
            inner = {c for k, n in nested.within.items() if n.outer == leaf.owner for c in cards.get(k, ())}
            remainder = leaf.milligpu < claims[leaf.owner].milligpu
            for card in cards.get(leaf.owner, ()):
                if not (remainder and card in inner):
                    owners[card].add(leaf.owner)
    shares: dict[int, list[tuple[Claim, int]]] = defaultdict(list)
    for leaf in nested.leaves:
        if claims[leaf.owner].profile:
            for n, milligpu in _shares(claims[leaf.owner], samples).items():
                shares[n].append((claims[leaf.owner], milligpu))
    uses = []
    for n, s in enumerate(samples):
        whole = [] if s.mig_instance else sorted(owners.get(card_of(s), ()))
        found = [(claims[i], MILLI_PER_GPU) for i in whole] + shares[n]
        uses.append(CardUse(machine, s, tuple(found) if len(whole) < 2 else ()))
    return uses


def _shares(claim: Claim, samples: Sequence[Sample]) -> dict[int, int]:
    """Positions of the readings of a claim on shares of cards, and its milliGPU of each device.

    Of a card cut by MIG there is one reading per instance (what its engines did) and one of the whole card (what it
    drew): both are the claim's, the card's by the part of its instances that lie on it.
    """
    mine = [n for n, s in enumerate(samples) if _labelled(claim, s)]
    instances = [n for n in mine if samples[n].mig_instance]
    if not instances:
        return {n: claim.milligpu // len(mine) for n in mine}
    shares = {n: claim.milligpu // len(instances) for n in instances}
    cards = Counter(samples[n].uuid for n in instances)
    for n, s in enumerate(samples):
        if not s.mig_instance and s.uuid in cards:
            shares[n] = claim.milligpu * cards[s.uuid] // len(instances)
    return shares


def _labelled(claim: Claim, sample: Sample) -> bool:
    """Whether a reading names this claim's pod, or its MIG device."""
    if claim.uuids and sample.uuid in claim.uuids:
        return True
    return any(uid == claim.unit or f"{ns}/{name}" == claim.native_id for ns, name, uid in sample.pods)
