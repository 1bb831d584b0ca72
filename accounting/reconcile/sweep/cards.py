"""Known cards, for many claims at once: where they may make a difference to counting, the scalar rules must decide.

As long as no card has more on it than it has, and who is inside another is on the other's cards, the postings are those
of counting. So it is enough to find the stretches in which that may not be so; if in doubt, it may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from accounting.arrays import Codes, Flags, Ints
from accounting.reconcile.sweep.chunk import Chunk
from accounting.reconcile.sweep.grid import each
from accounting.reconcile.sweep.links.link_stretches import LinkStretches
from accounting.reconcile.sweep.site_columns import INSIDE, LENDS, SAME, STAND_IN, Seen, nothing_seen
from accounting.reconcile.sweep.time_cells import Windows
from exporters.model import MILLI_PER_GPU


class Told(NamedTuple):
    """What is told of the cards of rows, one entry per card and stretch, in any order.

    ``number`` is the card's index on its machine, ``uuid`` the code of a UUID; -1: not told. ``named`` are cards that
    the claim itself names (`exporters.join.cards.named`), which it does for its whole time; the others were seen live.
    """

    row: Ints
    start: Ints
    end: Ints
    number: Ints
    uuid: Ints
    milligpu: Ints
    named: Flags


class Claimed(NamedTuple):
    """The columns of a site that matter to its cards, as in `accounting.reconcile.sweep.site_columns.Columns`."""

    first: Ints
    unit: Codes
    start: Ints
    end: Ints
    milligpu: Ints


def seen(claimed: Claimed, told: Told) -> Seen:
    """The cards that claims are known to hold, out of all that is told of them."""
    start, end = np.maximum(told.start, claimed.start[told.row]), np.minimum(told.end, claimed.end[told.row])
    kept = np.flatnonzero(start < end)
    if not len(kept):
        return nothing_seen()
    told = Told._make(column[kept] for column in told._replace(start=start, end=end))
    machine = np.searchsorted(claimed.first, told.row, side="right") - 1
    card, mixed = _cards(machine, told)
    unsure = np.zeros(len(claimed.unit), dtype=bool)
    unsure[told.row[mixed]] = True
    unsure[_several(claimed)] = True
    unsure[_contradicting(claimed, told, card)] = True
    milligpu = np.where(mixed, MILLI_PER_GPU + 1, np.minimum(told.milligpu, MILLI_PER_GPU))
    return _joined(told, card, milligpu, unsure)


def _cards(machine: Ints, told: Told) -> tuple[Ints, Flags]:
    """Which card each entry is about, by machine; and whether that is a matter of the moment: its machine has a card of
    which the index or the UUID was another at another time.
    """
    both = np.flatnonzero((told.number >= 0) & (told.uuid >= 0))
    pairs = np.unique(np.stack([machine[both], told.number[both], told.uuid[both]], axis=1), axis=0)
    by_uuid = pairs[np.lexsort((pairs[:, 1], pairs[:, 2], pairs[:, 0]))]
    again = [(p[1:, 0] == p[:-1, 0]) & (p[1:, c] == p[:-1, c]) for p, c in ((pairs, 1), (by_uuid, 2))]
    mixed = np.isin(machine, np.concatenate([pairs[1:, 0][again[0]], by_uuid[1:, 0][again[1]]]))
    width = int(told.uuid.max(initial=-1)) + 2
    known, wanted = by_uuid[:, 0] * width + by_uuid[:, 2], machine * width + told.uuid
    at = np.minimum(np.searchsorted(known, wanted), max(0, len(known) - 1))
    found = known[at] == wanted if len(known) else np.zeros(len(wanted), dtype=bool)
    other = int(told.number.max(initial=-1)) + 1 + told.uuid
    if len(known):
        other = np.where(found, by_uuid[at, 1], other)
    return np.where(told.number >= 0, told.number, other), mixed


def _several(claimed: Claimed) -> Ints:
    """Rows of units that have several on their machine."""
    machine = np.repeat(np.arange(len(claimed.first) - 1), np.diff(claimed.first))
    order = np.lexsort((claimed.unit, machine))
    same = (machine[order][1:] == machine[order][:-1]) & (claimed.unit[order][1:] == claimed.unit[order][:-1])
    return np.concatenate([order[1:][same], order[:-1][same]])


def _contradicting(claimed: Claimed, told: Told, card: Ints) -> Ints:
    """Rows of which more is told than they hold, or other cards by themselves than were seen."""
    order = np.lexsort((card, told.row))
    row, cards, named = told.row[order], card[order], told.named[order]
    first = np.flatnonzero(np.append(True, (row[1:] != row[:-1]) | (cards[1:] != cards[:-1])))
    most = np.maximum.reduceat(told.milligpu[order], first)
    rows = len(claimed.unit)
    held = np.bincount(row[first], most, rows)
    by_word = np.bincount(row[first], np.logical_or.reduceat(named, first), rows)
    by_sight = np.bincount(row[first], np.logical_or.reduceat(~named, first), rows)
    differ = (by_word > 0) & (by_sight > 0) & ((by_word != by_sight) | (by_word != np.bincount(row[first], None, rows)))
    return np.flatnonzero((held > claimed.milligpu) | differ)


def _joined(told: Told, card: Ints, milligpu: Ints, unsure: Flags) -> Seen:
    """Stretches of one row and card that touch, as one."""
    order = np.lexsort((told.start, card, told.row))
    row, card, start, end, milligpu = (c[order] for c in (told.row, card, told.start, told.end, milligpu))
    changed = np.append(True, (row[1:] != row[:-1]) | (card[1:] != card[:-1]))
    times = np.unique(np.concatenate([start, end]))  # an open end is too large a number to be packed
    group = np.cumsum(changed) * len(times)
    reach = np.maximum.accumulate(group + np.searchsorted(times, end))
    changed[1:] |= group[1:] + np.searchsorted(times, start[1:]) > reach[:-1]
    first = np.flatnonzero(changed)
    last = np.append(first[1:], len(row)) - 1
    most = np.maximum.reduceat(milligpu, first)
    over = times[reach[last] - group[last]]
    return Seen(row[first], start[first], over, card[first], most, unsure[row[first]])


def card_windows(chunk: Chunk, lots: Sequence[LinkStretches]) -> Windows:
    """Where known cards may make a difference in a chunk."""
    site = chunk.seen()
    if not len(site.row):
        nothing = np.empty(0, dtype=np.int64)
        return Windows(nothing, nothing, nothing)
    known = np.zeros(len(chunk.machine), dtype=bool)
    known[site.row] = True
    doubted = np.zeros(len(chunk.machine), dtype=bool)
    doubted[site.row[site.unsure]] = True
    held, kind, outer = _by_stretch(site, [lot.take(known[lot.row] & (lot.kind != STAND_IN)) for lot in lots])
    inner = (outer >= 0) & known[outer]
    covered = inner.copy()
    covered[inner] = _covered(site, held.take(inner), outer[inner])
    bound = inner & ((kind == LENDS) | (kind == INSIDE))
    apart = bound & (~covered | doubted[outer])
    own = (kind < 0) | ((kind != INSIDE) & (outer >= 0) & ~known[outer]) | ((kind == SAME) & inner & ~covered)
    beside = inner & (kind != INSIDE)
    machine = chunk.machine[held.row]
    stretches = [
        (machine[apart], held.start[apart], held.end[apart]),
        _too_much(machine[own], machine[own], held.take(own)),
        _too_much(outer[beside], machine[beside], held.take(beside)),
    ]
    return Windows(*(np.concatenate(columns) for columns in zip(*stretches, strict=True)))


class _Held(NamedTuple):
    """Cards in the hands of rows, in seconds of the period."""

    row: Ints
    start: Ints
    end: Ints
    card: Ints
    milligpu: Ints

    def take(self, which: Flags) -> _Held:
        return _Held._make(column[which] for column in self)


def _by_stretch(site: Seen, lots: Sequence[LinkStretches]) -> tuple[_Held, Ints, Ints]:
    """What is seen, cut where the rows' stretches are; with the kind and the outer row of the stretch."""
    row, start, end, kind, outer = (
        np.concatenate([getattr(lot, name) for lot in lots]) for name in ("row", "start", "end", "kind", "outer")
    )
    order = np.argsort(row, kind="stable")
    first = np.searchsorted(row[order], site.row)
    entry, nth = each(np.searchsorted(row[order], site.row, side="right") - first)
    stretch = order[first[entry] + nth]
    begin, stop = np.maximum(site.start[entry], start[stretch]), np.minimum(site.end[entry], end[stretch])
    some = np.flatnonzero(begin < stop)
    entry, stretch = entry[some], stretch[some]
    held = _Held(site.row[entry], begin[some], stop[some], site.card[entry], site.milligpu[entry])
    return held, kind[stretch].astype(np.int64), outer[stretch]


