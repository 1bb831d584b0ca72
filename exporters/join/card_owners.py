"""Which cards of a machine its claims are known to hold, and whose each reading is. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporters.join.cards import Card, CardBasis, Hand, card_uuid, whole
from exporters.join.links import Link
from exporters.join.nesting import Nest
from exporters.join.pools import Pool
from exporters.join.samples import card_of
from exporters.model import MILLI_PER_GPU, Claim, Disposition, LinkKind, Sample, Scheduler

Shares = tuple[tuple[Claim, int], ...]
"""Whose a device is: each claim with its milliGPU of it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of whole cards: ``hands`` by position in the claims.

    ``unequal``: on this machine Slurm's numbers for cards are not NVML's indices, as far as anything tells.
    """

    hands: dict[int, Hand]
    unequal: bool = False


def known_hands(
    claims: Sequence[Claim], samples: Sequence[Sample], pools: Sequence[Pool], links: Sequence[Link] = ()
) -> Known:
    """Whole cards known to be held, by position in ``claims``.

    The strongest evidence is taken (`CardBasis`), or a weaker one that tells all of the claim's cards and those of the
    strongest among them. Slurm numbers cards by /dev/nvidiaN and DCGM by NVML's index: that they are equal is assumed
    last, and only while nothing on the machine speaks against it. What is assumed never contradicts what is known: a
    card that somebody unlinked is known to hold is not held by assumption. Evidence for more cards than the claim holds
    is stale and is not used. Shares of a card (MIG, time slicing) are not whole cards: `owners_of_cards` finds their
    readings.
    """
    if not any(whole(c) for c in claims):
        return Known({})
    told = _told(samples)
    lent = {n.inner for n in links if n.kind is LinkKind.LENDS and n.outer >= 0}
    cards, rest = divmod(sum(p.milligpu for p in pools), MILLI_PER_GPU)
    everything = () if rest else tuple(range(cards))
    known: dict[int, Hand] = {}
    sound: dict[int, Hand] = {}  # what is known of them without an assumption
    for i, claim in enumerate(claims):
        candidates = _candidates(claim, told, everything, mapped=i not in lent) if whole(claim) else ()
        for found, some in ((known, candidates), (sound, candidates[:-1])):
            if hand := _strongest(claim, some):
                found[i] = hand
    unequal = told.unequal or any(
        hand.basis in (CardBasis.LABEL, CardBasis.MINOR) and _speaks_against(claims[i], hand)
        for i, hand in sound.items()
        if i not in lent
    )
    family = _families(len(claims), links)
    sure: dict[Card, set[int]] = defaultdict(set)
    for i, hand in sound.items():
        for card in hand.cards:
            sure[card].add(family[i])
    for i, hand in list(known.items()):
        if hand.basis is CardBasis.ASSUMED and i not in lent:
            if not unequal and not any(sure[card] - {family[i]} for card in hand.cards):
                continue
            unequal = True
            del known[i]
            if i in sound:
                known[i] = sound[i]
    return Known(known, unequal)


_Candidates = tuple[tuple[CardBasis, tuple[Card, ...]], ...]


def _candidates(claim: Claim, told: _Told, everything: tuple[int, ...], *, mapped: bool) -> _Candidates:
    """What tells the cards of a claim, the strongest first. ``mapped``: its numbers are those of the machine."""
    slurm = claim.job.scheduler is Scheduler.SLURM
    names = (f"slurm:{claim.native_id}", f"slurm:{_sluid(claim)}") if slurm else (claim.unit, claim.native_id)
    uuids = [told.uuids[u] for u in map(card_uuid, claim.uuids) if u and u in told.uuids]
    labelled = next((told.labels[name] for name in names if name in told.labels), set())
    minors = [told.minors[n] for n in claim.indices if n in told.minors] if slurm and mapped else []
    every = len(everything) * MILLI_PER_GPU == claim.milligpu and set(claim.indices) <= set(everything)
    return (
        (CardBasis.UUID, tuple(uuids)),
        (CardBasis.LABEL, tuple(labelled)),
        (CardBasis.ALL, everything if every else ()),
        (CardBasis.MINOR, tuple(minors) if len(minors) == len(claim.indices) else ()),
        (CardBasis.ASSUMED, claim.indices),
    )


def _strongest(claim: Claim, candidates: _Candidates) -> Hand | None:
    usable = [(basis, cards) for basis, cards in candidates if 0 < len(cards) * MILLI_PER_GPU <= claim.milligpu]
    if not usable:
        return None
    basis, cards = usable[0]
    if len(cards) * MILLI_PER_GPU < claim.milligpu:
        wider = (u for u in usable[1:] if set(cards) <= set(u[1]) and len(u[1]) * MILLI_PER_GPU == claim.milligpu)
        basis, cards = next(wider, (basis, cards))
    by_number = basis in (CardBasis.LABEL, CardBasis.ASSUMED) and claim.job.scheduler is Scheduler.SLURM
    numbered = by_number and all(isinstance(card, int) for card in cards)
    return Hand(dict.fromkeys(sorted(cards, key=by_index), MILLI_PER_GPU), numbered, basis)


def _speaks_against(claim: Claim, hand: Hand) -> bool:
    """Whether a Slurm job is known to be on cards with other indices than its own numbers."""
    indices = {card for card in hand.cards if isinstance(card, int)}
    return claim.job.scheduler is Scheduler.SLURM and bool(claim.indices) and not indices <= set(claim.indices)


def _families(count: int, links: Sequence[Link]) -> list[int]:
    """Claims that live inside one another, however far, have the same number."""
    family = list(range(count))
    for link in links:
        if link.outer >= 0:
            one, other = family[link.inner], family[link.outer]
            family = [one if f == other else f for f in family]
    return family


def _sluid(claim: Claim) -> str:
    """What the cgroups of a job are named by from Slurm 26.05 on; a resize adds ``@<Submit>`` to its run only."""
    return claim.job.id.partition("@")[0]


@dataclass(frozen=True, slots=True)
class _Told:
    """Cards by their UUID, by the pods and jobs that their readings name, and by their minor number.

    ``unequal``: a minor number is not the card's index.
    """

    uuids: Mapping[str, Card]
    labels: Mapping[str, set[Card]]
    minors: Mapping[int, Card]
    unequal: bool


def _told(samples: Sequence[Sample]) -> _Told:
    labels: dict[str, set[Card]] = defaultdict(set)
    cards = [s for s in samples if not s.mig_instance]
    for s in cards:
        for namespace, name, uid in s.pods:
            labels[uid or f"{namespace}/{name}"].add(card_of(s))
            labels[f"{namespace}/{name}"].add(card_of(s))
        for job in s.hpc_jobs:
            labels[f"slurm:{job}"].add(card_of(s))
    return _Told(
        {s.uuid: card_of(s) for s in samples if s.uuid},
        labels,
        {s.minor: card_of(s) for s in cards if s.minor >= 0 and s.uuid},
        any(s.minor >= 0 and s.index >= 0 and s.minor != s.index for s in cards),
    )


def by_index(card: Card) -> tuple[bool, Card]:
    """Cards with an index first, in their order."""
    return (isinstance(card, str), card)


def owners_of_cards(
    claims: Sequence[Claim], nested: Nest, cards: Mapping[int, Sequence[Card]], samples: Sequence[Sample]
) -> list[Shares]:
    """Whose each reading is. A card inside a job inside a pod is the job's; shares of a device are in its milliGPU."""
    owners: dict[Card, set[int]] = defaultdict(set)
    for leaf in nested.leaves:
        if leaf.disposition is Disposition.CHARGED:
            inner = {c for k, n in nested.within.items() if n.outer == leaf.owner for c in cards.get(k, ())}
            remainder = leaf.milligpu < claims[leaf.owner].milligpu
            for card in cards.get(leaf.owner, ()):
                if not (remainder and card in inner):
                    owners[card].add(leaf.owner)
    shares: dict[int, list[tuple[Claim, int]]] = defaultdict(list)
    for leaf in nested.leaves:
        if claims[leaf.owner].profile:
            for n, milligpu in _shares(claims[leaf.owner], samples).items():
                shares[n].append((claims[leaf.owner], milligpu))
    uses = []
    for n, s in enumerate(samples):
        whole = [] if s.mig_instance else sorted(owners.get(card_of(s), ()))
        found = [(claims[i], MILLI_PER_GPU) for i in whole] + shares[n]
        uses.append(tuple(found) if len(whole) < 2 else ())
    return uses


def _shares(claim: Claim, samples: Sequence[Sample]) -> dict[int, int]:
    """Positions of the readings of a claim on shares of cards, and its milliGPU of each device.

    Of a card cut by MIG there is one reading per instance (what its engines did) and one of the whole card (what it
    drew): both are the claim's, the card's by the part of its instances that lie on it.
    """
    mine = [n for n, s in enumerate(samples) if _labelled(claim, s)]
    instances = [n for n in mine if samples[n].mig_instance]
    if not instances:
        return {n: claim.milligpu // len(mine) for n in mine}
    shares = {n: claim.milligpu // len(instances) for n in instances}
    cards = Counter(samples[n].uuid for n in instances)
    for n, s in enumerate(samples):
        if not s.mig_instance and s.uuid in cards:
            shares[n] = claim.milligpu * cards[s.uuid] // len(instances)
    return shares


def _labelled(claim: Claim, sample: Sample) -> bool:
    """Whether a reading names this claim's pod, or its MIG device."""
    if claim.uuids and sample.uuid in claim.uuids:
        return True
    return any(uid == claim.unit or f"{ns}/{name}" == claim.native_id for ns, name, uid in sample.pods)
