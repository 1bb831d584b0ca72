"""One statement, composed once: the lines in order, the hours printed on each, and the totals they sum to.

The per-line file, the summary, the API and the demo's table all print from this, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accounting.model import Line
from accounting.rates.rating import Rates, line_order
from accounting.statements.hours import apportion, micro_hours
from exporters.model import Disposition

_WORDS = tuple(Disposition)
Ints = NDArray[np.int64]
_MANY = 1 << 20
"""Numbers so large are sorted, not looked up."""

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
    texts = (
        [lines[n].corrects for n in counted],
        [u.project for u in usages],
        [u.job.scheduler.value if u.job else "" for u in usages],
    )
    names = [sorted(set(column)) for column in texts]
    codes = []
    for column, some in zip(texts, names, strict=True):
        number = {text: n for n, text in enumerate(some)}
        codes.append(np.array([number[text] for text in column], np.int64))
    found, totals = totalled(
        Counted(
            names[0],
            names[1],
            names[2],
            codes[0],
            np.array([_NUMBERS[u.disposition] for u in usages if u.disposition], np.int64),
            codes[1],
            codes[2],
            np.array([u.charged for u in usages], np.int64),
            np.array([int(lines[n].amount.scaleb(digits)) for n in counted], np.int64),
        ),
        digits,
    )
    hours = np.zeros(len(lines), np.int64)
    hours[np.array(counted, np.int64)] = found
    return tuple(hours.tolist()), totals


class Counted(NamedTuple):
    """The lines of a statement that count, in its order, by columns.

    The texts are sorted, and ``correct``, ``project`` and ``scheduler`` number them; ``word`` numbers dispositions in
    their own order. ``quantity`` is milliGPU-seconds, ``minor`` the amount in minor units.
    """

    corrects: Sequence[str]
    projects: Sequence[str]
    schedulers: Sequence[str]
    correct: Ints
    word: Ints
    project: Ints
    scheduler: Ints
    quantity: Ints
    minor: Ints


def totalled(lines: Counted, digits: int) -> tuple[Ints, tuple[Total, ...]]:
    """Printed millionths of an hour for each line, and the totals they sum to."""
    sizes = (len(_WORDS), len(lines.projects) or 1, len(lines.schedulers) or 1)
    key = lines.correct
    for size, column in zip(sizes, (lines.word, lines.project, lines.scheduler), strict=True):
        key = key * size + column
    keys, group = _numbered(key)
    quantity, minor = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
    np.add.at(quantity, group, lines.quantity)
    np.add.at(minor, group, lines.minor)
    printed = apportion(quantity)
    few = group.astype(np.min_scalar_type(len(keys)))  # numbers of few bits are sorted many times as fast
    order = np.argsort(few, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(group, minlength=len(keys)))[:-1])
    hours = np.zeros(len(key), np.int64)
    totals = []
    for n, (some, micro) in enumerate(zip(members if len(keys) else (), printed.tolist(), strict=True)):
        hours[some] = apportion(lines.quantity[some], micro)
        at = some[0]
        totals.append(
            Total(
                _WORDS[lines.word[at]],
                lines.projects[lines.project[at]],
                lines.schedulers[lines.scheduler[at]],
                int(quantity[n]),
                micro,
                Decimal(int(minor[n])).scaleb(-digits),
                lines.corrects[lines.correct[at]],
            )
        )
    return hours, tuple(totals)


def _numbered(key: Ints) -> tuple[Ints, Ints]:
    """The numbers that occur, ascending, and for each entry which of them it is."""
    size = int(key.max(initial=-1)) + 1
    if size > _MANY:
        keys, group = np.unique(key, return_inverse=True)
        return keys, group
    found = np.zeros(size, dtype=bool)
    found[key] = True
    return np.flatnonzero(found), (np.cumsum(found) - 1)[key]
