"""Counters of ports that only ever grow, made from counters that wrap, are reset, fall back, go away and return.

A counter starts at 0 when its port is first read and is added to from then on, so that a restart of the exporter, or a
port that comes back, never looks like traffic. What a fall means:

* by nearly 2^32 (it ends within a quarter of that of where it would have wrapped to): a 32-bit counter wrapped, as
  mlx5's ``hw_counters`` do. The sum of two of them falls just so when one wraps.
* by less than a tenth: the driver added up badly. Nothing is counted until the counter is past its old value.
* by more: the device was reset, and what it shows now was counted since.

Two origins may tell one counter: each is followed for itself, and a round's increase is taken from the first that can
tell it, so that a change of origin is neither a fall nor a jump. All of it is arrays: a row a port, a column a counter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporters.fabric_model import PortCounter, PortOrigin, PortQuantity, PortReading, PortSample

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]
Name = tuple[str, str, str]
"""Machine, RDMA device and port."""

WRAP = 2.0**32
NEAR = 2.0**30
"""How far past the wrap a 32-bit counter may be: a quarter of its range in one round."""

STEP_BACK = 0.9
"""A counter that falls to no less than this part of what it was did not start anew."""

WRAPPING = frozenset(
    {
        PortQuantity.CE_MARKED,
        PortQuantity.CNP_SENT,
        PortQuantity.CNP_HANDLED,
        PortQuantity.CNP_IGNORED,
        PortQuantity.OUT_OF_SEQUENCE,
        PortQuantity.ACK_TIMEOUTS,
        PortQuantity.SEQUENCE_ERRORS,
        PortQuantity.RNR_NAKS,
        PortQuantity.RETRANSMISSIONS,
        PortQuantity.SLOW_RESTARTS,
        PortQuantity.RETRIES_EXCEEDED,
        PortQuantity.ICRC_ERRORS,
    }
)
"""Quantities that come from ``hw_counters``, which are 32 bits wide in mlx5's devices."""


@dataclass(frozen=True, slots=True)
class Increase:
    """What the ports of one step counted since each was read before: ``amounts[i, k]`` of port ``i``, counter ``k``.

    ``seconds[i]`` is the time that took by the readings' own clock, NaN when it cannot be told (a first reading, the
    same reading again, a clock that was set back). ``since[i]`` is the step of the oldest reading any of it is counted
    from, and ``new[i]`` whether the port was read anew.
    """

    rows: Whole
    amounts: Floats
    seconds: Floats
    since: Whole
    new: Truths


