"""The pages of a round to ports: what node_exporter and the node agent say of one machine, put together. Pure.

Which network interface lies on which RDMA device, `exporters.sources.fabric.placing` tells. A port of an RDMA device
whose interface nobody can tell, while there are interfaces left, is told without its pauses: the round is not complete.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from exporters.fabric_model import Port, PortOrigin, PortReading, PortSample
from exporters.model import Sample
from exporters.node.counters import of_all
from exporters.sources.fabric.placing import address_of, placed
from exporters.sources.fabric.rdma_pages import PORTS_PER_PAGE, Key, Page
from exporters.sources.fabric.roles import Facts
from exporters.sources.hostnames import short_name

_NAMED = 3


@dataclass
class _Machine:
    """All pages of one machine."""

    host: str
    pages: list[Page] = field(default_factory=list)

    @cached_property
    def ports(self) -> tuple[Key, ...]:
        """Every port that some page names, in order. Only once all pages are known."""
        return tuple(sorted({key for page in self.pages for key in page.plan.known}))

    def labels(self, key: Key) -> Mapping[str, str]:
        """What the agent says that a port is; empty without an agent."""
        return next((p.plan.ports[key] for p in self.pages if key in p.plan.ports), {})


@dataclass(frozen=True, slots=True)
class Joined:
    """The ports and holdings of a round, sentences about what is doubtful, and whether something of them is missing.

    ``facts`` is what agents say of ports that tells their roles.
    """

    ports: tuple[PortSample, ...]
    samples: tuple[Sample, ...]
    problems: tuple[str, ...]
    cut: bool
    facts: Mapping[tuple[str, Key], Facts]


def join(pages: Sequence[Page], at: float, limit: int) -> Joined:
    """A round of pages. No more than ``limit`` ports are kept, those of the first machines by name."""
    found: list[PortSample] = []
    samples: list[Sample] = []
    unplaced: list[str] = []
    blind: list[str] = []
    facts: dict[tuple[str, Key], Facts] = {}
    for machine in _machines(pages):
        interfaces = _interfaces(machine)
        before = len(unplaced)
        read = _readings(machine, interfaces, unplaced)
        if len(unplaced) > before:
            blind += [f"{key[0]} of {machine.host}" for key in machine.ports if key not in interfaces.values()]
        facts.update({(machine.host, key): _facts(told) for key in machine.ports if (told := machine.labels(key))})
        found.extend(_sample(machine, key, interfaces, read.get(key, ()), at) for key in machine.ports)
        samples.extend(replace(sample, host=machine.host) for page in machine.pages for sample in page.samples)
    problems = [*_doubts(pages), *_left_out(pages, len(found), limit)]
    if unplaced:
        problems.append(
            f"{len(unplaced)} network interfaces with pause counters cannot be placed on an RDMA device "
            f"({_some(unplaced)}): run the node agent there"
        )
    if blind:
        problems.append(
            f"{len(blind)} RDMA ports have no interface that could be placed on them ({_some(blind)}): their pauses "
            "and discards are not known; run the node agent there"
        )
    moved = [_called(page) for page in pages if page.plan.moved]
    if moved:
        problems.append(
            f"RDMA devices of {len(moved)} machines are in network namespaces of pods, where the node agent may not "
            f"look ({_some(moved)}): give it hostPID and CAP_SYS_PTRACE, or the devices are not read"
        )
    cut = len(found) > limit or any(p.plan.left_out for p in pages) or bool(blind or moved)
    return Joined(tuple(found[:limit]), tuple(samples), tuple(problems), cut, facts)


def _facts(told: Mapping[str, str]) -> Facts:
    return Facts(told.get("affinity", ""), told.get("default_route") == "true", told.get("vf_of", ""))


def _machines(pages: Sequence[Page]) -> list[_Machine]:
    """Pages by machine.

    Those of one name; a bare name and the one full name that it is short for; and a page that names nobody with the one
    machine that another page of its URL's host names, else as of that host.
    """
    at: dict[str, set[str]] = defaultdict(set)
    for page in pages:
        if page.plan.host:
            at[page.plan.address].add(page.plan.host.lower())

    def name(page: Page) -> str:
        there = at[page.plan.address]
        return page.plan.host.lower() or (next(iter(there)) if len(there) == 1 else page.plan.address)

    full: dict[str, set[str]] = defaultdict(set)
    for page in pages:
        full[short_name(name(page))].add(name(page))
    found: dict[str, _Machine] = {}
    for page in pages:
        longer = full[name(page)] - {name(page)}
        key = next(iter(longer)) if len(longer) == 1 else name(page)
        found.setdefault(key, _Machine(key)).pages.append(page)
    return [found[key] for key in sorted(found)]


def _interfaces(machine: _Machine) -> dict[str, Key]:
    """Network interface -> the port that it lies on, of interfaces with statistics, and those that the agent names."""
    netdevs = {name: labels for page in machine.pages for name, labels in page.plan.netdevs.items()}
    with_counters = {b.key[0] for page in machine.pages for b in page.plan.blocks if b.origin is PortOrigin.ETHTOOL}
    told = {key: machine.labels(key) for key in machine.ports}
    return placed(machine.ports, told, {name: netdevs.get(name, {}) for name in with_counters})


def _readings(
    machine: _Machine, interfaces: Mapping[str, Key], unplaced: list[str]
) -> dict[Key, tuple[PortReading, ...]]:
    """The readings of each port. One origin that two pages serve is told by the first; several interfaces add up."""
    found: dict[Key, dict[PortOrigin, PortReading]] = defaultdict(dict)
    below: dict[Key, dict[str, PortReading]] = defaultdict(dict)
    for page in machine.pages:
        for block, reading in zip(page.plan.blocks, page.readings, strict=True):
            if block.origin is not PortOrigin.ETHTOOL:
                found[block.key].setdefault(block.origin, reading)
            elif block.key[0] in interfaces:
                below[interfaces[block.key[0]]].setdefault(block.key[0], reading)
            else:
                unplaced.append(f"{block.key[0]} of {machine.host}")
    for key, links in below.items():
        found[key][PortOrigin.ETHTOOL] = _of_all(list(links.values()))
    return {key: tuple(readings[origin] for origin in sorted(readings)) for key, readings in found.items()}


def _of_all(links: Sequence[PortReading]) -> PortReading:
    """What the interfaces of one port say together."""
    if len(links) == 1:
        return links[0]
    sums = of_all([dict(zip(r.counters, r.values, strict=True)) for r in links])
    same = all(r.counters == links[0].counters for r in links)
    return PortReading(PortOrigin.ETHTOOL, links[0].counters if same else tuple(sums), tuple(sums.values()))


def _sample(
    machine: _Machine, key: Key, interfaces: Mapping[str, Key], readings: tuple[PortReading, ...], at: float
) -> PortSample:
    told = machine.labels(key)
    own = sorted(name for name, port in interfaces.items() if port == key)
    netdev = told.get("netdev") or ",".join(own)
    below: Mapping[str, str] = next((p.plan.netdevs[n] for n in own for p in machine.pages if n in p.plan.netdevs), {})
    firmware = next((p.plan.devices[key[0]] for p in machine.pages if key[0] in p.plan.devices), "")
    port = Port(
        machine.host,
        *key,
        netdev=netdev,
        link_layer=told.get("link_layer", ""),
        driver=told.get("driver") or below.get("driver", ""),
        pci_address=address_of(key, told) or below.get("bus_info", ""),
        numa_node=told.get("numa_node", ""),
        firmware=told.get("firmware") or firmware,
    )
    agents_last = sorted(machine.pages, key=lambda page: bool(page.plan.ports))  # the agent knows EFA's true state
    up = next((page.up[key] for page in reversed(agents_last) if key in page.up), None)
    rate = next((page.rate[key] for page in machine.pages if key in page.rate), None)
    return PortSample(port, readings, at, up, rate, _links(machine, key, netdev))


def _links(machine: _Machine, key: Key, netdev: str) -> tuple[int, int] | None:
    """The links of a port's bond: as the agent tells them, or node_exporter of one of that name, or of the only one."""
    told = {name: links for page in machine.pages for name, links in page.links.items()}
    if key in told:
        return told[key]
    bonds = [links for name, links in told.items() if not name[1]]
    if (netdev, "") in told:
        return told[netdev, ""]
    only = [k for k in machine.ports if "_bond_" in k[0]] == [key]
    return bonds[0] if only and len(bonds) == 1 else None


