"""Which card is in whose hands, for the recorder: the one fact that neither scheduler keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from exporters.join.cards import Card
from exporters.join.site_picture import Picture
from exporters.model import MILLI_PER_GPU, Claim
from exporters.recorder import Holding
from exporters.sources.shares import split


def holdings(picture: Picture) -> list[Holding]:
    """Which card is in whose hands, for the recorder: the one fact that neither scheduler keeps.

    Parts of one claim under several words are one holding of each card. A claim on slices or replicas holds its part of
    each card that its readings name, the remainder of the division on the lowest index.
    """
    uuids = {(c.machine, c.sample.index): c.sample.uuid for c in picture.cards if not c.sample.mig_instance}
    found = {
        Holding(h.machine, *_named(uuids, h.machine, card), h.claim.job, h.claim.unit, MILLI_PER_GPU)
        for h in (*picture.held, *picture.shown)
        for card in h.cards
    }
    return [*sorted(found, key=_place), *_shares(picture)]


def _named(uuids: Mapping[tuple[str, int], str], machine: str, card: Card) -> tuple[int, str]:
    """Index (-1: not known) and UUID (empty: not known) of a card."""
    return (-1, card) if isinstance(card, str) else (card, uuids.get((machine, card), ""))


def _place(holding: Holding) -> tuple[object, ...]:
    return (holding.machine, holding.index, holding.uuid, holding.job, holding.unit)


def _shares(picture: Picture) -> list[Holding]:
    """Parts of cards, in proportion to what readings tell: those of whole cards where there are, else of instances."""
    parts: dict[tuple[str, int], tuple[str, Claim, dict[tuple[int, str], list[int]]]] = {}
    for use in picture.cards:
        for claim, milligpu in use.shares:
            if claim.profile and milligpu > 0:
                _, _, cards = parts.setdefault((use.machine, id(claim)), (use.machine, claim, {}))
                told = cards.setdefault((use.sample.index, use.sample.uuid), [0, 0])
                told[bool(use.sample.mig_instance)] += milligpu
    found = []
    for machine, claim, cards in parts.values():
        weights = [whole or instances for _, (whole, instances) in sorted(cards.items())]
        for (index, uuid), milligpu in zip(sorted(cards), split(claim.milligpu, weights), strict=True):
            found.append(Holding(machine, index, uuid, claim.job, claim.unit, min(milligpu, MILLI_PER_GPU)))
    return sorted(found, key=_place)
