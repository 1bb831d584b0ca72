"""What is left free: of each pool by those who hold its cards, of each claim by those inside it.

All begins and ends of what is in some container become one 64-bit number each: container, second, change. Sorted and
summed up they tell how much is in each container at any moment, hence what is free, and where more is in than fits. The
borders of the containers' cells are sorted in with them, so that sums per cell need no search.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from accounting.arrays import Flags, Ints
from accounting.reconcile.sweep.counting.containers import (
    Containers,
    Contents,
    Epochs,
    cells_of_holders,
    contents,
    doubtful,
)
from accounting.reconcile.sweep.counting.part import Part
from accounting.reconcile.sweep.grid import Grid
from accounting.reconcile.sweep.links.link_stretches import LinkStretches
from accounting.reconcile.sweep.time_cells import TimeCells, Windows


class Rests(NamedTuple):
    """What was free in cells of containers: ``amount`` milliGPU-seconds.

    In pools and external jobs something was free from ``first`` to ``last`` (-1: never). In external jobs that was so
    for ``seconds``, and nothing was free from ``full_first`` to ``full_last``.
    """

    containers: Containers
    amount: Ints
    first: Ints
    last: Ints
    seconds: Ints
    full_first: Ints
    full_last: Ints


def stack(
    part: Part, stretches: Sequence[LinkStretches], cells: TimeCells, grid: Grid, which: Ints
) -> tuple[Rests, Windows]:
    """Sum up a part's pools, and its holders ``which``; also what the scalar rules must decide: who does not fit.

    ``stretches`` come in several lots: of one that is by ascending row there is less to sort.
    """
    lends = part.holders.lends[which]
    which = np.concatenate([which[lends], which[~lends]])
    epochs = Epochs(part, cells, grid)
    held = [some for lot in stretches for some in contents(part, lot, epochs, which)]
    unclear = [doubtful(part, lot, epochs) for lot in stretches]
    containers = [epochs.cells_of_pools(), cells_of_holders(part, grid, which, epochs.containers)]
    every = Containers(*(np.concatenate(pair) for pair in zip(*containers, strict=True)))
    jobs = epochs.containers + int(lends.sum())
    rests, crowded = _sum(every, held, cells, part.length, (epochs.containers, jobs))
    return rests, Windows(*(np.concatenate(pair) for pair in zip(crowded, *unclear, strict=True)))


def _sum(
    containers: Containers, held: list[Contents], cells: TimeCells, length: int, borders: tuple[int, int]
) -> tuple[Rests, Windows]:
    """Sort and sum up. ``borders`` are the numbers of the first container that is a lender, and of the first job."""
    most = max((int(some.milligpu.max(initial=0)) for some in held), default=0)
    change_bits, time_bits = most.bit_length() + 1, length.bit_length()
    if int(containers.container.max(initial=0)).bit_length() + time_bits + change_bits > 63:
        raise ValueError(f"a claim of {most} milliGPU within {length} seconds is too much to sweep: shorten the period")
    shift, zero = time_bits + change_bits, 1 << (change_bits - 1)
    border = (containers.container << shift) | (
        containers.start << change_bits
    )  # sorts before any change at that second
    order = np.argsort(border, kind="stable")
    containers, border = Containers(*(column[order] for column in containers)), border[order]
    begins = [_ascending((s.container << shift) + (s.start << change_bits) + (zero + s.milligpu)) for s in held]
    ends = [_ascending((s.container << shift) + (s.end << change_bits) + (zero - s.milligpu)) for s in held]
    time = np.concatenate([border, *begins, *ends])
    time.sort(kind="stable")  # only merges what is ascending already
    change = time & ((1 << change_bits) - 1)
    first = np.flatnonzero(change == 0)  # where the borders are
    change -= zero
    change[first] = 0
    time >>= change_bits
    time &= (1 << time_bits) - 1
    seconds = np.zeros(len(time), dtype=np.int64)  # from each number to the next
    np.subtract(time[1:], time[:-1], out=seconds[:-1])
    free = np.repeat(containers.size, np.diff(first, append=len(time)))
    free -= np.cumsum(change)
    windows = _crowded(containers, cells, first, time, seconds, free)
    return _tell(containers, cells, first, time, seconds, free, np.searchsorted(containers.container, borders)), windows


def _crowded(containers: Containers, cells: TimeCells, first: Ints, time: Ints, seconds: Ints, free: Ints) -> Windows:
    """Where more is in a container than fits. From then on nothing is free there."""
    over = np.flatnonzero(free < 0) if free.min(initial=0) < 0 else np.empty(0, dtype=np.int64)
    free[over] = 0
    over = over[seconds[over] > 0]
    cell = containers.cell[np.searchsorted(first, over, side="right") - 1]
    plain = (cell >= 0) & (cells.pools[cell] > 0) & ~cells.skip[cell]
    over, cell = over[plain], cell[plain]
    return Windows(cells.machine[cell], time[over], time[over] + seconds[over])


def _tell(
    containers: Containers, cells: TimeCells, first: Ints, time: Ints, seconds: Ints, free: Ints, borders: Ints
) -> Rests:
    """Sums per cell. Where a container ends ``seconds`` mean nothing; nothing is in it, and its size is 0 there."""
    lenders, jobs = borders.tolist()
    amount = np.add.reduceat(free * seconds, first) if len(first) else first
    told = np.full((5, len(first)), -1)
    every = np.append(first, len(time))
    told[:2, :lenders] = _span(free, every[: lenders + 1], time, seconds)
    told[:2, jobs:] = _span(free, every[jobs:], time, seconds)
    if jobs < len(first):
        at = int(first[jobs])
        told[2, jobs:] = np.add.reduceat((free[at:] > 0) * seconds[at:], first[jobs:] - at)
        told[3:, jobs:] = _span(free == 0, every[jobs:], time, seconds)
    kept = np.flatnonzero((containers.cell >= 0) & (cells.pools[containers.cell] > 0) & ~cells.skip[containers.cell])
    return Rests(Containers(*(column[kept] for column in containers)), amount[kept], *told[:, kept])


def _ascending(keys: Ints) -> Ints:
    """Sorted, at little cost if they are already: records often come in the order of their begins, or of their ends."""
    if len(keys) > 1 and not (keys[1:] >= keys[:-1]).all():
        keys.sort()
    return keys


def _span(amount: Ints | Flags, borders: Ints, time: Ints, seconds: Ints) -> tuple[Ints, Ints]:
    """First and last second at which there is some amount between one border and the next; -1 where there is none."""
    begun, over = np.full((2, len(borders) - 1), -1)
    base, end = int(borders[0]), int(borders[-1])
    some = (amount[base:end] > 0) & (seconds[base:end] > 0)
    marked = base + np.flatnonzero(some)
    before = np.append(0, np.cumsum(some))[borders - base]
    has = np.flatnonzero(before[1:] > before[:-1])
    begun[has] = time[marked[before[:-1][has]]]
    last = marked[before[1:][has] - 1]
    over[has] = time[last] + seconds[last]
    return begun, over
