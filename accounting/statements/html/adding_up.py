"""Whole numbers that add up: exact parts, rounded so that they sum to a given whole."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor


def adding_up(parts: Sequence[Fraction], total: int) -> list[int]:
    """Round each part down, and give what is missing to those that lost most (ties to the earlier one).

    ``total`` must be a rounding of their sum: less than one beside it. No part is off by one or more, where the sum is
    rounded up at most by as many as there are parts that lost something. Raises ValueError for another total.

    >>> adding_up([Fraction(1, 3)] * 3, 1)
    [1, 0, 0]
    """
    whole = [floor(part) for part in parts]
    missing = total - sum(whole)
    if not 0 <= missing <= len(parts) or abs(sum(parts, Fraction(0)) - total) >= 1:
        raise ValueError(f"{total} is no rounding of {float(sum(parts, Fraction(0)))}")
    lost = sorted(range(len(parts)), key=lambda n: (whole[n] - parts[n], n))
    for n in lost[:missing]:
        whole[n] += 1
    return whole
