"""Containers of claims, cut into cells: a machine's pools, and claims that hold others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accounting.arrays import Ints
from accounting.reconcile.sweep.columns import INSIDE, LENDS, SAME
from accounting.reconcile.sweep.counting.part import Part
from accounting.reconcile.sweep.grid import Cut, Grid, each, spread
from accounting.reconcile.sweep.links.link_stretches import Legs
from accounting.reconcile.sweep.time_cells import Cells, Windows


class Boxes(NamedTuple):
    """Cells of containers; ``box`` numbers the container, ``cell`` is an index into the part's cells.

    ``holder`` is an index into the part's holders (-1: it is a pool), ``pool`` one into its pools (-1: a holder).
    ``size`` is how many milliGPU fit in. With ``cell`` -1 it is no cell, but the second at which the container ends.
    """

    box: Ints
    start: Ints
    cell: Ints
    holder: Ints
    pool: Ints
    size: Ints


class Contents(NamedTuple):
    """What is in which container, when: ``milligpu`` over ``[start, end)``."""

    box: Ints
    start: Ints
    end: Ints
    milligpu: Ints


class Epochs:
    """Stretches of a machine's time over which its pools are the same ones. Each pool of an epoch is a container."""

    def __init__(self, part: Part, cells: Cells, grid: Grid) -> None:
        self.part, self.cells, self.grid = part, cells, grid
        changed = np.ones(len(cells.start), dtype=bool)
        changed[1:] = (cells.machine[1:] != cells.machine[:-1]) | (cells.pools[1:] != cells.pools[:-1])
        first = np.flatnonzero(changed)
        self.of_cell = np.cumsum(changed) - 1
        self.start = cells.start[first]
        self.end = cells.end[np.append(first[1:], len(changed)) - 1]
        self.pools = cells.pools[first]
        self.count = part.pools.count[self.pools]
        self.box = np.cumsum(self.count) - self.count
        self.boxes = int(self.count.sum())
        self.first = np.searchsorted(cells.machine[first], np.arange(part.machines + 1))
        self.changing = np.diff(self.first) > 1
        self.several = bool((self.count > 1).any())

    def cut(self, machine: Ints, start: Ints, end: Ints) -> Cut:
        """Cut intervals at the borders of epochs; in the result, cells are epochs."""
        first = self.first[machine]
        last = first
        if self.changing.any():
            some = np.flatnonzero(self.changing[machine])
            last = first.copy()
            first[some] = self.of_cell[self.grid.find(machine[some], start[some])]
            last[some] = self.of_cell[self.grid.find(machine[some], end[some] - 1)]
        return spread(first, last, start, end, self.start, self.end)

    def cells_of_pools(self) -> Boxes:
        """The containers that are pools, cell by cell, and their ends."""
        pools, cells = self.part.pools, self.cells
        cell, nth = each(pools.count[cells.pools])
        epoch, last = each(self.count)
        pool = pools.first[cells.pools[cell]] + nth
        none = -np.ones(len(cell) + len(epoch), dtype=np.int64)
        return Boxes(
            np.concatenate([self.box[self.of_cell[cell]] + nth, self.box[epoch] + last]),
            np.concatenate([cells.start[cell], self.end[epoch]]),
            np.concatenate([cell, none[: len(epoch)]]),
            none,
            np.concatenate([pool, none[: len(epoch)]]),
            np.concatenate([pools.size[pool], np.zeros(len(epoch), dtype=np.int64)]),
        )


def cells_of_holders(part: Part, grid: Grid, which: Ints, first: int) -> Boxes:
    """The containers that are claims, numbered from ``first`` on, cell by cell, and their ends."""
    holders = part.holders
    row = holders.row[which]
    cut = grid.cut(part.rows.machine[row], holders.start[which], holders.end[which])
    number = np.arange(len(which))
    none = -np.ones(len(cut.of) + len(number), dtype=np.int64)
    return Boxes(
        first + np.concatenate([cut.of, number]),
        np.concatenate([cut.start, holders.end[which]]),
        np.concatenate([cut.cell, none[: len(number)]]),
        which[np.concatenate([cut.of, number])],
        none,
        np.concatenate([part.rows.milligpu[row][cut.of], np.zeros(len(number), dtype=np.int64)]),
    )


def contents(part: Part, legs: Legs, epochs: Epochs, which: Ints) -> list[Contents]:
    """What is in pools, in lenders, and in other claims: by the containers of ``epochs`` and of holders ``which``."""
    machine, milligpu = part.rows.machine, part.rows.milligpu
    own = np.flatnonzero(legs.kind < 0)
    row = legs.row[own]
    of, epoch, start, end = epochs.cut(machine[row], legs.start[own], legs.end[own])
    box = epochs.box[epoch]
    if epochs.several or not epochs.count.all():
        row = row[of]
        nth = part.pools.choice[epochs.pools[epoch], part.rows.model[row]]
        placed = np.flatnonzero((epochs.count[epoch] > 0) & (nth >= 0))
        box, row, start, end = box[placed] + nth[placed], row[placed], start[placed], end[placed]
    elif len(of) > len(row):
        row = row[of]
    found = [Contents(box, start, end, milligpu[row])]
    if len(which):
        box_of = np.full(len(machine), -1)
        box_of[part.holders.row[which]] = epochs.boxes + np.arange(len(which))
        found += [_inside(part, legs, box_of, kind) for kind in (LENDS, SAME)]
        if not (part.holders.lends | part.holders.same)[which].all():
            box_of[part.holders.row[part.holders.lends | part.holders.same]] = -1
            found.append(_inside(part, legs, box_of, INSIDE))
    return found


def _inside(part: Part, legs: Legs, box_of: Ints, kind: int) -> Contents:
    """Legs in claims by one kind of link, as far as those are containers."""
    some = np.flatnonzero(legs.kind == kind)
    box = box_of[legs.outer[some]]
    if len(box) and int(box.min()) < 0:
        some, box = some[box >= 0], box[box >= 0]
    return Contents(box, legs.start[some], legs.end[some], part.rows.milligpu[legs.row[some]])


def doubtful(part: Part, legs: Legs, epochs: Epochs) -> Windows:
    """Legs that the scalar rules must place: of who names none of several pools, or lives in a claim on another one."""
    nothing = np.empty(0, dtype=np.int64)
    if not epochs.several:
        return Windows(nothing, nothing, nothing)
    several = np.zeros(part.machines, dtype=bool)
    several[np.repeat(np.arange(part.machines), np.diff(epochs.first))[epochs.count > 1]] = True
    some = np.flatnonzero(several[part.rows.machine[legs.row]])
    row = legs.row[some]
    cut = epochs.cut(part.rows.machine[row], legs.start[some], legs.end[some])
    set_, leg = epochs.pools[cut.cell], some[cut.of]
    choice, model = part.pools.choice, part.rows.model
    nth = choice[set_, model[legs.row[leg]]]
    apart = (legs.outer[leg] >= 0) & (nth != choice[set_, model[legs.outer[leg]]])
    bad = np.flatnonzero((part.pools.count[set_] > 1) & ((nth < 0) | apart))
    return Windows(part.rows.machine[legs.row[leg[bad]]], cut.start[bad], cut.end[bad])