def _covered(site: Seen, inner: _Held, outer: Ints) -> Flags:
    """Whether the outer row is seen on the card as long as the inner one is."""
    cards = int(max(site.card.max(), inner.card.max(initial=0))) + 1
    group, place = np.unique(site.row * cards + site.card, return_inverse=True)
    wanted = outer * cards + inner.card
    at = np.minimum(np.searchsorted(group, wanted), len(group) - 1)
    there = group[at] == wanted
    zero, width = int(site.start.min()), int(max(site.end.max(), inner.end.max(initial=0)) - site.start.min()) + 2
    begins = place * width + site.start - zero  # ascending, as what is seen is sorted by row, card and start
    before = np.searchsorted(begins, at * width + np.maximum(inner.start - zero, -1), side="right") - 1
    entry = np.maximum(before, 0)
    found: Flags = there & (before >= 0) & (place[entry] == at) & (site.end[entry] >= inner.end)
    return found


def _too_much(group: Ints, machine: Ints, held: _Held) -> tuple[Ints, Ints, Ints]:
    """Where more is held of a card by one group than it has: machine, start and end."""
    both = np.concatenate
    group, machine, card = (both([column, column]) for column in (group, machine, held.card))
    time, change = both([held.start, held.end]), both([held.milligpu, -held.milligpu])
    order = np.lexsort((change, time, card, group))
    group, card, time, machine = group[order], card[order], time[order], machine[order]
    over = np.cumsum(change[order])[:-1] > MILLI_PER_GPU
    over &= (group[1:] == group[:-1]) & (card[1:] == card[:-1]) & (time[1:] > time[:-1])
    at = np.flatnonzero(over)
    return machine[at], time[at], time[at + 1]