class PortCounters:
    """The growing counters of all ports. Call `step` once per join, in order; steps count from 1."""

    def __init__(self, keep: int) -> None:
        """``keep``: steps for which a port that is gone is remembered."""
        self.steps = 0
        self.counters: list[PortCounter] = []
        self._keep = keep
        self._rows: dict[Name, int] = {}
        self._columns: dict[tuple[PortOrigin, PortCounter], int] = {}
        self._places: dict[int, tuple[tuple[PortCounter, ...], dict[PortOrigin, Whole]]] = {}
        self._base = np.empty((0, 0))
        self._read = np.empty((0, 0), dtype=np.int64)
        self._totals = np.empty((0, 0))
        self._at = np.empty(0)
        self._seen = np.empty(0, dtype=np.int64)

    def totals(self, rows: Whole) -> Floats:
        """What each port counted of each of ``counters``, NaN where it tells none."""
        return self._totals[rows]

    def step(self, samples: Sequence[tuple[str, PortSample]]) -> Increase:
        """Count one join's ports, each on its machine. A port whose reading is that of the last step counts nothing."""
        self.steps += 1
        self._forget(len(samples))
        rows = self._meet(samples)
        at = np.array([sample.at for _, sample in samples])
        new = self._at[rows] != at
        current = self._current(samples, new)
        amounts, oldest = self._count(rows, current)
        seconds = at - self._at[rows]
        seconds[~new | ~(seconds > 0)] = np.nan
        self._at[rows], self._seen[rows] = at, self.steps
        return Increase(rows, amounts, seconds, oldest, new)

    def _count(self, rows: Whole, current: Floats) -> tuple[Floats, Whole]:
        """The increase of every counter, and the step that each port's oldest part of it is counted from."""
        base, read = self._base[rows], self._read[rows]
        told, can = ~np.isnan(current), ~np.isnan(current) & ~np.isnan(base)
        grown, keeps = increases(base, current, self._wrapping())
        served = self._served(can)
        grown[~(can & served)] = 0.0
        oldest = np.where(grown > 0, read, self.steps).min(axis=1, initial=self.steps)
        base = np.where(told & ~keeps, current, base)
        base[self._overtaken(told, can & served)] = np.nan
        self._base[rows] = base
        self._read[rows] = np.where(told, self.steps, read)
        amounts = np.zeros((len(rows), len(self.counters)))
        known = np.zeros((len(rows), len(self.counters)), dtype=bool)
        for (_, counter), column in self._columns.items():
            k = self.counters.index(counter)
            amounts[:, k] += grown[:, column]
            known[:, k] |= told[:, column]
        totals = self._totals[rows]
        self._totals[rows] = np.where(known & np.isnan(totals), 0.0, totals) + amounts
        return amounts, oldest

    def _groups(self) -> list[list[int]]:
        """Columns of one counter from several origins, the one to be believed first."""
        found: dict[PortCounter, list[tuple[PortOrigin, int]]] = {}
        for (origin, counter), column in self._columns.items():
            found.setdefault(counter, []).append((origin, column))
        return [[column for _, column in sorted(columns)] for columns in found.values() if len(columns) > 1]

    def _served(self, can: Truths) -> Truths:
        """Of several origins of a counter only the first that can tell its increase."""
        served = np.ones_like(can)
        for group in self._groups():
            taken = np.zeros(len(can), dtype=bool)
            for column in group:
                served[:, column] = ~taken
                taken |= can[:, column]
        return served

    def _overtaken(self, told: Truths, taken: Truths) -> Truths:
        """Origins that say nothing while a later one is counted: they start anew when they come back."""
        overtaken = np.zeros_like(told)
        for group in self._groups():
            later = np.zeros(len(told), dtype=bool)
            for column in reversed(group):
                overtaken[:, column] = later & ~told[:, column]
                later |= taken[:, column]
        return overtaken

    def _wrapping(self) -> Truths:
        wraps = np.zeros(len(self._columns), dtype=bool)
        for (_, counter), column in self._columns.items():
            wraps[column] = counter.quantity in WRAPPING
        return wraps

    def _current(self, samples: Sequence[tuple[str, PortSample]], new: Truths) -> Floats:
        """The readings as a matrix, NaN where nothing is told."""
        placed = [
            (i, self._place(reading), reading.values)
            for i, (_, sample) in enumerate(samples)
            if new[i]
            for reading in sample.readings
        ]
        self._widen()
        current = np.full((len(samples), len(self._columns)), np.nan)
        for i, columns, values in placed:
            current[i, columns] = values
        return current

    def _place(self, reading: PortReading) -> Whole:
        """The columns of a reading's counters; remembered, since a port goes on telling the same ones."""
        known, by_origin = self._places.setdefault(id(reading.counters), (reading.counters, {}))
        if reading.origin not in by_origin:
            for counter in known:
                self._columns.setdefault((reading.origin, counter), len(self._columns))
                if counter not in self.counters:
                    self.counters.append(counter)
            by_origin[reading.origin] = np.array([self._columns[reading.origin, c] for c in known], dtype=np.int64)
        return by_origin[reading.origin]

    def _meet(self, samples: Sequence[tuple[str, PortSample]]) -> Whole:
        rows = np.array(
            [self._rows.setdefault((machine, s.port.device, s.port.port), len(self._rows)) for machine, s in samples],
            dtype=np.int64,
        )
        more = len(self._rows) - len(self._at)
        if more:
            self._base = np.pad(self._base, ((0, more), (0, 0)), constant_values=np.nan)
            self._read = np.pad(self._read, ((0, more), (0, 0)))
            self._totals = np.pad(self._totals, ((0, more), (0, 0)), constant_values=np.nan)
            self._at = np.pad(self._at, (0, more), constant_values=np.nan)
            self._seen = np.pad(self._seen, (0, more))
        return rows

    def _widen(self) -> None:
        """Room for the counters that were met."""
        more = len(self._columns) - self._base.shape[1]
        if more:
            self._base = np.pad(self._base, ((0, 0), (0, more)), constant_values=np.nan)
            self._read = np.pad(self._read, ((0, 0), (0, more)))
        more = len(self.counters) - self._totals.shape[1]
        if more:
            self._totals = np.pad(self._totals, ((0, 0), (0, more)), constant_values=np.nan)

    def _forget(self, current: int) -> None:
        """Drop ports that are gone for long, or more of them than there are ports, and readings' forms gone by."""
        if len(self._places) > 4 * current + 1000:
            self._places.clear()
        gone = self.steps - self._seen > self._keep
        if len(self._seen) > 2 * current + 1000:
            gone = self._seen < self.steps - 1
        if not gone.any():
            return
        stay = np.flatnonzero(~gone)
        place = {int(old): n for n, old in enumerate(stay)}
        self._rows = {name: place[row] for name, row in self._rows.items() if row in place}
        self._base, self._read, self._totals = self._base[stay], self._read[stay], self._totals[stay]
        self._at, self._seen = self._at[stay], self._seen[stay]


def increases(before: Floats, after: Floats, wraps: Truths) -> tuple[Floats, Truths]:
    """What counters counted between two readings, never negative, and where the reading before is to be kept.

    ``wraps`` says of each column whether it is 32 bits wide. NaN in, NaN out.

    >>> increases(np.array([[4294967290.0, 90.0, 100.0]]), np.array([[10.0, 5.0, 99.0]]), np.array([True, True, True]))
    (array([[16.,  5.,  0.]]), array([[False, False,  True]]))
    """
    grown = after - before
    fell = grown < 0
    wrapped = fell & wraps & (grown + WRAP >= 0) & (grown + WRAP < NEAR)
    back = fell & ~wrapped & (after >= STEP_BACK * before)
    grown = np.where(wrapped, grown + WRAP, np.where(back, 0.0, np.where(fell, after, grown)))
    return grown, back
