"""What a join takes and what it makes: the last readings of all sources, and the picture of the site. Frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from exporters.fabric_model import PortSample
from exporters.join.cards import Card, CardBasis
from exporters.join.links import Link
from exporters.join.machines import Machines
from exporters.model import Claim, Demand, Disposition, Job, JobKey, Node, Sample, Scheduler
from exporters.sources.devices.field_table import Table, table


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
    ``opponent`` is the other side of a dispute; ``link`` says how the claim lives inside the claim ``outer``;
    ``basis`` is how the cards are known.
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
    basis: CardBasis | None = None


@dataclass(frozen=True, slots=True)
class CardUse:
    """One device reading and whose it is: ``shares`` are (claim, milliGPU of this device), empty when unknown."""

    machine: str
    sample: Sample
    shares: tuple[tuple[Claim, int], ...]


Device = tuple[str, str, str, int]
"""Machine, UUID, MIG instance, index (-1: not known)."""
CardRow = tuple[str, str, str, str, str, str, str]
"""A card in a job's hands: scheduler, cluster and id of the job; machine, index and UUID, empty where not known; how it
is known."""

_WORDS = tuple(word.value for word in Disposition)

NodeRow = tuple[tuple[str, str, str], int]
"""Machine, model and disposition, and how many milliGPU that is."""


@dataclass(frozen=True, slots=True)
class WholeCards:
    """Whole cards by their labels (machine, index, UUID): ``devices`` are their rows in the picture.

    ``unique``: no two have the same labels. ``every``: there are no other devices.
    """

    labels: Sequence[tuple[str, ...]]
    devices: NDArray[np.int64]
    unique: bool
    every: bool


@dataclass(frozen=True)
class Devices:
    """The devices of a picture, in its order. The same object for as long as they are the same."""

    names: tuple[Device, ...]

    @cached_property
    def whole_cards(self) -> WholeCards:
        """The devices that are whole cards, in the order of their labels."""
        named = sorted((_labels(name), n) for n, name in enumerate(self.names) if not name[2])
        labels = [name for name, _ in named]
        devices = np.fromiter((n for _, n in named), np.int64, len(named))
        return WholeCards(labels, devices, len(set(labels)) == len(labels), len(labels) == len(self.names))


def _labels(device: Device) -> tuple[str, str, str]:
    machine, uuid, _, index = device
    return (machine, str(index) if index >= 0 else "", uuid)


def card_rows(machine: str, held: Iterable[Held], samples: Iterable[Sample]) -> list[CardRow]:
    """The cards of a machine that are in some job's hands, as far as they are known."""
    uuids = {s.index: s.uuid for s in samples if not s.mig_instance}
    return [
        (*h.claim.job, machine, *_named(uuids, card), h.basis.value if h.basis else "")
        for h in held
        if h.disposition is Disposition.CHARGED
        for card in h.cards
    ]


def node_rows(machine: str, held: Iterable[Held], rest: Iterable[tuple[str, Disposition, int]]) -> list[NodeRow]:
    """What the cards of a machine are: every disposition of each of its models (``rest`` has them all)."""
    parts = [(h.model, h.disposition, h.milligpu) for h in held]
    sums = {(machine, model, word): 0 for model, _, _ in rest for word in _WORDS}
    for model, word, milligpu in (*parts, *rest):
        sums[machine, model, word] += milligpu
    return sorted(sums.items())


def _named(uuids: Mapping[int, str], card: Card) -> tuple[str, str]:
    """Index and UUID of a card, each empty where it is not known."""
    return ("", card) if isinstance(card, str) else (str(card), uuids.get(card, ""))


@dataclass(frozen=True)
class Picture:
    """The whole site at one moment.

    ``held`` are owners' parts; ``shown`` linked claims that hold nothing of their own; ``rest`` what nobody holds, per
    (machine, model); ``capacity`` per (machine, model). For every pool the parts and the rest sum to the capacity.
    ``orphaned`` are milliGPU that a job holds and its own pods leave unused. ``unplaced`` are claims on machines of
    which no capacity is known. ``machines`` resolves node names as of this join.
    ``devices`` are the names of ``cards``; ``card_rows`` say which card is in whose hands,
    ``node_rows`` what each machine's cards are.
    ``ports`` are the ports read lately, each on its machine. ``nodes_up`` says whether a machine takes work, by
    (machine, scheduler, cluster), of schedulers that were read lately. ``unequal`` are machines on which Slurm's
    numbers for cards are not NVML's; ``strays`` the devices read as of a machine that no scheduler has, by its name.
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
    devices: Devices = field(default_factory=lambda: Devices(()))
    card_rows: Sequence[CardRow] = ()
    node_rows: Sequence[NodeRow] = ()
    unequal: frozenset[str] = frozenset()
    strays: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def table(self) -> Table:
        """What the cards' readings tell, in columns, in the order of ``cards``."""
        return table([use.sample for use in self.cards])
