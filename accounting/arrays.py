"""The kinds of arrays that columns are made of, in every room that works on columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


def distinct(*some: Ints) -> Ints:
    """The different numbers among some, ascending. For few numbers."""
    numbers = np.sort(np.concatenate(some))
    new = np.ones(len(numbers), dtype=bool)
    new[1:] = numbers[1:] != numbers[:-1]
    return numbers[new]
