"""A range of machines out of a site's columns, in small numbers that start from 0: what is worked on at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from accounting.arrays import Codes, Flags, Ints
from accounting.model import DAY
from accounting.reconcile.sweep.site_columns import Columns, Keys, Seen
from exporters.join.links import FOREVER
from exporters.model import Scheduler

ROWS = 1 << 16
"""Claims per chunk: few enough to stay in the processor's cache and well under the memory budget."""

MOST_CELLS = 1 << 16
"""Node-days per chunk: a 16-bit number sorts several times faster than a wider one."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """``machines`` machines from ``first_machine`` on, over ``period``; their rows begin at ``first_row``.

    Rows and machines are counted from 0 here. ``start``/``end`` are seconds since the period's start, clipped to it and
    to what is known; ``alive`` rows hold something in between.
    """

    site: Columns
    period: tuple[int, int]
    first_machine: int
    machines: int
    first_row: int
    machine: Ints
    start: Ints
    end: Ints
    alive: Flags
    keys: Keys

    @property
    def length(self) -> int:
        """Seconds in the period."""
        return self.period[1] - self.period[0]

    @property
    def offset(self) -> int:
        """Seconds of the period's first UTC day that lie before it."""
        return self.period[0] % DAY

    @property
    def rows(self) -> slice:
        """The chunk's rows among the site's."""
        return slice(self.first_row, self.first_row + len(self.machine))

    def column(self, name: str) -> Codes:
        """One column of the site, the chunk's rows of it."""
        column: Codes = getattr(self.site, name)[self.rows]
        return column

    def ints(self, name: str) -> Ints:
        """One column of 64-bit numbers."""
        column: Ints = getattr(self.site, name)[self.rows]
        return column

    def touch(self, rows: Ints, start: int, end: int) -> Flags:
        """Which rows have a second in ``[start, end)`` of the period."""
        a, b = self.ints("start")[rows] - self.period[0], self.ints("end")[rows] - self.period[0]
        touching: Flags = (a < end) & (b > np.maximum(start, a))
        return touching

    def seen(self) -> Seen:
        """The cards that the chunk's rows are known to hold; rows counted from 0, times in seconds of the period."""
        site = self.site.seen
        a, b = np.searchsorted(site.row, [self.first_row, self.first_row + len(self.machine)])
        start = np.maximum(site.start[a:b] - self.period[0], 0)
        end = np.minimum(site.end[a:b] - self.period[0], self.length)
        some = np.flatnonzero(start < end)
        kept = slice(a, b)
        return Seen(
            site.row[kept][some] - self.first_row,
            start[some],
            end[some],
            site.card[kept][some],
            site.milligpu[kept][some],
            site.unsure[kept][some],
        )

    def days(self, rows: Ints) -> tuple[Ints, Ints, Ints]:
        """The node-days on which rows hold something: machine, and first and last day counted from 0."""
        first, last = (self.start[rows] + self.offset) // DAY, (self.end[rows] - 1 + self.offset) // DAY
        return self.machine[rows], first, last


def chunks(site: Columns, period: tuple[int, int]) -> Iterator[Chunk]:
    """The whole site in chunks, in the order of its machines. Nothing of one chunk depends on another."""
    days = -(-(period[1] - period[0] // DAY * DAY) // DAY)
    most = max(1, MOST_CELLS // days - 1)
    first = 0
    while first < len(site.machines):
        last = int(np.searchsorted(site.first, site.first[first] + ROWS, side="right")) - 1
        last = min(max(last, first + 1), first + most, len(site.machines))
        yield chunk(site, period, first, last)
        first = last


def chunk(site: Columns, period: tuple[int, int], first: int, last: int) -> Chunk:
    """Machines ``first`` to ``last - 1`` of a site."""
    a, b = int(site.first[first]), int(site.first[last])
    start, end = np.clip(site.start[a:b], *period) - period[0], np.clip(_ends(site, a, b), *period) - period[0]
    lo, hi = np.searchsorted(site.keys.row, [a, b])
    keys = Keys(
        site.keys.row[lo:hi] - a,
        site.keys.kind[lo:hi],
        site.keys.cluster[lo:hi],
        site.keys.any_cluster[lo:hi],
        site.keys.target[lo:hi],
    )
    return Chunk(
        site,
        period,
        first,
        last - first,
        a,
        np.repeat(np.arange(last - first), np.diff(site.first[first : last + 1])),
        start,
        end,
        (end > start) & (site.milligpu[a:b] > 0),
        keys,
    )


def _ends(site: Columns, a: int, b: int) -> Ints:
    """The ends of rows, of those that are still held as far as that is known."""
    ends = site.end[a:b]
    if not site.known_until:
        return ends
    held = np.flatnonzero(ends == FOREVER)
    until = np.full((2, len(site.names.clusters)), FOREVER)
    for (scheduler, cluster), second in site.known_until.items():
        if cluster in site.names.clusters:
            until[int(scheduler is Scheduler.SLURM), site.names.clusters.index(cluster)] = second
    ends = ends.copy()
    ends[held] = until[site.slurm[a:b][held].astype(np.int64), site.cluster[a:b][held]]
    return ends
