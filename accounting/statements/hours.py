"""Hours that add up: what is printed in six decimals sums to the printed total, to the last digit.

A milliGPU-second is 1/3,600,000 of a GPU-hour, so six decimals cannot hold every quantity. Rounding each row alone
would leave a column that does not sum to its total; here every row is rounded down, and the missing millionths go to
the rows that lost most (largest remainder), ties to the earlier row. No row is off by a whole millionth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accounting.rates.rating import SU_DIGITS
from accounting.rates.rounding import Whole, half_even

DECIMALS = 6
"""Decimals of a printed GPU-hour."""

_UP, _DOWN = 10, 36  # milliGPU-seconds -> millionths of a GPU-hour: x 1e6 / 3.6e6


def apportion(quantities: NDArray[np.int64], total: int | None = None) -> NDArray[np.int64]:
    """Round quantities (milliGPU-seconds) to millionths of a GPU-hour that sum to ``total`` millionths.

    Without ``total`` that is the rounded sum. Raises ValueError for a ``total`` that is no rounding of the sum.

    >>> apportion(np.array([12, 12, 12])).tolist()  # 3.33 millionths each, 10 in all
    [4, 3, 3]
    """
    whole, rest = np.divmod(quantities * _UP, _DOWN)
    wanted = micro_hours(int(quantities.sum())) if total is None else total
    missing = wanted - int(whole.sum())
    if not 0 <= missing <= np.count_nonzero(rest):
        raise ValueError(f"{wanted} millionths of an hour is no rounding of {quantities.sum()} milliGPU-seconds")
    whole[np.argsort(-rest, kind="stable")[:missing]] += 1
    return whole


def micro_hours(quantity: Whole) -> Whole:
    """Round a quantity (milliGPU-seconds), or a column of them, to millionths of a GPU-hour, half to even."""
    return half_even(quantity * _UP, _DOWN)


def hours_text(micro: int) -> str:
    """Print millionths of an hour: ``1500000`` is ``1.500000``."""
    return _fixed(micro, DECIMALS)


def seconds_text(quantity: int) -> str:
    """Print milliGPU-seconds as GPU-seconds, exactly: ``1500`` is ``1.500``."""
    return _fixed(quantity, 3)


def units_text(micro: int) -> str:
    """Print millionths of a service unit: ``4536000`` is ``4.536000``."""
    return _fixed(micro, SU_DIGITS)


def _fixed(value: int, decimals: int) -> str:
    whole, part = divmod(abs(value), 10**decimals)
    return f"{'-' if value < 0 else ''}{whole}.{part:0{decimals}d}"
