"""Rows about the health of cards and of machines, as in `exporters.series.view`."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from exporters.exposition.family import Row
from exporters.model import Field
from exporters.series.view import Rows, View, card_name, columns


def card(field: Field) -> Rows:
    """One field of every card that tells it. Of a card cut by MIG only what is told of the whole card.

    An XID is told of an instance: the card's is then the largest of theirs, so that any error shows.
    """

    def rows(view: View) -> Iterable[Row]:
        cards = view.picture.devices.whole_cards
        values = view.picture.table.column(field)
        if cards.unique and (cards.every or field is not Field.XID):
            values = values[cards.devices]
            return columns(cards.labels, values, ~np.isnan(values))
        found: dict[tuple[str, ...], float] = {}
        for use, value in zip(view.picture.cards, values.tolist(), strict=True):
            if not math.isnan(value) and (not use.sample.mig_instance or field is Field.XID):
                name = card_name(use)
                found[name] = max(value, found.get(name, value))
        return list(found.items())

    return rows


def switches(view: View) -> Iterable[Row]:
    """What the NVSwitches of each machine reported: it stands with one of the machine's cards."""
    found: dict[tuple[str, ...], float] = {}
    for field, severity in ((Field.SXID_FATAL, "fatal"), (Field.SXID_NONFATAL, "nonfatal")):
        values = view.picture.table.column(field)
        for n in np.flatnonzero(~np.isnan(values)).tolist():
            labels = (view.picture.cards[n].machine, severity)
            found[labels] = max(float(values[n]), found.get(labels, 0.0))
    return list(found.items())


def scheduler_up(view: View) -> Iterable[Row]:
    """Whether each scheduler says that a machine takes work."""
    return [(labels, float(up)) for labels, up in view.picture.nodes_up.items()]
