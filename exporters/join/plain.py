"""The plain case of a machine, which is most of a fleet: every claim names its own whole cards, each card one claim's.

Nothing is nested, divided or looked for there, so nothing of `exporters.join.links`, `exporters.join.nesting` and
`exporters.join.occupancy` is asked; they would say the same (a property holds the two together). With jobs that come
and go fast, this is what a join is mostly made of. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporters.join.cards import Card, CardBasis
from exporters.join.samples import card_of
from exporters.join.site_picture import Held
from exporters.model import MILLI_PER_GPU, Claim, Disposition, Sample
from exporters.thawed import thawed

_held = thawed(Held)


def plain_cards(claims: Sequence[Claim], capacity: int, samples: Sequence[Sample]) -> dict[Card, Claim] | None:
    """Whose each card is; None where a claim has a key or a share, or names other than so many cards as it holds.

    Also None where two claims name one card, or all together hold more than ``capacity`` milliGPU, and where a reading
    names a job or a card's number: that is evidence, and has to be compared.
    """
    if any(s.hpc_jobs or s.minor >= 0 for s in samples):
        return None
    owners: dict[Card, Claim] = {}
    held = 0
    for claim in claims:
        if claim.keys or claim.profile or claim.milligpu != MILLI_PER_GPU * len(claim.indices) or not claim.indices:
            return None
        held += claim.milligpu
        for card in claim.indices:
            owners[card] = claim
    return owners if held == MILLI_PER_GPU * len(owners) <= capacity else None


def plain_parts(machine: str, model: str, capacity: int, claims: Sequence[Claim]) -> list[Held]:
    """What each claim holds, in their order."""
    charged, none = Disposition.CHARGED, None
    return [
        _held(
            machine, model, c, charged, c.milligpu, tuple(sorted(c.indices)), none, none, none, "", _basis(c, capacity)
        )
        for c in claims
    ]


def _basis(claim: Claim, capacity: int) -> CardBasis:
    """How its cards are known: it has them all, or its own numbers are believed."""
    every = claim.milligpu == capacity and min(claim.indices) >= 0 and max(claim.indices) * MILLI_PER_GPU < capacity
    return CardBasis.ALL if every else CardBasis.ASSUMED


def plain_owners(owners: Mapping[Card, Claim], samples: Sequence[Sample]) -> list[tuple[tuple[Claim, int], ...]]:
    """Whose each reading is, as `exporters.join.card_owners.owners_of_cards`."""
    found = [None if s.mig_instance else owners.get(card_of(s)) for s in samples]
    return [((claim, MILLI_PER_GPU),) if claim is not None else () for claim in found]
