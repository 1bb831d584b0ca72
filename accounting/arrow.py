"""Columns of Python's and numpy's values as Arrow has them, made of their buffers.

``pyarrow.array`` would load pandas, to see whether it was given something of that: a quarter of a second and 40 MB in
each process that never asks for a data frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from accounting.arrays import Flags, Ints


def array_of(values: NDArray[Any], nothing: Flags) -> pa.Array:
    """Numbers or truths as Arrow has them, null where there is ``nothing``; numbers are not copied."""
    there = _there(nothing)
    if values.dtype == np.bool_:
        packed = np.packbits(values, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [there, pa.py_buffer(packed)])
    kind, type_ = (pa.float64(), np.float64) if values.dtype == np.float64 else (pa.int64(), np.int64)
    return pa.Array.from_buffers(kind, len(values), [there, pa.py_buffer(np.ascontiguousarray(values, dtype=type_))])


def strings(texts: Sequence[str]) -> pa.Array:
    """Texts as Arrow has them."""
    together = "".join(texts)
    if together.isascii():
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        return pieces(together.encode(), ends, None).cast(pa.string())
    return listed(texts, pa.string())


def listed(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Python's values one by one, None where there is none."""
    nothing: Flags = np.array([value is None for value in values], dtype=bool)
    if kind in (pa.string(), pa.binary()):
        data = [b"" if value is None else value.encode() if isinstance(value, str) else value for value in values]
        ends = np.cumsum([0, *map(len, data)], dtype=np.int64)
        return pieces(b"".join(data), ends, _there(nothing)).cast(kind)
    number: Any = {pa.int64(): np.int64, pa.bool_(): np.bool_, pa.float64(): np.float64}[kind]
    return array_of(np.array([0 if value is None else value for value in values], dtype=number), nothing)


def pieces(data: bytes, ends: Ints, there: pa.Buffer | None) -> pa.Array:
    """Bytes cut at ``ends``, the first of which is 0."""
    return pa.Array.from_buffers(pa.large_binary(), len(ends) - 1, [there, pa.py_buffer(ends), pa.py_buffer(data)])


def _there(nothing: Flags) -> pa.Buffer | None:
    return pa.py_buffer(np.packbits(~nothing, bitorder="little")) if nothing.any() else None
