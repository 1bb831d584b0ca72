"""What lies below and above a network interface: the slaves of a bond, and which interfaces carry the default route.

With LAG, mlx5 makes one RDMA device (``mlx5_bond_0``) of two functions. Its interface is the bond, which counts nothing
itself: pauses and discards are counted by its slaves.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporters.fabric_model import PortCounter
from exporters.node.counters import CARRIER_CHANGES, CARRIER_DOWN, ethtool_meanings, ethtool_quantities
from exporters.node.files import link_name, names, text_or_empty
from exporters.node.ports import NOT_UP

_UP = 0x1
_ANYWHERE = "0" * 32


@dataclass(frozen=True, slots=True)
class Bond:
    """A bond by name: its slaves, and how many of them carry traffic."""

    name: str
    slaves: tuple[str, ...]
    up: int


def bond_of(sysfs: str, netdev: str) -> Bond | None:
    """The bond that an interface is, or is a slave of; None for any other interface."""
    if not netdev:
        return None
    master = link_name(f"{sysfs}/class/net/{netdev}/master")
    for name in (netdev, master):
        slaves = tuple(text_or_empty(f"{sysfs}/class/net/{name}/bonding/slaves").split()) if name else ()
        if slaves:
            return Bond(name, slaves, sum(_carries(sysfs, slave) for slave in slaves))
    return None


def carrier_losses(sysfs: str, netdev: str) -> dict[PortCounter, float]:
    """How often an interface lost its carrier; empty where the kernel does not say."""
    told = [text_or_empty(f"{sysfs}/class/net/{netdev}/{name}") for name in (CARRIER_DOWN, CARRIER_CHANGES)]
    known = [(name, text) for name, text in zip((CARRIER_DOWN, CARRIER_CHANGES), told, strict=True) if text.isdecimal()]
    meanings = ethtool_meanings([name for name, _ in known])
    return ethtool_quantities(meanings, {n: int(known[n][1]) for n in meanings})


def _carries(sysfs: str, slave: str) -> bool:
    told = text_or_empty(f"{sysfs}/class/net/{slave}/bonding_slave/mii_status")
    return told == "up" if told else text_or_empty(f"{sysfs}/class/net/{slave}/operstate") not in NOT_UP


def default_routes(sysfs: str, procfs: str) -> frozenset[str]:
    """The interfaces that the machine's default routes leave by, those below a bond, bridge or VLAN included."""
    found: set[str] = set()
    for line in _routes(procfs, "route")[1:]:
        words = line.split()
        if len(words) > 7 and words[1] == words[7] == "00000000" and int(words[3], 16) & _UP:
            found.add(words[0])
    for line in _routes(procfs, "ipv6_route"):
        words = line.split()
        if len(words) == 10 and words[0] == _ANYWHERE and words[1] == "00" and words[9] != "lo":
            found.add(words[9])
    return frozenset(below for name in found for below in _lowest(sysfs, name, 0))


def _routes(procfs: str, table: str) -> list[str]:
    """A table of routes: of the machine's first process, whose network is the machine's, else of our own."""
    return (text_of(f"{procfs}/1/net/{table}") or text_of(f"{procfs}/net/{table}")).splitlines()


def text_of(path: str) -> str:
    """A table of the kernel, which is longer than a file of sysfs; empty where it cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - a file of procfs, read in one go
            return file.read(1 << 20)
    except OSError:
        return ""


def _lowest(sysfs: str, name: str, depth: int) -> list[str]:
    """An interface and all below it; eight deep is more than anybody stacks."""
    try:
        below = [n.removeprefix("lower_") for n in names(f"{sysfs}/class/net/{name}") if n.startswith("lower_")]
    except OSError:
        below = []
    return [name, *(n for one in below if depth < 8 for n in _lowest(sysfs, one, depth + 1))]
