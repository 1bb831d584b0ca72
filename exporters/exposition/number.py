"""Values as text, exactly as prometheus-client writes them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add

_WORDS = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
_FEW = 256
"""Up to here, plain Python is as fast; and a process that only writes small pages never loads numpy (12 MB)."""
_OFTEN = 4
"""Values that come so often, on average, are written once each: percentages, degrees, states."""
_FRACTIONS = tuple(repr(n / 1000)[1:] for n in range(1000))


def format_values(values: Sequence[float]) -> list[str]:
    """Each value as Prometheus text.

    >>> format_values([1, 1e-05, 1234567.0, -1234567.0, float("inf")])
    ['1.0', '1e-05', '1.234567e+06', '-1234567.0', '+Inf']

    prometheus-client writes what Python's ``repr`` writes, but positive values from a million on with an exponent, as
    Go does, and the words for what is not finite in Go's spelling.
    """
    if len(values) <= _FEW:
        return [_format(float(value)) for value in values]
    some = set(values)
    if len(some) * _OFTEN > len(values):
        return _each(values)
    zero = 0.0 in some  # equals -0.0
    some.discard(0.0)
    texts = dict(zip(some, _each(list(some)), strict=True))
    if zero:
        return [texts.get(value) or _format(float(value)) for value in values]
    return list(map(texts.__getitem__, values))


def _each(values: Sequence[float]) -> list[str]:
    import numpy as np  # noqa: PLC0415 - see _FEW

    array = np.array(values, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        thousandths = np.rint(array * 1000)
        # A number of so few digits is its own shortest text: no two of them are the same float.
        short = (thousandths / 1000 == array) & (array < 1e6) & ~np.signbit(array)
    whole, rest = np.divmod(thousandths[short].astype(np.int64), 1000)
    plain = list(map(add, map(str, whole.tolist()), map(_FRACTIONS.__getitem__, rest.tolist())))
    if len(plain) == len(array):
        return plain
    texts = [""] * len(array)
    for i, text in zip(np.flatnonzero(short).tolist(), plain, strict=True):
        texts[i] = text
    others = np.flatnonzero(~short)
    for i, value in zip(others.tolist(), array[others].tolist(), strict=True):
        texts[i] = _format(value)
    return texts


def _format(value: float) -> str:
    text = repr(value)
    return _with_exponent(text) if 1e6 <= value < 1e16 else _WORDS.get(text, text)


def _with_exponent(text: str) -> str:
    whole, _, fraction = text.partition(".")
    mantissa = f"{whole[0]}.{whole[1:]}{fraction}".rstrip("0.")
    return f"{mantissa}e+{len(whole) - 1:02d}"