def _doubts(pages: Sequence[Page]) -> Iterable[str]:
    """What pages lack that they should have."""
    failed = Counter((name, _called(page)) for page in pages for name in page.failed)
    for collector in sorted({name for name, _ in failed}):
        hosts = sorted(host for name, host in failed if name == collector)
        yield f"node_exporter's {collector} collector failed on {len(hosts)} machines ({_some(hosts)}): see its log"
    old = sorted(_called(page) for page in pages if _too_old(page))
    if old:
        yield (
            f"{len(old)} node_exporters tell no hw_counters of their RDMA devices ({_some(old)}): "
            f"use 1.11 or later, or the node agent with --all"
        )
    unreadable = sum(page.plan.unreadable for page in pages)
    if unreadable:
        yield f"node agents could not read {unreadable} things of their ports: see their logs"
    impossible = sum(v != v for page in pages for r in page.readings for v in r.values)  # noqa: PLR0124 - NaN
    if impossible:
        yield f"{impossible} counters below zero or not finite were left out"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _called(page: Page) -> str:
    return page.plan.host or page.plan.address


def _too_old(page: Page) -> bool:
    """Whether a node_exporter before 1.11 serves RDMA devices: it does not read their hw_counters."""
    version = re.match(r"(\d+)\.(\d+)", page.plan.version)
    served = any(block.origin is PortOrigin.INFINIBAND for block in page.plan.blocks)
    return served and not page.plan.hardware and version is not None and tuple(map(int, version.groups())) < (1, 11)


def _left_out(pages: Sequence[Page], found: int, limit: int) -> Iterable[str]:
    on_pages = sum(page.plan.left_out for page in pages)
    if on_pages:
        yield f"{on_pages} ports were left out of pages with more than {PORTS_PER_PAGE}, the limit of a page"
    if found > limit:
        yield f"{found - limit} of {found} ports were left out: rdma.max_ports is {limit}"
