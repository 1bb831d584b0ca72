"""Rounding half to even, of whole numbers: one text for a number and for a column of them."""

from __future__ import annotations

from typing import TypeVar

import polars as pl

Whole = TypeVar("Whole", int, pl.Expr)


def half_even(numerator: Whole, denominator: Whole | int) -> Whole:
    """``numerator / denominator`` to the nearest whole number, half to even. ``denominator`` is positive.

    >>> [half_even(n, 2) for n in (1, 3, 5, -1, -3)]
    [0, 2, 2, 0, -2]
    """
    whole, rest = numerator // denominator, numerator % denominator
    return whole + (rest * 2 + whole % 2 > denominator)
