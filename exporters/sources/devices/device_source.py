"""What sources of many device endpoints are alike in: no scheduler's, and read by one fan-out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Generic

from exporters.model import Scheduler, Snapshot
from exporters.sources.base import Source
from exporters.sources.devices.fanout import Fanout, P
from exporters.stages import Stages
from exporters.status import Target


class DeviceSource(Source, Generic[P]):
    """A source whose endpoints ``fanout`` reads; what its pages say is its own to tell (`poll`)."""

    def __init__(self, fanout: Fanout[P], interval: float) -> None:
        self.name, self.cluster, self.interval = fanout.name, "", interval
        self.scheduler: Scheduler | None = None
        self._fanout = fanout

    @abstractmethod
    def poll(self, now: float) -> Snapshot:
        """One round of all endpoints. Raises `SourceError` when there is none, or none could be read."""

    def leave_out(self, elsewhere: Callable[[str], bool]) -> None:
        """From now on do not read endpoints on a host that is another shard's."""
        self._fanout.leave_out(elsewhere)

    @property
    def stages(self) -> Stages:
        """What fetching and reading have cost."""
        return self._fanout.stages

    def targets(self) -> list[Target]:
        """How every endpoint did in the last round."""
        return self._fanout.targets()

    def close(self) -> None:
        """Break off a poll under way and close the connections."""
        self._fanout.close()
