"""The cards that a day's claims are known to hold, as `accounting.reconcile.sweep` takes them: seen live, or named by a
claim.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from accounting.arrays import Ints
from accounting.evidence.claim_rows import Codes
from accounting.evidence.known_cards import unit_of
from accounting.evidence.site_day import SiteDay
from accounting.model import HoldingStretch
from accounting.reconcile.sweep.cards import Claimed, Told, seen
from accounting.reconcile.sweep.site_columns import Seen, nothing_seen
from exporters.join.cards import named

Holdings = Callable[[int, int, int], Sequence[HoldingStretch]]
"""What was seen of the cards of one machine's units within a stretch, clipped to it."""

_Entry = tuple[int, int, int, int, str, int, bool]


def cards_of(day: SiteDay, which: Sequence[int], rows: Ints, first: Ints) -> tuple[Seen, Holdings | None]:
    """What is known of the cards of ``rows`` of a day; those of the machine ``which[m]`` are ``first[m]:first[m + 1]``.

    None where no card was seen live.
    """
    held = [day.machines[m].holdings for m in which]
    some = day.rows.after_each_other(rows)
    told = [*_seen_live(day, held, rows, first), *_named(day, rows, np.flatnonzero(some.named))]
    if not told:
        return nothing_seen(), None
    row, start, end, number, uuid, milligpu, by_word = zip(*told, strict=True)
    numbers = [np.array(column, dtype=np.int64) for column in (row, start, end, number, milligpu)]
    uuids = np.where(np.array(uuid, dtype=np.object_) == "", -1, Codes().of(uuid))
    rows_, starts, ends, cards, amounts = numbers
    known = Told(rows_, starts, ends, cards, uuids, amounts, np.array(by_word, dtype=bool))
    unit = Codes().of(some.unit.tolist()).astype(np.int32)
    claimed = Claimed(first, unit, some.start, some.end, some.milligpu)
    return seen(claimed, known), _clipping(held) if any(held) else None


def _seen_live(day: SiteDay, held: Sequence[Sequence[HoldingStretch]], rows: Ints, first: Ints) -> Iterator[_Entry]:
    """What was seen of each row's unit on its machine."""
    units = day.world.reader.units
    for m, stretches in enumerate(held):
        if not stretches:
            continue
        of: dict[Any, list[int]] = defaultdict(list)
        here = range(int(first[m]), int(first[m + 1]))
        for row, unit in zip(here, units(day.rows, rows[here.start : here.stop]), strict=True):
            of[unit].append(row)
        for h in stretches:
            for row in of.get(unit_of(h.job, h.unit), ()):
                yield row, h.start, h.end, h.index, h.uuid, h.milligpu, False


def _named(day: SiteDay, rows: Ints, which: Ints) -> Iterator[_Entry]:
    """What claims say of their own cards."""
    for row in which.tolist():
        number = int(rows[row])
        for t in named(day.claim(number))[0]:
            yield row, int(day.rows.start[number]), int(day.rows.end[number]), t.index, t.uuid, t.milligpu, True


def _clipping(held: Sequence[Sequence[HoldingStretch]]) -> Holdings:
    def clipped(machine: int, a: int, b: int) -> list[HoldingStretch]:
        found = (h for h in held[machine] if h.start < b and h.end > a)
        return [replace(h, start=max(a, h.start), end=min(b, h.end)) for h in found]

    return clipped
