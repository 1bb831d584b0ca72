"""The pages of a round to ports: what node_exporter and the node agent say of one machine, put together. Pure.

node_exporter names RDMA devices in one collector and network interfaces in the other. Which interface lies on which
device, these tell, the first that does:

1. the agent's port info, which reads it from sysfs;
2. the PCI address: node_exporter's ``bus_info`` of the interface, and the device's from the agent, or from its name
   where udev names it by place (``rocep65s0f0`` is 0000:41:00.0);
3. the order: ``mlx5_0``, ``mlx5_1``, ... are numbered as the driver finds them, in the order of PCI addresses. It is
   used where as many devices without an interface are left as mlx5 interfaces, and never where they are not.

An interface that none of them places is left out, and said.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from exporters.fabric_model import Port, PortOrigin, PortReading, PortSample
from exporters.model import Sample
from exporters.sources.fabric.rdma_pages import PORTS_PER_PAGE, Key, Page
from exporters.sources.hostnames import short_name

_BY_PLACE = re.compile(r"(?:roce|ib|iw)(?:P(?P<domain>\d+))?p(?P<bus>\d+)s(?P<slot>\d+)(?:f(?P<function>\d+))?")
_NUMBERED = re.compile(r"mlx5_(\d+)")
_PCI = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
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
    """The ports and holdings of a round, sentences about what is doubtful, and whether ports were left out."""

    ports: tuple[PortSample, ...]
    samples: tuple[Sample, ...]
    problems: tuple[str, ...]
    cut: bool


def join(pages: Sequence[Page], at: float, limit: int) -> Joined:
    """A round of pages. No more than ``limit`` ports are kept, those of the first machines by name."""
    found: list[PortSample] = []
    samples: list[Sample] = []
    unplaced: list[str] = []
    for machine in _machines(pages):
        interfaces = _interfaces(machine)
        read = _readings(machine, interfaces, unplaced)
        found.extend(_sample(machine, key, interfaces, read.get(key, ()), at) for key in machine.ports)
        samples.extend(replace(sample, host=machine.host) for page in machine.pages for sample in page.samples)
    problems = [*_doubts(pages), *_left_out(pages, len(found), limit)]
    if unplaced:
        problems.append(
            f"{len(unplaced)} network interfaces with pause counters cannot be placed on an RDMA device "
            f"({_some(unplaced)}): run the node agent there"
        )
    cut = len(found) > limit or any(p.plan.left_out for p in pages)
    return Joined(tuple(found[:limit]), tuple(samples), tuple(problems), cut)


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
    """Network interface -> the port that it lies on."""
    netdevs = {name: labels for page in machine.pages for name, labels in page.plan.netdevs.items()}
    with_counters = {b.key[0] for page in machine.pages for b in page.plan.blocks if b.origin is PortOrigin.ETHTOOL}
    placed = {netdev: key for key in machine.ports if (netdev := machine.labels(key).get("netdev"))}
    free = {key for key in machine.ports if key not in placed.values() and key[1] == "1"}
    addresses = {_address(machine, key): key for key in sorted(free)}
    addresses.pop("", None)
    left = []
    for netdev in sorted(with_counters - placed.keys()):
        bus = netdevs.get(netdev, {}).get("bus_info", "").lower()
        if bus in addresses and addresses[bus] in free:
            placed[netdev] = addresses[bus]
            free.discard(addresses[bus])
        elif _PCI.fullmatch(bus) and netdevs[netdev].get("driver") == "mlx5_core":
            left.append((bus, netdev))
    numbered = sorted((int(m.group(1)), key) for key in free if (m := _NUMBERED.fullmatch(key[0])))
    if len(numbered) == len(left):
        placed.update({netdev: key for (_, netdev), (_, key) in zip(sorted(left), numbered, strict=True)})
    return placed


def _address(machine: _Machine, key: Key) -> str:
    """The PCI address of a port's device, empty when nothing tells it."""
    told = machine.labels(key).get("pci_address", "").lower()
    place = _BY_PLACE.fullmatch(key[0])
    if told or not place:
        return told
    domain, bus, slot, function = (int(place[n] or 0) for n in ("domain", "bus", "slot", "function"))
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _readings(
    machine: _Machine, interfaces: Mapping[str, Key], unplaced: list[str]
) -> dict[Key, tuple[PortReading, ...]]:
    """The readings of each port. One origin that two pages serve is told by the first."""
    found: dict[Key, dict[PortOrigin, PortReading]] = defaultdict(dict)
    for page in machine.pages:
        for block, reading in zip(page.plan.blocks, page.readings, strict=True):
            if block.origin is PortOrigin.ETHTOOL:
                if block.key[0] not in interfaces:
                    unplaced.append(f"{block.key[0]} of {machine.host}")
                    continue
                found[interfaces[block.key[0]]].setdefault(block.origin, reading)
            else:
                found[block.key].setdefault(block.origin, reading)
    return {key: tuple(readings[origin] for origin in sorted(readings)) for key, readings in found.items()}


def _sample(
    machine: _Machine, key: Key, interfaces: Mapping[str, Key], readings: tuple[PortReading, ...], at: float
) -> PortSample:
    told = machine.labels(key)
    netdev = next((name for name, port in interfaces.items() if port == key), "")
    below: Mapping[str, str] = next((p.plan.netdevs[netdev] for p in machine.pages if netdev in p.plan.netdevs), {})
    firmware = next((p.plan.devices[key[0]] for p in machine.pages if key[0] in p.plan.devices), "")
    port = Port(
        machine.host,
        *key,
        netdev=netdev,
        link_layer=told.get("link_layer", ""),
        driver=told.get("driver") or below.get("driver", ""),
        pci_address=_address(machine, key) or below.get("bus_info", ""),
        numa_node=told.get("numa_node", ""),
        firmware=told.get("firmware") or firmware,
    )
    agents_last = sorted(machine.pages, key=lambda page: bool(page.plan.ports))  # the agent knows EFA's true state
    up = next((page.up[key] for page in reversed(agents_last) if key in page.up), None)
    rate = next((page.rate[key] for page in machine.pages if key in page.rate), None)
    return PortSample(port, readings, at, up, rate)


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
