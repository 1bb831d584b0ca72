"""Containers of claims, cut into cells: a machine's pools, and claims that hold others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accounting.arrays import Ints
from accounting.reconcile.sweep.counting.part import Part
from accounting.reconcile.sweep.grid import Cut, Grid, each, spread
from accounting.reconcile.sweep.links.link_stretches import LinkStretches
from accounting.reconcile.sweep.site_columns import INSIDE, LENDS, SAME
from accounting.reconcile.sweep.time_cells import TimeCells, Windows


class Containers(NamedTuple):
    """Cells of containers; ``container`` numbers the container, ``cell`` is an index into the part's cells.

    ``holder`` is an index into the part's holders (-1: it is a pool), ``pool`` one into its pools (-1: a holder).
    ``size`` is how many milliGPU fit in. With ``cell`` -1 it is no cell, but the second at which the container ends.
    """

    container: Ints
    start: Ints
    cell: Ints
    holder: Ints
    pool: Ints
    size: Ints


class Contents(NamedTuple):
    """What is in which container, when: ``milligpu`` over ``[start, end)``."""

    container: Ints
    start: Ints
    end: Ints
    milligpu: Ints


class Epochs:
    """Stretches of a machine's time over which its pools are the same ones. Each pool of an epoch is a container."""

    def __init__(self, part: Part, cells: TimeCells, grid: Grid) -> None:
        self.part, self.cells, self.grid = part, cells, grid
        changed = np.ones(len(cells.start), dtype=bool)
        changed[1:] = (cells.machine[1:] != cells.machine[:-1]) | (cells.pools[1:] != cells.pools[:-1])
        first = np.flatnonzero(changed)
        self.of_cell = np.cumsum(changed) - 1
        self.start = cells.start[first]
        self.end = cells.end[np.append(first[1:], len(changed)) - 1]
        self.pools = cells.pools[first]
        self.count = part.pools.count[self.pools]
        self.container = np.cumsum(self.count) - self.count
        self.containers = int(self.count.sum())
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

    def cells_of_pools(self) -> Containers:
        """The containers that are pools, cell by cell, and their ends."""
        pools, cells = self.part.pools, self.cells
        cell, nth = each(pools.count[cells.pools])
        epoch, last = each(self.count)
        pool = pools.first[cells.pools[cell]] + nth
        none = -np.ones(len(cell) + len(epoch), dtype=np.int64)
        return Containers(
            np.concatenate([self.container[self.of_cell[cell]] + nth, self.container[epoch] + last]),
            np.concatenate([cells.start[cell], self.end[epoch]]),
            np.concatenate([cell, none[: len(epoch)]]),
            none,
            np.concatenate([pool, none[: len(epoch)]]),
            np.concatenate([pools.size[pool], np.zeros(len(epoch), dtype=np.int64)]),
        )


def cells_of_holders(part: Part, grid: Grid, which: Ints, first: int) -> Containers:
    """The containers that are claims, numbered from ``first`` on, cell by cell, and their ends."""
    holders = part.holders
    row = holders.row[which]
    cut = grid.cut(part.rows.machine[row], holders.start[which], holders.end[which])
    number = np.arange(len(which))
    none = -np.ones(len(cut.of) + len(number), dtype=np.int64)
    return Containers(
        first + np.concatenate([cut.of, number]),
        np.concatenate([cut.start, holders.end[which]]),
        np.concatenate([cut.cell, none[: len(number)]]),
        which[np.concatenate([cut.of, number])],
        none,
        np.concatenate([part.rows.milligpu[row][cut.of], np.zeros(len(number), dtype=np.int64)]),
    )


def contents(part: Part, stretches: LinkStretches, epochs: Epochs, which: Ints) -> list[Contents]:
    """What is in pools, in lenders, and in other claims: by the containers of ``epochs`` and of holders ``which``."""
    machine, milligpu = part.rows.machine, part.rows.milligpu
    own = np.flatnonzero(stretches.kind < 0)
    row = stretches.row[own]
    of, epoch, start, end = epochs.cut(machine[row], stretches.start[own], stretches.end[own])
    container = epochs.container[epoch]
    if epochs.several or not epochs.count.all():
        row = row[of]
        nth = part.pools.choice[epochs.pools[epoch], part.rows.model[row]]
        placed = np.flatnonzero((epochs.count[epoch] > 0) & (nth >= 0))
        container, row, start, end = container[placed] + nth[placed], row[placed], start[placed], end[placed]
    elif len(of) > len(row):
        row = row[of]
    found = [Contents(container, start, end, milligpu[row])]
    if len(which):
        container_of = np.full(len(machine), -1)
        container_of[part.holders.row[which]] = epochs.containers + np.arange(len(which))
        found += [_inside(part, stretches, container_of, kind) for kind in (LENDS, SAME)]
        if not (part.holders.lends | part.holders.same)[which].all():
            container_of[part.holders.row[part.holders.lends | part.holders.same]] = -1
            found.append(_inside(part, stretches, container_of, INSIDE))
    return found


def _inside(part: Part, stretches: LinkStretches, container_of: Ints, kind: int) -> Contents:
    """Stretches in claims by one kind of link, as far as those are containers."""
    some = np.flatnonzero(stretches.kind == kind)
    container = container_of[stretches.outer[some]]
    if len(container) and int(container.min()) < 0:
        some, container = some[container >= 0], container[container >= 0]
    return Contents(container, stretches.start[some], stretches.end[some], part.rows.milligpu[stretches.row[some]])


def doubtful(part: Part, stretches: LinkStretches, epochs: Epochs) -> Windows:
    """Stretches that the scalar rules must place: of several pools they name none, or live in a claim on another."""
    nothing = np.empty(0, dtype=np.int64)
    if not epochs.several:
        return Windows(nothing, nothing, nothing)
    several = np.zeros(part.machines, dtype=bool)
    several[np.repeat(np.arange(part.machines), np.diff(epochs.first))[epochs.count > 1]] = True
    some = np.flatnonzero(several[part.rows.machine[stretches.row]])
    row = stretches.row[some]
    cut = epochs.cut(part.rows.machine[row], stretches.start[some], stretches.end[some])
    set_, stretch = epochs.pools[cut.cell], some[cut.of]
    choice, model = part.pools.choice, part.rows.model
    nth = choice[set_, model[stretches.row[stretch]]]
    apart = (stretches.outer[stretch] >= 0) & (nth != choice[set_, model[stretches.outer[stretch]]])
    bad = np.flatnonzero((part.pools.count[set_] > 1) & ((nth < 0) | apart))
    return Windows(part.rows.machine[stretches.row[stretch[bad]]], cut.start[bad], cut.end[bad])
