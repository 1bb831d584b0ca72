"""Intervals on machines, cut by a grid of cells on those machines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accounting.arrays import Flags, Ints
from accounting.model import DAY
from accounting.reconcile.sweep.time_cells import TimeCells


class Cut(NamedTuple):
    """Pieces of intervals: piece ``i`` is ``[start, end)`` of interval ``of[i]``, within cell ``cell[i]``.

    Each interval's first piece is at the interval's own place; further ones come after all of those.
    """

    of: Ints
    cell: Ints
    start: Ints
    end: Ints


class Grid:
    """The cells of ``machines`` machines over ``[0, length)``, ready to be searched.

    ``offset`` is how far into its UTC day second 0 lies. A machine whose cells are just days is looked up by division,
    the others by search.
    """

    def __init__(self, cells: TimeCells, machines: int, length: int, offset: int) -> None:
        self.start, self.end, self.offset = cells.start, cells.end, offset
        self.bits = length.bit_length()
        self.key = (cells.machine << self.bits) | cells.start
        self.first = np.searchsorted(cells.machine, np.arange(machines + 1))
        days = -(-(length + offset) // DAY)
        self.daily: Flags = np.diff(self.first) == days  # cells never span midnight: as many as days are the days
        self.all_daily = bool(self.daily.all())

    def find(self, machine: Ints, moment: Ints) -> Ints:
        """The cell in which each moment lies."""
        found: Ints = self.first[machine] + (moment + self.offset) // DAY
        if not self.all_daily:
            other = np.flatnonzero(~self.daily[machine])
            key = (machine[other] << self.bits) | moment[other]
            found[other] = np.searchsorted(self.key, key, side="right") - 1
        return found

    def cut(self, machine: Ints, start: Ints, end: Ints) -> Cut:
        """Cut non-empty intervals at the borders of the cells."""
        return spread(self.find(machine, start), self.find(machine, end - 1), start, end, self.start, self.end)


def spread(first: Ints, last: Ints, start: Ints, end: Ints, cell_start: Ints, cell_end: Ints) -> Cut:
    """The pieces of intervals, given the cells in which each begins and ends."""
    rows = np.arange(len(first))
    longer = np.flatnonzero(last > first)
    if not len(longer):
        return Cut(rows, first, start, end)
    of, nth = each(last[longer] - first[longer])
    of = longer[of]
    cell = np.concatenate([first, first[of] + 1 + nth])
    of = np.concatenate([rows, of])
    return Cut(of, cell, np.maximum(start[of], cell_start[cell]), np.minimum(end[of], cell_end[cell]))


def each(count: Ints) -> tuple[Ints, Ints]:
    """Every item as often as it counts: its position, and which repetition it is."""
    of = np.repeat(np.arange(len(count)), count)
    return of, np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
