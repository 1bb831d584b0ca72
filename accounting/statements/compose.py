"""One statement, composed once: the lines in order, the hours printed on each, and the totals they sum to.

The per-line file, the summary, the API and the demo's table all print from this, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from accounting.model import Line
from accounting.rating import Rates, line_order
from accounting.statements.hours import apportion, micro_hours
from exporters.model import Disposition

_WORDS = tuple(Disposition)
_KEYS = ("corrects", "disposition", "project", "scheduler")
_NUMBERS = {word: number for number, word in enumerate(_WORDS)}


@dataclass(frozen=True, slots=True)
class Total:
    """What one disposition, project and scheduler came to. ``scheduler`` is empty for nobody's time.

    ``quantity`` is milliGPU-seconds, exact; ``micro_hours`` millionths of a GPU-hour, as printed. ``corrects`` is the
    closed month of which these are corrections, empty for the statement's own month.
    """

    disposition: Disposition
    project: str
    scheduler: str
    quantity: int
    micro_hours: int
    amount: Decimal
    corrects: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """A billing period's lines in statement order, and their totals.

    ``micro_hours[n]`` is what ``lines[n]`` counts under its disposition, in printed millionths of a GPU-hour: 0 for
    a linked record. Over the lines of one total they sum to the total's, and over the totals to ``capacity_micro``.
    """

    billing_period: str
    lines: tuple[Line, ...]
    micro_hours: tuple[int, ...]
    totals: tuple[Total, ...]
    currency: str
    minor_digits: int

    @property
    def capacity(self) -> int:
        """The fleet's capacity in milliGPU-seconds: the sum of everything, whoever had it, corrections included."""
        return sum(total.quantity for total in self.totals)

    @property
    def capacity_micro(self) -> int:
        """The fleet's capacity in printed millionths of a GPU-hour."""
        return micro_hours(self.capacity)

    @property
    def amount(self) -> Decimal:
        """What all projects pay together."""
        return sum((total.amount for total in self.totals), Decimal(0).scaleb(-self.minor_digits))


def compose(lines: Sequence[Line], rates: Rates, billing_period: str) -> Statement:
    """Order the lines of one period and total them. The order of the input never matters.

    Raises ValueError for a line of another period or currency.
    """
    for line in lines:
        if (line.billing_period, line.currency) != (billing_period, rates.currency):
            raise ValueError(
                f"line {line.line_id} is of {line.billing_period} in {line.currency}, "
                f"the statement of {billing_period} in {rates.currency}"
            )
    ordered = tuple(sorted(lines, key=line_order))
    hours, totals = _totals(ordered, rates.minor_digits)
    return Statement(billing_period, ordered, hours, totals, rates.currency, rates.minor_digits)


def _totals(lines: Sequence[Line], digits: int) -> tuple[tuple[int, ...], tuple[Total, ...]]:
    counted = [n for n, line in enumerate(lines) if line.usage.disposition is not None]
    usages = [lines[n].usage for n in counted]
    frame = pd.DataFrame(
        {
            "corrects": np.array([lines[n].corrects for n in counted], object),
            "disposition": np.array([_NUMBERS[u.disposition] for u in usages if u.disposition], np.int64),
            "project": np.array([u.project for u in usages], object),
            "scheduler": np.array([u.job.scheduler.value if u.job else "" for u in usages], object),
            "quantity": np.array([u.charged for u in usages], np.int64),
            "minor": np.array([int(lines[n].amount.scaleb(digits)) for n in counted], np.int64),
        }
    )
    groups = frame.groupby(list(_KEYS), sort=True)
    sums = groups[["quantity", "minor"]].sum().reset_index()
    printed = apportion(sums["quantity"].to_numpy())
    hours = np.zeros(len(lines), np.int64)
    places = np.array(counted, np.int64)
    quantities = frame["quantity"].to_numpy()
    members = groups.indices
    for key, micro in zip(sums[list(_KEYS)].itertuples(index=False, name=None), printed.tolist(), strict=True):
        hours[places[members[key]]] = apportion(quantities[members[key]], micro)
    totals = (
        Total(_WORDS[d], project, scheduler, quantity, micro, Decimal(minor).scaleb(-digits), corrects)
        for (corrects, d, project, scheduler, quantity, minor), micro in zip(
            sums.itertuples(index=False, name=None), printed.tolist(), strict=True
        )
    )
    return tuple(hours.tolist()), tuple(totals)
