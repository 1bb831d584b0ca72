"""What every source is: a name, a clock of its own, and one method that reads one system.

    class Load(Source):                       # the smallest source there could be
        name, cluster, scheduler, interval = "load", "", None, 15.0

        def poll(self, now: float) -> Snapshot:
            return Snapshot(at=now, problems=(open("/proc/loadavg").read(),))

The registry (`exporters.poll.registry`) owns enabling, timing, success and logging; a source only knows how to read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from exporters.errors import OperatorError
from exporters.model import Scheduler, Snapshot
from exporters.stages import Stages
from exporters.status import Target


class SourceError(OperatorError):
    """A source could not be read. The message names what, where and how to mend it; the operator sees it as is."""


class Source(ABC):
    """One system, read on its own clock: all that the registry asks of a source.

    ``name`` is unique in a site and becomes the ``source`` label: ``slurmctld``, ``pods``, ``dcgm``.
    ``scheduler`` is whose records it reads (None for devices) and ``cluster`` that scheduler's cluster (empty for
    devices). ``interval`` is seconds between polls.

    A source derives from this class and writes `poll`; what does not concern it, it leaves as it is here.
    """

    name: str
    cluster: str
    scheduler: Scheduler | None
    interval: float

    @abstractmethod
    def poll(self, now: float) -> Snapshot:
        """Read the system once. Raises `SourceError` when it cannot be read: never returns partial truth as whole."""

    def close(self) -> None:  # noqa: B027 - nothing is open in most
        """Release connections, threads and child processes. Safe to call twice."""

    def acknowledge(self, at: float) -> None:  # noqa: B027 - most can tell an end again
        """Take note that the snapshot of ``at`` (its epoch seconds) is recorded.

        A system that tells each end only once (Kubernetes keeps no history) has its ``ended`` claims repeated by its
        source until then.
        """

    def leave_out(self, elsewhere: Callable[[str], bool]) -> None:  # noqa: B027 - a scheduler is asked once for all
        """From now on read nothing of the hosts for which ``elsewhere`` is true: another shard reads them.

        A source whose cost does not depend on what it reads of each host reads all of them.
        """

    def targets(self) -> Sequence[Target] | None:
        """How each endpoint did in the last round, where the source reads many; None where it reads one system."""
        return None

    @property
    def stages(self) -> Stages | None:
        """What fetching and reading have cost so far, where the source counts that."""
        return None
