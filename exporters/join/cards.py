"""Which cards of its machine a claim is known to hold, as far as a record or a sighting says so. Pure.

A card goes by its index on the machine, or by its UUID while nobody has said which index that is. What is known may be
less than the claim: the rest of it is held by count. What is more than the claim is stale, and tells nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from exporters.model import MILLI_PER_GPU, Claim, Scheduler
from exporters.sources.shares import split

Card = int | str
"""A card of a machine: its index, or its UUID where the index is not known."""

TIME_SLICED = "shared"
"""The profile of a claim on time-sliced replicas of cards."""


class CardBasis(StrEnum):
    """How it is known which cards a claim holds, the strongest evidence first."""

    UUID = "uuid"  # the scheduler itself told the card's UUID
    LABEL = "label"  # a reading of the card, or the node agent, names the pod or the job
    ALL = "all"  # it holds all cards of its machine
    MINOR = "minor"  # Slurm's number for the card, which the node agent maps to its UUID
    ASSUMED = "assumed"  # Slurm's number, taken for the card's index with NVML: equal on many machines, not on all


@dataclass(frozen=True, slots=True)
class Told:
    """Something that says that ``milligpu`` of a card are held; index -1, or an empty UUID: it does not say that."""

    index: int
    uuid: str
    milligpu: int


@dataclass(frozen=True, slots=True)
class Hand:
    """MilliGPU that one claim is known to hold, by card.

    ``numbered``: by the number that its Slurm node has for the card, which inside a pod may be another than the
    machine's. ``basis`` says how it is known, of what was found out live.
    """

    cards: Mapping[Card, int]
    numbered: bool = False
    basis: CardBasis | None = None

    @property
    def milligpu(self) -> int:
        """How much of the claim is known to be somewhere."""
        return sum(self.cards.values())


NOTHING = Hand({})
"""A claim of which no card is known."""


def whole(claim: Claim) -> bool:
    """Whether a claim is on whole cards, rather than on slices or replicas of some."""
    return not claim.profile and claim.milligpu >= MILLI_PER_GPU


def card_uuid(uuid: str) -> str:
    """The card's UUID out of a device's: a replica is ``<UUID>::<n>``. A MIG device does not tell its card: empty."""
    return "" if uuid.startswith("MIG-") else uuid.partition("::")[0]


def named(claim: Claim) -> tuple[tuple[Told, ...], bool]:
    """The cards that a claim itself names, and whether by its Slurm node's own numbers. Empty when that is not enough.

    Replicas are equal parts, so a card has as much of the claim as it has of its replicas, the remainder on the first.
    """
    if whole(claim):
        indices = tuple(sorted(set(claim.indices)))
        if indices and len(indices) * MILLI_PER_GPU <= claim.milligpu:
            slurm = claim.job.scheduler is Scheduler.SLURM
            return tuple(Told(index, "", MILLI_PER_GPU) for index in indices), slurm
    elif claim.profile not in ("", TIME_SLICED):
        return (), False
    replicas = Counter(sorted(filter(None, map(card_uuid, claim.uuids))))
    if not replicas or any(not card_uuid(u) for u in claim.uuids):
        return (), False
    parts = [MILLI_PER_GPU] * len(replicas)
    if not whole(claim):
        parts = list(split(claim.milligpu, list(replicas.values())))
    if sum(parts) > claim.milligpu or max(parts) > MILLI_PER_GPU:
        return (), False
    return tuple(Told(-1, u, part) for u, part in zip(replicas, parts, strict=True)), False


def hands(told: Mapping[int, Iterable[Told]], numbered: Iterable[int] = ()) -> dict[int, Hand]:
    """Hands by claim, out of what is told of claims at one moment: who names a card by index and who by UUID agree.

    The same card told twice of one claim is one card. A UUID with two indices, or an index with two UUIDs, at one
    moment is no help in telling which index it is.
    """
    said = {i: tuple(some) for i, some in told.items()}
    indices: dict[str, set[int]] = defaultdict(set)
    uuids: dict[int, set[str]] = defaultdict(set)
    for some in said.values():
        for t in some:
            if t.index >= 0 and t.uuid:
                indices[t.uuid].add(t.index)
                uuids[t.index].add(t.uuid)
    index_of = {u: next(iter(n)) for u, n in indices.items() if len(n) == 1 and len(uuids[next(iter(n))]) == 1}
    found = {}
    own = set(numbered)
    for i, some in said.items():
        cards: dict[Card, int] = {}
        for t in some:
            card = t.index if t.index >= 0 else index_of.get(t.uuid, t.uuid)
            cards[card] = min(MILLI_PER_GPU, max(cards.get(card, 0), t.milligpu))
        if cards:
            found[i] = Hand(cards, i in own)
    return found


def outside(inner: Hand, outer: Hand) -> dict[Card, int]:
    """The cards of one hand that are not among those of another, as far as the two can be compared.

    An index says nothing about cards that are known by UUID alone, nor the other way round.
    """
    kinds = {type(card) for card in outer.cards}
    return {card: n for card, n in inner.cards.items() if type(card) in kinds and card not in outer.cards}


def less(hand: Hand, others: Iterable[Hand], own: int) -> Mapping[Card, int]:
    """What is left of a hand without what ``others`` have of its cards, if that is no more than ``own`` milliGPU.

    If it is more, some of the others' cards are not known, and so it is not known which of these are left.
    """
    left = dict(hand.cards)
    for other in others:
        for card, milligpu in other.cards.items():
            left[card] = max(0, left.get(card, 0) - milligpu)
    left = {card: milligpu for card, milligpu in left.items() if milligpu}
    return left if sum(left.values()) <= own else {}
