"""Which network interface lies on which RDMA device of a machine. Pure.

node_exporter names RDMA devices in one collector and network interfaces in the other. These tell, the first that does:

1. the agent's port info, which reads it from sysfs;
2. the PCI address: node_exporter's ``bus_info`` of the interface, and the device's from the agent, or from its name
   where udev names it by place (``rocep65s0f0`` is 0000:41:00.0);
3. a bond: ``mlx5_bond_0`` is of two functions of one card, whose interfaces carry its counters. Where as many cards as
   bonds have two functions left, they are theirs, in order;
4. the order: ``mlx5_0``, ``mlx5_1``, ... are numbered as the driver finds them, in the order of PCI addresses. It is
   used where as many devices without an interface are left as mlx5 interfaces, and never where they are not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from exporters.sources.fabric.rdma_pages import Key

Labels = Mapping[str, str]

_BY_PLACE = re.compile(r"(?:roce|ib|iw)(?:P(?P<domain>\d+))?p(?P<bus>\d+)s(?P<slot>\d+)(?:f(?P<function>\d+))?")
_NUMBERED = re.compile(r"mlx5_(\d+)")
_BOND = re.compile(r"mlx5_bond_(\d+)")
_PCI = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


def placed(ports: Sequence[Key], told: Mapping[Key, Labels], netdevs: Mapping[str, Labels]) -> dict[str, Key]:
    """Network interface -> the port that it lies on, of interfaces with statistics.

    ``told`` are the agent's labels of ports, ``netdevs`` those of ``node_ethtool_info`` (empty: none) by interface.
    """
    found = {netdev: key for key in ports if (netdev := told.get(key, {}).get("netdev"))}
    free = {key for key in ports if key not in found.values() and key[1] == "1"}
    addresses = {address_of(key, told.get(key, {})): key for key in sorted(free)}
    addresses.pop("", None)
    left = []
    for netdev in sorted(netdevs.keys() - found.keys()):
        bus = netdevs[netdev].get("bus_info", "").lower()
        if bus in addresses and addresses[bus] in free:
            found[netdev] = addresses[bus]
            free.discard(addresses[bus])
        elif _PCI.fullmatch(bus) and netdevs[netdev].get("driver") == "mlx5_core":
            left.append((bus, netdev))
    bonded = _bonds(free | {key for key in ports if _BOND.fullmatch(key[0])}, left)
    found.update(bonded)
    left = [(bus, netdev) for bus, netdev in sorted(left) if netdev not in bonded]
    numbered = sorted((int(m.group(1)), key) for key in free if (m := _NUMBERED.fullmatch(key[0])))
    if len(numbered) == len(left):
        found.update({netdev: key for (_, netdev), (_, key) in zip(left, numbered, strict=True)})
    return found


def _bonds(ports: Collection[Key], left: Iterable[tuple[str, str]]) -> dict[str, Key]:
    """The interfaces of both functions of each card that is bonded, where that is plain."""
    bonds = sorted((int(m.group(1)), key) for key in ports if (m := _BOND.fullmatch(key[0])))
    cards: dict[str, list[str]] = defaultdict(list)
    for bus, netdev in sorted(left):
        cards[bus.partition(".")[0]].append(netdev)
    pairs = [both for _, both in sorted(cards.items()) if len(both) == 2]
    if len(pairs) != len(bonds):
        return {}
    return {netdev: key for (_, key), both in zip(bonds, pairs, strict=True) for netdev in both}


def address_of(key: Key, told: Labels) -> str:
    """The PCI address of a port's device, empty when nothing tells it."""
    address = told.get("pci_address", "").lower()
    place = _BY_PLACE.fullmatch(key[0])
    if address or not place:
        return address
    domain, bus, slot, function = (int(place[n] or 0) for n in ("domain", "bus", "slot", "function"))
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"
