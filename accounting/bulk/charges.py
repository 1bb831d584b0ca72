"""Sums priced and put in the order of a statement, by columns: the lines of `accounting.rates.rating`, without their
names.

Amounts are exact: whole numbers divided once, half to even, as `accounting.rates.rating.Rates.amount` does it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from accounting.bulk.sums import WORDS, Sums
from accounting.model import Usage
from accounting.rates.rating import MILLIGPU_SECONDS_PER_HOUR, Rates, minor_units
from accounting.reconcile.sweep.columns import Ints
from exporters.model import Disposition, JobKey

CHARGED = WORDS.index(Disposition.CHARGED)
_MOST = 1 << 62


@dataclass(frozen=True, slots=True)
class Priced:
    """``minor`` is each sum's amount in the currency's minor units, ``price`` a code into ``prices``."""

    minor: Ints
    price: Ints
    prices: Sequence[Decimal]


def priced(sums: Sums, rates: Rates, name: Callable[[int], JobKey]) -> Priced:
    """Price sums; only what is charged has a price. ``name`` is asked for a job of a model without one.

    The price may depend on the model alone. Raises `RatingError` for a charged model without a price.
    """
    minor = np.zeros(len(sums), dtype=np.int64)
    price = np.zeros(len(sums), dtype=np.int64)
    prices = [rates.zero]
    charged = sums.word == CHARGED
    for model, text in enumerate(sums.models):
        some = np.flatnonzero(charged & (sums.model == model))
        if not len(some):
            continue
        if not rates.has_price(text):
            first = int(sums.job[some].min())
            rates.price(Usage("", name(first), text, Disposition.CHARGED, 0, 0, 0, 0))
        found = rates.price(Usage("", None, text, Disposition.CHARGED, 0, 0, 0, 0))
        price[some] = len(prices)
        prices.append(found)
        minor[some] = amounts(sums.charged[some], found, rates.minor_digits)
    return Priced(minor, price, prices)


def amounts(quantities: Ints, price: Decimal, digits: int) -> Ints:
    """Minor units of money for quantities (milliGPU-seconds), each rounded once, half to even.

    >>> amounts(np.array([1_800_000, 5_400_000]), Decimal("0.01"), 2).tolist()  # half a cent and one and a half
    [0, 2]
    """
    numerator, denominator = price.as_integer_ratio()
    top, bottom = numerator * 10**digits, denominator * MILLIGPU_SECONDS_PER_HOUR
    common = math.gcd(top, bottom)
    top, bottom = top // common, bottom // common
    most = int(np.abs(quantities).max(initial=0))
    if (most // bottom + 2) * top >= _MOST or 2 * bottom * max(top, 1) >= _MOST:
        return np.array([minor_units(q, price, digits) for q in quantities.tolist()], dtype=np.int64)
    whole, rest = np.divmod(quantities, bottom)
    units, over = np.divmod(rest * top, bottom)
    units += whole * top
    twice = 2 * over
    units += (twice > bottom) | ((twice == bottom) & (units % 2 == 1))
    return np.asarray(units)
