"""What the ground floor tells the upper floor, without knowing it: a protocol that the front door wires to a ledger.

Kubernetes keeps no history and Slurm forgets a job's cards the second it ends, so what the live side saw is handed
over as it is seen. An exporter without a ledger uses `Forget`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, overload

from exporters.model import Claim, Job, JobKey, Node, Reject

T = TypeVar("T")


class Later(Sequence[T]):
    """What is made when somebody first looks at it: an exporter without a ledger never does. Safe between threads."""

    def __init__(self, make: Callable[[], Sequence[T]]) -> None:
        self._make = make
        self._made: Sequence[T] | None = None

    def _all(self) -> Sequence[T]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self._all()[index]


@dataclass(frozen=True, slots=True)
class Holding:
    """What the live side saw at one moment: this card was in the hands of this job.

    ``machine`` is the resolved machine name; ``uuid`` may be empty when only the index is known. The recorder joins
    sightings in successive rounds into intervals. ``milligpu`` is 1000 for a whole card, less for a share of one.
    """

    machine: str
    index: int
    uuid: str
    job: JobKey
    unit: str
    milligpu: int


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What one claim's cards did between two rounds. Floats: it only ever decorates a line.

    ``gpu_seconds`` is card-seconds observed (held time that samples cover); ``active_seconds`` of them the engine was
    busy, ``tensor_seconds`` the tensor cores. ``samples_expected`` counts card-rounds, ``samples_seen`` those that
    had a reading.
    """

    job: JobKey
    unit: str
    machine: str
    start: float
    end: float
    gpu_seconds: float
    active_seconds: float
    tensor_seconds: float
    energy_joules: float
    nvlink_transmit_bytes: float
    nvlink_receive_bytes: float
    samples_seen: int
    samples_expected: int


@dataclass(frozen=True, slots=True)
class SourceReading:
    """One source's part of a round, as the recorder sees it.

    ``polled_at`` is when the source was last read successfully: the recorder keeps it as evidence of coverage, and
    time without it becomes ``unknown``, not ``idle``. ``scheduler`` is empty for device sources. ``claims`` are held
    now, ``ended`` since the last reading. ``complete`` is False where a part of the system could not be read: what such
    a reading does not show may be there nevertheless.
    """

    source: str
    cluster: str
    polled_at: float
    jobs: Sequence[Job] = ()
    claims: Sequence[Claim] = ()
    ended: Sequence[Claim] = ()
    nodes: Sequence[Node] = ()
    rejects: Sequence[Reject] = ()
    scheduler: str = ""
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Round:
    """One join of the live side, to be recorded in one transaction."""

    at: float
    readings: Sequence[SourceReading]
    holdings: Sequence[Holding]
    telemetry: Sequence[Telemetry]


class Recorder(Protocol):
    """Keeps rounds. An implementation must be idempotent and may batch, but never drops silently."""

    def record(self, round_: Round) -> None:
        """Keep one round. Raises when it could not be kept: the caller keeps it and tries again."""
        ...

    def close(self) -> None:
        """Flush what is batched."""
        ...


class Forget:
    """The recorder of an exporter without a ledger."""

    def record(self, round_: Round) -> None:
        """Drop the round: there is nobody to tell."""

    def close(self) -> None:
        """Nothing to flush."""
