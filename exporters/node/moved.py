"""RDMA devices that were moved into a pod's network namespace, seen from inside.

With ``rdma system set netns exclusive`` a device that a pod is given leaves the machine's /sys/class/infiniband. The
PCI function stays, bound to its driver. A process of the pod sees the device in its own /sys: the agent looks there
where it may (root of the machine's process namespace), and says where it may not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from exporters.node.files import Unread, link_name, names
from exporters.node.ports import RawPort, read_ports

DRIVERS = ("mlx5_core", "bnxt_en", "ice", "irdma")
NAMESPACE = "network namespace"
"""What is said to be unreadable of a device that is in a namespace which cannot be looked into."""


class Moved:
    """Remembers which PCI functions had an RDMA device; those that lost it and are there still were moved."""

    def __init__(self, sysfs: str, procfs: str) -> None:
        self._sysfs, self._procfs = sysfs, procfs
        self._known: dict[str, str] = {}

    def read(self, ports: Collection[RawPort]) -> tuple[list[RawPort], list[Unread]]:
        """The ports of devices that are in other namespaces, and those that cannot be read."""
        here = {p.place.address for p in ports}
        self._known.update({p.place.address: p.device for p in ports if p.place.address})
        gone = {a: device for a, device in self._known.items() if a not in here and self._bound(a)}
        if not gone:
            return [], []
        found: dict[tuple[str, str], RawPort] = {}
        for process in self._namespaces():
            inside, _ = read_ports(f"{self._procfs}/{process}/root/sys")
            for port in inside:
                if port.place.address in gone:
                    found.setdefault((port.place.address, port.port), replace(port, inside=True))
        seen = {address for address, _ in found}
        unread = [
            Unread(device, "", NAMESPACE, f"{address} is in a network namespace that the agent may not look into")
            for address, device in sorted(gone.items())
            if address not in seen
        ]
        return list(found.values()), unread

    def _bound(self, address: str) -> bool:
        return link_name(f"{self._sysfs}/bus/pci/devices/{address}/driver") in DRIVERS

    def _namespaces(self) -> list[str]:
        """One process of each network namespace that is not the machine's."""
        own = _namespace(f"{self._procfs}/1")
        found: dict[str, str] = {}
        try:
            processes = [name for name in names(self._procfs) if name.isdecimal()]
        except OSError:
            return []
        for process in processes:
            space = _namespace(f"{self._procfs}/{process}")
            if space and space != own:
                found.setdefault(space, process)
        return list(found.values())


def _namespace(process: str) -> str:
    try:
        return str(Path(f"{process}/ns/net").readlink())
    except OSError:
        return ""
