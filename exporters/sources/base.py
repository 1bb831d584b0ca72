"""What every source is: a name, a clock of its own, and one method that reads one system.

    class Load(Source):                       # the smallest source there could be
        def poll(self, now: float) -> Snapshot:
            return Snapshot(at=now, problems=(open("/proc/loadavg").read(),))

The registry (`exporters.poll.registry`) owns enabling, timing, success and logging; a source only knows how to read.
"""

from __future__ import annotations

from typing import Protocol

from exporters.errors import OperatorError
from exporters.model import Scheduler, Snapshot


class SourceError(OperatorError):
    """A source could not be read. The message names what, where and how to mend it; the operator sees it as is."""


class Source(Protocol):
    """One system, read on its own clock.

    ``name`` is unique in a site and becomes the ``source`` label: ``slurmctld``, ``pods``, ``dcgm``.
    ``scheduler`` is whose records it reads (None for devices) and ``cluster`` that scheduler's cluster (empty for
    devices). A source that tells each end only once (Kubernetes keeps no history) repeats its ``ended`` claims until
    ``acknowledge(at)`` confirms that the snapshot of that moment was recorded.
    ``interval`` is seconds between polls.
    """

    name: str
    cluster: str
    scheduler: Scheduler | None
    interval: float

    def poll(self, now: float) -> Snapshot:
        """Read the system once. Raises `SourceError` when it cannot be read: never returns partial truth as whole."""
        ...

    def close(self) -> None:
        """Release connections, threads and child processes. Safe to call twice."""
        ...
