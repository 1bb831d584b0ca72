"""Where a machine's files are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the machine's files are, below the roots that they are mounted on."""

    sysfs: str = "/sys"
    procfs: str = "/proc"
    cgroup: str = "/sys/fs/cgroup"
    spool: str = "/run/meterbridge/jobs"
    podresources: str = "/var/lib/kubelet/pod-resources/kubelet.sock"
