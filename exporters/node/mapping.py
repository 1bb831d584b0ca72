"""Which network interface, PCI address and NUMA node a port belongs to, and which GPUs are near it.

Near is: below the closest PCI bridge that the port shares with any GPU (both then talk through one switch), else on the
same NUMA node.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from exporters.node.files import names, text_or_empty

NVIDIA = "0x10de"
AMD = "0x1002"
GPU_CLASSES = ("0x0302", "0x0300")
"""3D controller (a data-centre card) and VGA controller."""

PARTITIONS = "amdgpu_xcp"
"""What platform devices are called that are further partitions of AMD's cards (CPX, DPX)."""

_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_RENDER = re.compile(r"renderD(\d+)")
_EUI64 = re.compile(r"fe80(?::0{4}){3}:([0-9a-f]{4}):([0-9a-f]{2})ff:fe([0-9a-f]{2}):([0-9a-f]{4})")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device sits. ``bridges`` are the PCI addresses above it, the root port first; ``numa`` empty or "-1" =
    unknown.
    """

    address: str
    bridges: tuple[str, ...]
    numa: str


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU of this machine. ``minor`` is the number that Slurm has for it: N of /dev/nvidiaN; of AMD's cards the place
    of its render node among theirs. ``uuid`` is its UUID where the driver tells one; AMD's cards go by PCI address.
    """

    place: Place
    minor: str = ""
    uuid: str = ""


def place_of(path: str) -> Place:
    """Where the device behind a path of sysfs sits; an empty address for one that is on no PCI bus.

    An auxiliary device (``mlx5_core.rdma.0``) sits where the PCI function above it does.
    """
    real = os.path.realpath(path)
    parts = real.split("/")
    on_bus = [i for i, part in enumerate(parts) if _PCI.fullmatch(part)]
    if not on_bus:
        return Place("", (), text_or_empty(f"{real}/numa_node"))
    function = "/".join(parts[: on_bus[-1] + 1])
    return Place(parts[on_bus[-1]], tuple(parts[i] for i in on_bus[:-1]), text_or_empty(f"{function}/numa_node"))


def cards(sysfs: str, procfs: str) -> tuple[Card, ...]:
    """The GPUs of NVIDIA and AMD by PCI address: from sysfs, NVIDIA's named by the driver's own files in procfs.

    Slurm numbers the devices of a node by their place in the list of files that it was given, sorted by name
    (gres_common.c): of AMD's cards that is the order of their render nodes, /dev/dri/renderD128 and on. Where a card is
    cut into partitions each has a render node and a number of its own, and where cards of both vendors are, one list
    has both: then no number of AMD's is told. Raises OSError when the PCI bus is there and closed.
    """
    found, renders = [], {}
    for address in names(f"{sysfs}/bus/pci/devices"):
        folder = f"{sysfs}/bus/pci/devices/{address}"
        if text_or_empty(f"{folder}/vendor") == NVIDIA and text_or_empty(f"{folder}/class")[:6] in GPU_CLASSES:
            told = _driver_information(f"{procfs}/driver/nvidia/gpus/{address}/information")
            found.append(Card(place_of(folder), told.get("Device Minor", ""), told.get("GPU UUID", "")))
        elif text_or_empty(f"{folder}/vendor") == AMD and (render := _render_node(folder)) >= 0:
            renders[address] = render
    numbered = not found and not any(n.startswith(PARTITIONS) for n in names(f"{sysfs}/bus/platform/devices"))
    for n, address in enumerate(sorted(renders, key=renders.__getitem__)):
        place = place_of(f"{sysfs}/bus/pci/devices/{address}")
        found.append(Card(place, str(n) if numbered else "", address))
    return tuple(found)


def _render_node(folder: str) -> int:
    """The minor number of a PCI device's render node; -1 for one that has none."""
    found = (_RENDER.fullmatch(name) for name in names(f"{folder}/drm"))
    return min((int(match[1]) for match in found if match), default=-1)


def _driver_information(path: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text_or_empty(path).splitlines())
    return {key.strip(): value.strip() for key, colon, value in lines if colon}


def near(place: Place, all_cards: Iterable[Card]) -> tuple[str, ...]:
    """PCI addresses of the GPUs near a port."""
    known = list(all_cards)
    shared = {card.place.address: _shared(place.bridges, card.place.bridges) for card in known}
    best = max(shared.values(), default=0)
    if best:
        return tuple(sorted(address for address, depth in shared.items() if depth == best))
    if place.numa in {"", "-1"}:
        return ()
    return tuple(sorted(card.place.address for card in known if card.place.numa == place.numa))


def affinity_of(place: Place, all_cards: Iterable[Card]) -> str:
    """By what a port is near GPUs: ``switch`` (a PCI bridge that both are below), ``numa``, or empty for neither."""
    known = list(all_cards)
    if any(_shared(place.bridges, card.place.bridges) for card in known):
        return "switch"
    return "numa" if near(place, known) else ""


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    depth = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        depth += 1
    return depth


def netdev_of(sysfs: str, device: str, port: str) -> str:
    """The network interface of a port; empty for an InfiniBand port and where none can be found.

    The RDMA core names it (``gid_attrs/ndevs``). A driver that does not say so has it below the same PCI function, or
    (EFA) its GID is made from the interface's hardware address.
    """
    folder = f"{sysfs}/class/infiniband/{device}"
    named = text_or_empty(f"{folder}/ports/{port}/gid_attrs/ndevs/0")
    if named:
        return named
    siblings = names(f"{folder}/device/net")
    if len(siblings) == 1:
        return siblings[0]
    for name in siblings:
        number = text_or_empty(f"{folder}/device/net/{name}/dev_port")
        if number.isdecimal() and int(number) + 1 == int(port):
            return name
    hardware = hardware_address(text_or_empty(f"{folder}/ports/{port}/gids/0"))
    if hardware:
        for name in names(f"{sysfs}/class/net"):
            if text_or_empty(f"{sysfs}/class/net/{name}/address") == hardware:
                return name
    return ""


def hardware_address(gid: str) -> str:
    """The hardware address that a link-local GID was made from (RFC 4291, modified EUI-64); empty for any other GID.

    >>> hardware_address("fe80:0000:0000:0000:0014:3eff:fe12:3456")
    '02:14:3e:12:34:56'
    """
    match = _EUI64.fullmatch(gid)
    if match is None:
        return ""
    digits = match[1] + match[2] + match[3] + match[4]
    octets = [digits[i : i + 2] for i in range(0, 12, 2)]
    octets[0] = f"{int(octets[0], 16) ^ 2:02x}"
    return ":".join(octets)
