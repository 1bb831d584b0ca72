"""One statement, composed once: a table of lines in order, the hours printed on each, and the totals they sum to.

The per-line file, the summary, the API and the demo's table all print from this, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from accounting.statements.categories import categories
from accounting.statements.hours import apportion, micro_hours
from accounting.statements.known.jobs import Words
from exporters.model import Disposition

Ints = NDArray[np.int64]
_WORDS = tuple(Disposition)
_TOTAL = ("corrects", "disposition", "project", "scheduler")
"""What the lines of one total have in common, in the order of the summary."""


@dataclass(frozen=True, slots=True)
class Total:
    """What one disposition, project and scheduler came to. ``scheduler`` is empty for nobody's time.

    ``quantity`` is milliGPU-seconds, exact; ``micro_hours`` millionths of a GPU-hour, as printed. ``corrects`` is the
    closed month of which these are corrections, empty for the statement's own month. ``micro_su`` is service units in
    millionths, None where none are counted.
    """

    disposition: Disposition
    project: str
    scheduler: str
    quantity: int
    micro_hours: int
    amount: Decimal
    corrects: str = ""
    micro_su: int | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """A billing period's lines in statement order (the table of `accounting.statements.lines`), and their totals.

    ``micro`` of a line is what it counts under its disposition, in printed millionths of a GPU-hour: 0 for a linked
    record. Over the lines of one total they sum to the total's, and over the totals to ``capacity_micro``. ``words``
    tells what is known of the lines' jobs. ``as_of`` is when something was last booked in a month that is open, epoch
    seconds; None for one that is closed and changes no more.
    """

    billing_period: str
    lines: pl.DataFrame
    words: Words
    totals: tuple[Total, ...]
    currency: str
    minor_digits: int
    as_of: int | None = None

    @property
    def state(self) -> str:
        """``closed``, or ``open, as of`` when: the words for it on everything that is made from a statement."""
        return "closed" if self.as_of is None else open_as_of(self.as_of)

    @property
    def corrected(self) -> list[str]:
        """The closed months of which corrections are on this statement."""
        return sorted(filter(None, self.lines["corrects"].unique().cast(pl.String)))

    def of_projects(self, may_see: Callable[[str], bool]) -> Statement:
        """What those may see who may see these projects; each line has the hours that it has in the whole."""
        seen = [name for name in categories(self.lines["project"]) if may_see(name)]
        totals = tuple(total for total in self.totals if may_see(total.project))
        return replace(self, lines=self.lines.filter(pl.col("project").is_in(seen)), totals=totals)

    @property
    def capacity(self) -> int:
        """The fleet's capacity in milliGPU-seconds: the sum of everything, whoever had it, corrections included."""
        return sum(total.quantity for total in self.totals)

    @property
    def charged(self) -> int:
        """What is charged, in milliGPU-seconds, corrections included."""
        return sum(total.quantity for total in self.totals if total.disposition is Disposition.CHARGED)

    @property
    def capacity_micro(self) -> int:
        """The fleet's capacity in printed millionths of a GPU-hour."""
        return micro_hours(self.capacity)

    @property
    def micro_su(self) -> int | None:
        """Service units of all projects together, in millionths; None where none are counted."""
        counted = [total.micro_su for total in self.totals if total.micro_su is not None]
        return sum(counted) if counted else None

    @property
    def amount(self) -> Decimal:
        """What all projects pay together."""
        return sum((total.amount for total in self.totals), Decimal(0).scaleb(-self.minor_digits))


def open_as_of(moment: int) -> str:
    """What is said of a month that may still change, by when something was last booked in it.

    >>> open_as_of(1793836800)
    'open, as of 2026-11-05T00:00:00Z'
    """
    return f"open, as of {datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def totalled(lines: pl.DataFrame, digits: int) -> tuple[pl.Series, tuple[Total, ...]]:
    """Printed millionths of an hour for each of some lines in the order of a statement, and the totals they sum to.

    The columns of `_TOTAL` are Enums, whose order is that of the totals.
    """
    at = np.flatnonzero((lines["disposition"] != "").to_numpy())
    counted = lines.select(*_TOTAL, "charged", "minor", "su")[at]
    key = np.zeros(len(at), np.int64)
    for name in _TOTAL:
        key = key * len(categories(counted[name])) + counted[name].to_physical().to_numpy()
    keys, first, group = np.unique(key, return_index=True, return_inverse=True)
    quantities, minor = counted["charged"].to_numpy(), counted["minor"].to_numpy()
    sums, amounts, units, in_units = np.zeros((4, len(keys)), np.int64)
    np.add.at(sums, group, quantities)
    np.add.at(amounts, group, minor)
    if counted["su"].null_count() < counted.height:
        np.add.at(units, group, counted["su"].fill_null(0).to_numpy())
        np.add.at(in_units, group, counted["su"].is_not_null().to_numpy())
    printed = apportion(sums)
    order = np.argsort(group.astype(np.min_scalar_type(len(keys))), kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=len(keys)))
    micro = np.zeros(lines.height, np.int64)
    totals = []
    for n, told in enumerate(counted[first].iter_rows(named=True)):
        some = order[ends[n - 1] if n else 0 : ends[n]]
        micro[at[some]] = apportion(quantities[some], int(printed[n]))
        totals.append(
            Total(
                Disposition(told["disposition"]),
                told["project"],
                told["scheduler"],
                int(sums[n]),
                int(printed[n]),
                Decimal(int(amounts[n])).scaleb(-digits),
                told["corrects"],
                int(units[n]) if in_units[n] else None,
            )
        )
    return pl.Series("micro", micro), tuple(totals)
