"""Machines' time, cut into cells in which nothing but claims changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from accounting.arrays import Flags, Ints, distinct
from accounting.model import DAY


@dataclass(frozen=True, slots=True)
class TimeCells:
    """Cells by machine and start, gapless over the period, none beyond a midnight; times are seconds of the period.

    ``day`` counts UTC days from the one in which the period starts. ``situation`` is a code of what is so in the cell,
    ``pools`` of its pools (`PoolTable`; 0: there are none), ``rest`` the account of cards that nobody holds, ``why``
    the code of its reason (without pools: of the reason why a claim finds no cards). In a cell with ``skip`` the scalar
    rules decide.
    """

    machine: Ints
    start: Ints
    end: Ints
    day: Ints
    situation: Ints
    pools: Ints
    rest: Ints
    why: Ints
    skip: Flags

    def take(self, which: Ints | Flags) -> TimeCells:
        """Some of the cells."""
        return TimeCells(*(getattr(self, name)[which] for name in self.__slots__))


class Windows(NamedTuple):
    """Stretches of machines' time, in seconds of the period."""

    machine: Ints
    start: Ints
    end: Ints


def refined(cells: TimeCells, windows: Windows, length: int) -> TimeCells:
    """The cells, cut further at the borders of windows; those inside a window are to be skipped."""
    bits = length.bit_length()
    key = (cells.machine << bits) | cells.start
    opens, closes = (windows.machine << bits) | windows.start, (windows.machine << bits) | windows.end
    every = distinct(key, opens, closes[windows.end < length])
    source = np.searchsorted(key, every, side="right") - 1
    start = every & ((1 << bits) - 1)
    end = cells.end[source]
    inner = source[1:] == source[:-1]
    end[:-1][inner] = start[1:][inner]
    depth = np.zeros(len(every) + 1, dtype=np.int64)
    np.add.at(depth, np.searchsorted(every, opens), 1)
    np.add.at(depth, np.searchsorted(every, closes), -1)
    skip = cells.skip[source] | (np.cumsum(depth)[:-1] > 0)
    return replace(cells.take(source), start=start, end=end, skip=skip)


def coarse(cells: TimeCells) -> TimeCells:
    """Neighbours that differ only in what their free cards are, as one: all that matters to what is held."""
    changed = np.zeros(len(cells.start), dtype=bool)
    changed[:1] = True
    lost = np.where(cells.pools == 0, cells.why, 0)
    for column in (cells.machine, cells.day, cells.pools, cells.skip, lost):
        changed[1:] |= column[1:] != column[:-1]
    first = np.flatnonzero(changed)
    return replace(cells.take(first), end=cells.end[np.append(first[1:], len(changed)) - 1])


def by_day(machine: Ints, start: Ints, end: Ints, situation: Ints, states: Ints, offset: int) -> TimeCells:
    """Cut stretches at midnight."""
    first = (start + offset) // DAY
    count = (end - 1 + offset) // DAY - first + 1
    of = np.repeat(np.arange(len(start)), count)
    day = first[of] + np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    a, b = np.maximum(start[of], day * DAY - offset), np.minimum(end[of], (day + 1) * DAY - offset)
    pools, rest, why = states[of].T
    return TimeCells(machine[of], a, b, day, situation[of], pools, rest, why, np.zeros(len(of), dtype=bool))
