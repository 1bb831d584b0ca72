"""From the series of a page to its ports: node_exporter's pages and the node agent's, read alike. Pure.

What each position of a page means is worked out once per layout (`plan`) and used round after round (`read`). A page
may be of either kind, or of both behind one proxy: series are told apart by their names alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporters.exposition.reader import Layout
from exporters.fabric_model import PortCounter, PortOrigin, PortReading
from exporters.model import Sample
from exporters.node.counters import ethtool_meanings
from exporters.node.moved import NAMESPACE
from exporters.sources.devices.named_owners import number_of
from exporters.sources.fabric import rdma_fields as f

PORTS_PER_PAGE = 1024
"""Ports and network interfaces of one page that are read; a machine has tens, with virtual functions hundreds."""

Labels = Mapping[str, str]
Key = tuple[str, str]
"""RDMA device and port; an ethtool reading is of a network interface, its port empty."""

Part = tuple[tuple[int, ...], float]
"""Positions that add up to a counter, and what one of them counts in its base unit."""


@dataclass(frozen=True, slots=True)
class Block:
    """One origin's counters of one port or network interface."""

    origin: PortOrigin
    key: Key
    counters: tuple[PortCounter, ...]
    parts: tuple[Part, ...]

    def read(self, values: Sequence[float]) -> PortReading:
        """The values now; what no counter can have (negative, not finite) is NaN: not told."""
        found = []
        for positions, scale in self.parts:
            value = sum([values[p] for p in positions]) * scale
            found.append(value if 0.0 <= value < math.inf else math.nan)
        return PortReading(self.origin, self.counters, tuple(found))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a page's positions mean. ``up`` and ``rate`` are positions by port.

    ``host`` is the machine as discovery or the page names it, empty when neither does; ``address`` the URL's host.
    ``ports`` are labels of ports as the agent tells them, ``devices`` firmware by RDMA device, ``netdevs`` the labels
    of ``node_ethtool_info`` by interface. ``links`` are the positions of a bond's links and of those that carry
    traffic, by port, or by the bond's name with an empty port. ``moved`` counts devices that are in a pod's network
    namespace, where the agent may not look. ``left_out`` counts the ports beyond the limit of a page.
    """

    host: str
    address: str
    version: str
    blocks: tuple[Block, ...]
    up: Mapping[Key, tuple[int, float]]
    rate: Mapping[Key, int]
    known: tuple[Key, ...]
    ports: Mapping[Key, Mapping[str, str]]
    devices: Mapping[str, str]
    netdevs: Mapping[str, Mapping[str, str]]
    links: Mapping[Key, tuple[int, int]]
    holdings: tuple[Mapping[str, str], ...]
    cards: tuple[Mapping[str, str], ...]
    unreadable: int
    moved: int
    collectors: Mapping[str, int]
    hardware: bool
    left_out: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page in one round: its plan, the readings of its blocks, and what was wrong with it."""

    plan: Plan
    readings: tuple[PortReading, ...]
    up: Mapping[Key, bool]
    rate: Mapping[Key, float]
    links: Mapping[Key, tuple[int, int]]
    samples: tuple[Sample, ...]
    failed: tuple[str, ...]
    bad: tuple[tuple[int, str], ...]


