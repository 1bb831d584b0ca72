"""What a join takes and what it makes: the last readings of all sources, and the picture of the site. Frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from exporters.cards import Card
from exporters.fieldtable import Table, table
from exporters.links import Link
from exporters.machines import Machines
from exporters.model import Claim, Demand, Disposition, Job, JobKey, Node, Sample, Scheduler
from exporters.ports import PortSample


@dataclass(frozen=True, slots=True)
class Reading:
    """One source's last good data. ``fresh`` is False once it is too old to prove that something is not so."""

    scheduler: Scheduler | None
    cluster: str
    fresh: bool
    jobs: Sequence[Job] = ()
    claims: Sequence[Claim] = ()
    nodes: Sequence[Node] = ()
    demands: Sequence[Demand] = ()
    samples: Sequence[Sample] = ()
    ports: Sequence[PortSample] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """One owner's part of one machine's pool right now.

    ``milligpu`` of GPU ``model`` are held under ``disposition``; ``cards`` are those known to be the claim's, by index,
    or by UUID where nobody tells the index.
    ``opponent`` is the other side of a dispute; ``link`` says how the claim lives inside the claim ``outer``.
    """

    machine: str
    model: str
    claim: Claim
    disposition: Disposition
    milligpu: int
    cards: tuple[Card, ...] = ()
    opponent: Claim | None = None
    link: Link | None = None
    outer: Claim | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CardUse:
    """One device reading and whose it is: ``shares`` are (claim, milliGPU of this device), empty when unknown."""

    machine: str
    sample: Sample
    shares: tuple[tuple[Claim, int], ...]


@dataclass(frozen=True)
class Picture:
    """The whole site at one moment.

    ``held`` are owners' parts; ``shown`` linked claims that hold nothing of their own; ``rest`` what nobody holds, per
    (machine, model); ``capacity`` per (machine, model). For every pool the parts and the rest sum to the capacity.
    ``orphaned`` are milliGPU that a job holds and its own pods leave unused. ``unplaced`` are claims on machines of
    which no capacity is known. ``machines`` resolves node names as of this join.
    ``ports`` are the ports read lately, each on its machine. ``nodes_up`` says whether a machine takes work, by
    (machine, scheduler, cluster), of schedulers that were read lately.
    """

    at: float
    jobs: Mapping[JobKey, Job]
    held: tuple[Held, ...]
    shown: tuple[Held, ...]
    rest: Mapping[tuple[str, str], tuple[Disposition, int]]
    capacity: Mapping[tuple[str, str], int]
    cards: tuple[CardUse, ...]
    demands: tuple[Demand, ...]
    orphaned: Mapping[JobKey, int]
    unplaced: tuple[tuple[str, Claim], ...]
    machines: Machines
    ports: tuple[tuple[str, PortSample], ...] = ()
    nodes_up: Mapping[tuple[str, str, str], bool] = field(default_factory=dict)

    @cached_property
    def table(self) -> Table:
        """What the cards' readings tell, in columns, in the order of ``cards``."""
        return table([use.sample for use in self.cards])
