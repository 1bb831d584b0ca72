"""Rows about the health of cards and of machines, as in `exporters.view`."""

from __future__ import annotations

from collections.abc import Iterable

from exporters.exposition.family import Row
from exporters.model import Field
from exporters.view import Rows, View


def card(field: Field) -> Rows:
    """One field of every card that tells it. Of a card cut by MIG only what is told of the whole card.

    An XID is told of an instance: the card's is then the largest of theirs, so that any error shows.
    """

    def rows(view: View) -> Iterable[Row]:
        found: dict[tuple[str, ...], float] = {}
        for use in view.picture.cards:
            s = use.sample
            value = s.values.get(field)
            if value is None or (s.mig_instance and field is not Field.XID):
                continue
            name = (use.machine, str(s.index) if s.index >= 0 else "", s.uuid)
            found[name] = max(value, found.get(name, value))
        return list(found.items())

    return rows


def scheduler_up(view: View) -> Iterable[Row]:
    """Whether each scheduler says that a machine takes work."""
    return [(labels, float(up)) for labels, up in view.picture.nodes_up.items()]
