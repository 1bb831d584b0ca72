"""Columns of numbers and moments as bytes: one row of letters per line, each with zero bytes where it is shorter.

Whoever joins such columns takes the zero bytes out at the end, from all lines at once. That is many times as fast as
making a text of each number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from accounting.model import DAY
from accounting.reconcile.sweep.columns import Flags, Ints
from accounting.statements.chargeback import moment

Letters = NDArray[np.uint8]
"""Shape (lines, width). A zero byte is no letter."""

_ZERO = ord("0")


def texts(found: Sequence[str]) -> Letters:
    """Any texts. None may contain a zero byte."""
    made = np.array([text.encode() for text in found], dtype=np.bytes_)
    return made.view(np.uint8).reshape(len(found), -1)


def same(text: str, lines: int) -> Letters:
    """One text on every line."""
    letters = np.frombuffer(text.encode(), dtype=np.uint8)
    return np.broadcast_to(letters, (lines, len(letters)))


def chosen(table: Sequence[str], codes: Ints) -> Letters:
    """For each line the text of its code."""
    return texts(table)[codes]


def whole(numbers: Ints) -> Letters:
    """Whole numbers, none negative, without zeros in front."""
    width = len(str(int(numbers.max(initial=0))))
    found = padded(numbers, width)
    for place in range(width - 1):
        found[numbers < 10 ** (width - 1 - place), place] = 0
    return found


def padded(numbers: Ints, width: int) -> Letters:
    """Whole numbers, none negative, in ``width`` digits, with zeros in front."""
    found = np.empty((len(numbers), width), dtype=np.uint8)
    rest = numbers
    for place in range(width - 1, -1, -1):
        higher = rest // 10
        found[:, place] = rest - higher * 10 + _ZERO
        rest = higher
    return found


def fixed(numbers: Ints, decimals: int, otherwise: Callable[[int], str]) -> Letters:
    """Numbers with so many decimals; where one of them is negative ``otherwise`` makes the text of each."""
    if int(numbers.min(initial=0)) < 0:
        return texts([otherwise(number) for number in numbers.tolist()])
    if not decimals:
        return whole(numbers)
    front, part = np.divmod(numbers, 10**decimals)
    return beside([whole(front), same(".", len(numbers)), padded(part, decimals)])


def moments(times: Ints, there: Flags) -> Letters:
    """Moments as `accounting.statements.chargeback.moment` prints them, nothing where there is none."""
    days, seconds = np.divmod(times, DAY)
    first, last = (int(days.min()), int(days.max())) if len(days) else (0, 0)
    dates = texts([moment(day * DAY)[:11] for day in range(first, last + 1)])
    found = beside([dates[days - first], _CLOCK[seconds]])
    found[~there] = 0
    return found


def beside(columns: Sequence[Letters]) -> Letters:
    """Columns next to each other."""
    return np.concatenate(columns, axis=1)


def rows(letters: Letters) -> list[bytes]:
    """Each line's letters, zero bytes included."""
    data, width = letters.tobytes(), letters.shape[1]
    return [data[n : n + width] for n in range(0, len(data), width)]


def _clock() -> Letters:
    """Each second of a day as moments have it."""
    seconds = np.arange(DAY)
    colon = same(":", DAY)
    hours, minutes, rest = (padded(n, 2) for n in (seconds // 3600, seconds // 60 % 60, seconds % 60))
    return beside([hours, colon, minutes, colon, rest, same("Z", DAY)])


_CLOCK = _clock()
