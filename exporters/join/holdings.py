"""Which card is in whose hands, for the recorder: the one fact that neither scheduler keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from exporters.join.cards import Card
from exporters.join.site_picture import Picture
from exporters.model import MILLI_PER_GPU, Claim, Sample
from exporters.recorder import Holding
from exporters.sources.shares import split


def holdings(picture: Picture) -> list[Holding]:
    """Which card is in whose hands, for the recorder: the one fact that neither scheduler keeps.

    Parts of one claim under several words are one holding of each card. A claim on slices or replicas holds its part of
    each card that its readings name, the remainder of the division on the lowest index.

    A holding's index is Slurm's number for the card, so that it can be compared with what Slurm's own records say: on a
    machine where that is not NVML's index it is the card's minor number, or not told.
    """
    read = {(c.machine, c.sample.index): c.sample for c in picture.cards if not c.sample.mig_instance}
    found = {
        Holding(h.machine, *_named(read, picture, h.machine, card), h.claim.job, h.claim.unit, MILLI_PER_GPU)
        for h in (*picture.held, *picture.shown)
        for card in h.cards
    }
    return [*sorted(found, key=_place), *_shares(picture)]


def _named(read: Mapping[tuple[str, int], Sample], picture: Picture, machine: str, card: Card) -> tuple[int, str]:
    """Slurm's number (-1: not known) and UUID (empty: not known) of a card."""
    if isinstance(card, str):
        return -1, card
    sample = read.get((machine, card))
    return (card, "") if sample is None else (_number(picture, machine, sample), sample.uuid)


def _number(picture: Picture, machine: str, sample: Sample) -> int:
    return sample.minor if machine in picture.unequal or sample.index < 0 else sample.index


def _place(holding: Holding) -> tuple[object, ...]:
    return (holding.machine, holding.index, holding.uuid, holding.job, holding.unit)


def _shares(picture: Picture) -> list[Holding]:
    """Parts of cards, in proportion to what readings tell: those of whole cards where there are, else of instances."""
    parts: dict[tuple[str, int], tuple[str, Claim, dict[tuple[int, str], list[int]]]] = {}
    for use in picture.cards:
        for claim, milligpu in use.shares:
            if claim.profile and milligpu > 0:
                _, _, cards = parts.setdefault((use.machine, id(claim)), (use.machine, claim, {}))
                place = (_number(picture, use.machine, use.sample), use.sample.uuid)
                told = cards.setdefault(place, [0, 0])
                told[bool(use.sample.mig_instance)] += milligpu
    found = []
    for machine, claim, cards in parts.values():
        weights = [whole or instances for _, (whole, instances) in sorted(cards.items())]
        for (index, uuid), milligpu in zip(sorted(cards), split(claim.milligpu, weights), strict=True):
            found.append(Holding(machine, index, uuid, claim.job, claim.unit, min(milligpu, MILLI_PER_GPU)))
    return sorted(found, key=_place)
