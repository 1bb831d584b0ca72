"""Which cards of a machine its claims are known to hold, and whose each reading is. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from exporters.join.cards import Card, Hand, card_uuid, whole
from exporters.join.nesting import Nest
from exporters.join.pools import Pool
from exporters.join.samples import card_of
from exporters.model import MILLI_PER_GPU, Claim, Disposition, Sample, Scheduler

Shares = tuple[tuple[Claim, int], ...]
"""Whose a device is: each claim with its milliGPU of it."""


def known_hands(claims: Sequence[Claim], samples: Sequence[Sample], pools: Sequence[Pool]) -> dict[int, Hand]:
    """Whole cards known to be held, by position in ``claims``.

    From the scheduler's own index, else the card's UUID, else the pod or job label on a reading; a claim on every card
    of the machine needs no evidence. Evidence for more cards than the claim holds is stale and is not used. Shares of a
    card (MIG, time slicing) are not whole cards: `card_uses` finds their readings.
    """
    by_uuid, by_label = _told(samples) if any(whole(c) and not c.indices for c in claims) else ({}, {})
    everything = tuple(range(sum(p.milligpu for p in pools) // MILLI_PER_GPU))
    known: dict[int, Hand] = {}
    for i, claim in enumerate(claims):
        if not whole(claim):
            continue
        slurm = claim.job.scheduler is Scheduler.SLURM
        labels = (f"slurm:{claim.native_id}", f"slurm:{_sluid(claim)}") if slurm else (claim.unit, claim.native_id)
        candidates: tuple[tuple[Card, ...], ...] = (
            (claim.indices,)
            if claim.indices
            else (
                tuple(by_uuid[u] for u in map(card_uuid, claim.uuids) if u and u in by_uuid),
                next((tuple(by_label[label]) for label in labels if label in by_label), ()),
                everything if len(everything) * MILLI_PER_GPU == claim.milligpu else (),
            )
        )
        found = next((c for c in candidates if c), ())
        if 0 < len(found) * MILLI_PER_GPU <= claim.milligpu:
            by_number = slurm and all(isinstance(card, int) for card in found)
            known[i] = Hand(dict.fromkeys(sorted(found, key=by_index), MILLI_PER_GPU), by_number)
    return known


def _sluid(claim: Claim) -> str:
    """What the cgroups of a job are named by from Slurm 26.05 on; a resize adds ``@<Submit>`` to its run only."""
    return claim.job.id.partition("@")[0]


def _told(samples: Sequence[Sample]) -> tuple[dict[str, Card], dict[str, set[Card]]]:
    """Cards by their UUID, and by the pods and jobs that their readings name."""
    by_uuid = {s.uuid: card_of(s) for s in samples}
    by_label: dict[str, set[Card]] = defaultdict(set)
    for s in samples:
        if not s.mig_instance:
            for namespace, name, uid in s.pods:
                by_label[uid or f"{namespace}/{name}"].add(card_of(s))
                by_label[f"{namespace}/{name}"].add(card_of(s))
            for job in s.hpc_jobs:
                by_label[f"slurm:{job}"].add(card_of(s))
    return by_uuid, by_label


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
