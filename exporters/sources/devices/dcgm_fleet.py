"""From what the pages of a round said to samples in base units, all pages at once. Pure.

A page is a hundred numbers, for which arrays are no gain; a round is a hundred thousand. What the arrays of a round
have in common with those of the round before (which number is which field of which device) is remembered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from exporters.exposition.reader import Layout
from exporters.model import Sample
from exporters.sources.devices.dcgm_cards import Device, Plan
from exporters.sources.devices.dcgm_fields import SLACK, blanks
from exporters.sources.devices.field_table import COLUMN, Floats, Values, Whole
from exporters.thawed import thawed

_sample = thawed(Sample)


@dataclass(frozen=True, slots=True)
class Told:
    """What a page said: a value for each position of its plan, as they are on the wire."""

    plan: Plan
    layout: Layout
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class OutOfRange:
    """A value that no such device can have."""

    device: Device
    series: str
    value: float


@dataclass(frozen=True, slots=True)
class _Plans:
    """The plans of a round as one. ``starts`` are the pages' first values among all."""

    plans: list[Plan]
    sizes: list[int]
    starts: Whole
    devices: list[Device]
    positions: Whole
    device: Whole
    column: Whole
    divisor: Floats
    low: Floats
    high: Floats
    copies: bool


class Fleet:
    """Remembers what the pages of the last round mean. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._plans = _together([])

    def samples(self, pages: Sequence[Told], at: float) -> tuple[list[Sample], list[OutOfRange]]:
        """The samples of all pages, in base units, and the values that cannot be.

        Blanks are dropped. Where copies of one reading differ, the largest is the device's own: dcgm-exporter's
        virtual-GPU mode gives each pod its part of ``GPU_UTIL`` and ``FB_USED`` beside the total.
        """
        if self._plans.plans != [page.plan for page in pages] or self._plans.sizes != [len(p.values) for p in pages]:
            self._plans = _together(pages)
        plans = self._plans
        raw = np.fromiter(chain.from_iterable([page.values for page in pages]), np.float64)[plans.positions]
        with np.errstate(over="ignore"):  # what is too large is a blank
            converted = raw / plans.divisor
        blank = blanks(raw)
        converted[(plans.high == 1.0) & (converted > 1.0) & (converted <= SLACK)] = 1.0
        outside = ~blank & ((converted < plans.low) | (converted > plans.high))
        converted[blank | outside] = math.nan
        impossible = [_out_of_range(plans, pages, n, float(raw[n])) for n in np.flatnonzero(outside).tolist()]
        matrix = np.full((len(plans.devices), len(COLUMN)), math.nan)
        if plans.copies:
            np.fmax.at(matrix, (plans.device, plans.column), converted)
        else:
            matrix[plans.device, plans.column] = converted
        told = (~np.isnan(matrix)).any(axis=1).tolist()
        found = [
            _sample(d.host, d.uuid, d.index, d.model, Values(matrix, n), at, d.profile, d.instance, d.pods, d.hpc_jobs)
            for n, d in enumerate(plans.devices)
            if told[n]
        ]
        return found, impossible


def _together(pages: Sequence[Told]) -> _Plans:
    plans, sizes = [page.plan for page in pages], [len(page.values) for page in pages]
    starts = np.cumsum([0, *sizes])
    rows = np.cumsum([0, *(len(plan.devices) for plan in plans)])
    specs = [spec for plan in plans for spec in plan.specs]
    nothing = np.empty(0, np.int64)
    return _Plans(
        plans,
        sizes,
        starts,
        [device for plan in plans for device in plan.devices],
        np.concatenate([nothing, *(plan.positions + n for plan, n in zip(plans, starts, strict=False))]),
        np.concatenate([nothing, *(plan.device + n for plan, n in zip(plans, rows, strict=False))]),
        np.array([COLUMN[spec.field] for spec in specs], np.int64),
        np.array([spec.divisor for spec in specs], np.float64),
        np.array([spec.low for spec in specs], np.float64),
        np.array([spec.high for spec in specs], np.float64),
        any(plan.copies for plan in plans),
    )


def _out_of_range(plans: _Plans, pages: Sequence[Told], n: int, value: float) -> OutOfRange:
    position = int(plans.positions[n])
    page = int(np.searchsorted(plans.starts, position, side="right")) - 1
    series = pages[page].layout.series[position - int(plans.starts[page])]
    return OutOfRange(plans.devices[int(plans.device[n])], series.name, value)