class _Draft:
    """What `plan` has found so far."""

    def __init__(self, node: str) -> None:
        self.node, self.own = node, ""
        self.version, self.unreadable, self.moved, self.hardware = "", 0, 0, False
        self.carriers: dict[str, list[tuple[str, int]]] = {}
        self.links: dict[Key, dict[bool, int]] = {}
        self.positions: dict[tuple[PortOrigin, Key], dict[PortCounter, list[int]]] = {}
        self.ethtool: dict[Key, list[tuple[str, int]]] = {}
        self.up: dict[Key, tuple[int, float]] = {}
        self.rate: dict[Key, int] = {}
        self.ports: dict[Key, Mapping[str, str]] = {}
        self.devices: dict[str, str] = {}
        self.netdevs: dict[str, Mapping[str, str]] = {}
        self.holdings: list[Mapping[str, str]] = []
        self.cards: list[Mapping[str, str]] = []
        self.collectors: dict[str, int] = {}
        self.known: dict[Key, None] = {}
        self.left_out: set[Key] = set()

    def about(self, name: str, labels: Labels, position: int) -> bool:
        """Take a series that is about the page, a device or a card; False for one about a port."""
        match name:
            case f.NODE_NAME | f.AGENT_BUILD:
                self.own = labels.get("nodename") or labels.get("node") or self.own
            case f.BUILD:
                self.version = labels.get("version", "")
            case f.COLLECTOR:
                self.collectors[labels.get("collector", "")] = position
            case f.AGENT_GPU:
                self.cards.append(labels)
            case f.AGENT_HOLDING:
                self.holdings.append(labels)
            case f.AGENT_UNREADABLE if labels.get("what") == NAMESPACE:
                self.moved += 1
            case f.AGENT_UNREADABLE:
                self.unreadable += 1
            case f.BOND_LINKS | f.BOND_LINKS_UP:
                self.links.setdefault((labels.get("master", ""), ""), {})[name == f.BOND_LINKS_UP] = position
            case f.DEVICE_INFO:
                self.devices[labels.get("device", "")] = labels.get("firmware_version", "")
            case f.ETHTOOL_INFO:
                self.netdevs[labels.get("device", "")] = labels
            case _ if name in f.CARRIERS:
                self.carriers.setdefault(labels.get("device", ""), []).append((f.CARRIERS[name], position))
            case _:
                return False
        return True

    def state(self, name: str, key: Key, labels: Labels, position: int) -> bool:
        """Take a series about how a port is; False for one that counts."""
        match name:
            case f.STATE:
                self.up[key] = (position, f.ACTIVE)
            case f.AGENT_UP:
                self.up[key] = (position, 1.0)
            case f.AGENT_LINKS | f.AGENT_LINKS_UP:
                self.links.setdefault(key, {})[name == f.AGENT_LINKS_UP] = position
            case f.RATE | f.AGENT_RATE:
                self.rate[key] = position
            case f.AGENT_PORT:
                self.ports[key] = labels
            case _:
                return False
        return True

    def count(self, name: str, key: Key, labels: Labels, position: int) -> None:
        """Take a series that counts."""
        if name in f.INFINIBAND:
            self.hardware = self.hardware or name in f.HARDWARE
            self._add(PortOrigin.INFINIBAND, key, f.INFINIBAND[name], position)
        elif name in f.AGENT_COUNTERS:
            quantity, extra = f.AGENT_COUNTERS[name]
            counter = PortCounter(quantity, tuple(labels.get(label, "") for label in extra))
            self._add(PortOrigin.AGENT, key, counter, position)
        else:
            self.ethtool.setdefault(key, []).append((f.ethtool_name(name), position))

    def _add(self, origin: PortOrigin, key: Key, counter: PortCounter, position: int) -> None:
        self.positions.setdefault((origin, key), {}).setdefault(counter, []).append(position)

    def admit(self, key: Key) -> bool:
        """Whether this port or interface is still within the limit of a page."""
        if key not in self.known:
            if len(self.known) >= PORTS_PER_PAGE:
                self.left_out.add(key)
                return False
            self.known[key] = None
        return True

    def blocks(self) -> Iterable[Block]:
        """The counters by origin and port."""
        for (origin, key), counters in self.positions.items():
            yield Block(origin, key, tuple(counters), tuple((tuple(p), 1.0) for p in counters.values()))
        for key, own in self.ethtool.items():
            statistics = [*own, *self.carriers.get(key[0], ())]
            parts: dict[PortCounter, tuple[list[int], float]] = {}
            for n, (counter, scale) in ethtool_meanings([name for name, _ in statistics]).items():
                parts.setdefault(counter, ([], scale))[0].append(statistics[n][1])
            yield Block(
                PortOrigin.ETHTOOL, key, tuple(parts), tuple((tuple(at), scale) for at, scale in parts.values())
            )


def plan(layout: Layout, address: str, node: str = "") -> Plan:
    """What each series of the page is. ``node`` is the machine where discovery told it: then the page is not asked."""
    draft = _Draft(node)
    for position, series in enumerate(layout.series):
        name, labels = series.name, series.labels
        if draft.about(name, labels, position):
            continue
        key = (labels.get("device", ""), labels.get("port", ""))
        if key[0] and draft.admit(key) and not draft.state(name, key, labels, position):
            draft.count(name, key, labels, position)
    return Plan(
        draft.node or draft.own,
        address,
        draft.version,
        tuple(draft.blocks()),
        draft.up,
        draft.rate,
        tuple(sorted(key for key in draft.known if key[1])),
        draft.ports,
        draft.devices,
        draft.netdevs,
        {key: (both[False], both[True]) for key, both in draft.links.items() if len(both) == 2},
        tuple(draft.holdings),
        tuple(draft.cards),
        draft.unreadable,
        draft.moved,
        draft.collectors,
        draft.hardware,
        len(draft.left_out),
    )


def read(plan: Plan, values: Sequence[float], at: float, bad: tuple[tuple[int, str], ...] = ()) -> Page:
    """The page of one round, in base units."""
    return Page(
        plan,
        tuple(block.read(values) for block in plan.blocks),
        {key: values[position] == active for key, (position, active) in plan.up.items()},
        {key: values[position] for key, position in plan.rate.items() if values[position] >= 0},
        {k: (int(values[a]), int(values[b])) for k, (a, b) in plan.links.items() if 0 <= values[b] <= values[a] < 100},
        tuple(_samples(plan, at)),
        tuple(name for name, position in plan.collectors.items() if values[position] == 0 and name in _COLLECTORS),
        bad,
    )


_COLLECTORS = ("infiniband", "ethtool")


def _samples(plan: Plan, at: float) -> Iterable[Sample]:
    """The agent's cards and holdings as samples without values: which number Slurm has for a card, and who holds it.

    A holding that names no card says only that its owner runs there, which schedulers say themselves.
    """
    host = plan.host or plan.address
    for card in plan.cards:
        if card.get("uuid") and (minor := number_of(card.get("minor", ""))) >= 0:
            yield Sample(host, card["uuid"], -1, "", {}, at, minor=minor)
    for h in plan.holdings:
        uuid, minor, owner = h.get("uuid", ""), number_of(h.get("gpu", "")), h.get("owner", "")
        if not owner or not (uuid or minor >= 0):
            continue
        namespace, _, pod = owner.partition("/")
        kubernetes = h.get("scheduler") == "kubernetes"
        yield Sample(
            host,
            uuid,
            -1,
            "",
            {},
            at,
            pods=((namespace, pod, h.get("pod_uid", "")),) if kubernetes else (),
            hpc_jobs=() if kubernetes else (owner,),
            minor=minor,
        )
