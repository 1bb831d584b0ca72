"""The sweep of one part: numbers in, numbers out, the same wherever it runs."""

from __future__ import annotations

import numpy as np

from accounting.arrays import Flags
from accounting.reconcile.sweep.counting.containers import Containers
from accounting.reconcile.sweep.counting.part import Part, Swept
from accounting.reconcile.sweep.counting.pieces import Pieces
from accounting.reconcile.sweep.counting.stack import Rests, stack
from accounting.reconcile.sweep.grid import Grid
from accounting.reconcile.sweep.time_cells import TimeCells, Windows, refined


def sweep_part(part: Part) -> Swept:
    """Turn a part's stretches into postings. What does not fit is not posted, but returned as a window."""
    cells = part.cells
    rests, windows = _stacked(part, cells, np.ones(part.machines, dtype=bool))
    found = [rests]
    if len(windows.machine):
        cells = refined(part.cells, windows, part.length)
        crowded = np.zeros(part.machines, dtype=bool)
        crowded[windows.machine] = True
        found = [_moved(rests, part.cells, cells, crowded), _stacked(part, cells, crowded)[0]]
    pieces = Pieces(part, cells)
    pieces.capacity()
    for some in found:
        pieces.rests(some)
    return Swept(pieces.settled(), pieces.unsettled(), _skipped(cells), pieces.unplaced())


def _stacked(part: Part, cells: TimeCells, machines: Flags) -> tuple[Rests, Windows]:
    """The sums of some machines' containers."""
    grid = Grid(cells, part.machines, part.length, part.offset)
    stretches, holders = part.stretches, np.arange(len(part.holders.row))
    if machines.all():
        return stack(part, stretches, cells, grid, holders)
    rows = machines[part.rows.machine]
    some = [lot.take(rows[lot.row]) for lot in stretches]
    rests, windows = stack(part, some, cells, grid, holders[rows[part.holders.row]])
    return _only(rests, machines[cells.machine[rests.containers.cell]]), windows


def _only(rests: Rests, which: Flags) -> Rests:
    return Rests(Containers(*(column[which] for column in rests.containers)), *(column[which] for column in rests[1:]))


def _moved(rests: Rests, before: TimeCells, after: TimeCells, crowded: Flags) -> Rests:
    """Sums of the machines that are not crowded, their cells numbered as they are now."""
    kept = _only(rests, ~crowded[before.machine[rests.containers.cell]])
    machines = np.arange(len(crowded))
    shift = np.searchsorted(after.machine, machines) - np.searchsorted(before.machine, machines)
    cell = kept.containers.cell + shift[before.machine[kept.containers.cell]]
    return kept._replace(containers=kept.containers._replace(cell=cell))


def _skipped(cells: TimeCells) -> Windows:
    """What is left to the scalar rules: runs of cells to be skipped, day by day."""
    skipped = np.flatnonzero(cells.skip)
    joined = np.zeros(len(skipped), dtype=bool)
    joined[1:] = (np.diff(skipped) == 1) & (np.diff(cells.machine[skipped]) == 0) & (np.diff(cells.day[skipped]) == 0)
    first = np.flatnonzero(~joined)
    last = np.append(first[1:], len(skipped))[: len(first)] - 1
    return Windows(cells.machine[skipped[first]], cells.start[skipped[first]], cells.end[skipped[last]])
