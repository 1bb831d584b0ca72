"""All that the machine can say about who holds its cards: the kubelet, the spool, and cgroups where no spool is."""

from __future__ import annotations

import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporters.node.cgroups import find_parents, read_jobs
from exporters.node.files import text_or_empty
from exporters.node.holding import Basis, Holding
from exporters.node.kubelet.podresources import ALLOCATABLE, LIST, allocatable, holdings
from exporters.node.kubelet.unary import CallError, call
from exporters.node.kubelet.wire import WireError
from exporters.node.spool import read_spool

PARENTS_FOR = 300.0
"""How long the cgroups that hold Slurm's jobs are believed to be the same: to find them is a walk over all of them."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What was found. ``sources`` are the bases that this machine has, and whether each was read; ``set_aside`` are
    ``(basis, what)`` of single records, and ``reasons`` say in words why each of both was not read.
    """

    holdings: tuple[Holding, ...] = ()
    sources: Mapping[str, bool] = field(default_factory=dict)
    set_aside: tuple[tuple[str, str], ...] = ()
    allocatable: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[tuple[str, ...], ...] = ()


class Holders:
    """Reads them. ``timeout`` is in seconds for each call of the kubelet."""

    def __init__(self, cgroup: str, spool: str, podresources: str, procfs: str, timeout: float = 5.0) -> None:
        self._cgroup = cgroup
        self._spool = spool
        self._socket = podresources
        self._procfs = procfs
        self._timeout = timeout
        self._has_kubelet = False
        self._parents: tuple[float, list[str]] | None = None

    def read(self, uuids: Mapping[str, str]) -> Holdings:
        """Everything, now. ``uuids`` are the machine's card UUIDs by minor number."""
        found: list[Holding] = []
        sources: dict[str, bool] = {}
        aside: list[tuple[str, str]] = []
        reasons: list[tuple[str, ...]] = []
        given: dict[str, int] = {}
        if _is_socket(self._socket) or self._has_kubelet:
            self._has_kubelet = True  # from now on its absence is a fault: a kubelet that restarts has no socket
            try:
                found += holdings(call(self._socket, LIST, timeout=self._timeout), uuids)
                sources[Basis.PODRESOURCES] = True
            except (CallError, WireError) as error:
                sources[Basis.PODRESOURCES] = False
                reasons.append((Basis.PODRESOURCES, str(error)))
            given = self._allocatable(reasons) if sources[Basis.PODRESOURCES] else {}
        if Path(self._spool).is_dir():
            try:
                found += self._slurm(uuids, aside, reasons)
                sources[Basis.SPOOL] = True
            except OSError as error:
                sources[Basis.SPOOL] = False
                reasons.append((Basis.SPOOL, str(error)))
        elif parents := self._slurm_parents():
            found += read_jobs(parents, uuids)
            sources[Basis.CGROUP] = True
        return Holdings(tuple(found), sources, tuple(aside), given, tuple(reasons))

    def _allocatable(self, reasons: list[tuple[str, ...]]) -> dict[str, int]:
        """What the kubelet may give. A kubelet may have this call switched off: its holdings are as good."""
        try:
            return allocatable(call(self._socket, ALLOCATABLE, timeout=self._timeout))
        except (CallError, WireError) as error:
            reasons.append((Basis.PODRESOURCES, "GetAllocatableResources", str(error)))
            return {}

    def _slurm_parents(self) -> list[str]:
        if self._parents is None or time.monotonic() - self._parents[0] > PARENTS_FOR:
            self._parents = (time.monotonic(), find_parents(self._cgroup))
        return self._parents[1]

    def _slurm(
        self, uuids: Mapping[str, str], aside: list[tuple[str, str]], reasons: list[tuple[str, ...]]
    ) -> list[Holding]:
        boot = text_or_empty(f"{self._procfs}/sys/kernel/random/boot_id")
        found, refused = read_spool(self._spool, boot, uuids)
        aside += [(basis, name) for basis, name, _ in refused]
        reasons += refused
        return found


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except PermissionError:
        return True  # the call will say so
    except OSError:
        return False
