"""Values as text, exactly as prometheus-client writes them."""

from __future__ import annotations

from collections.abc import Sequence

_WORDS = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
_FEW = 256
"""Up to here, plain Python is as fast; and a process that only writes small pages never loads numpy (12 MB)."""


def format_values(values: Sequence[float]) -> list[str]:
    """Each value as Prometheus text.

    >>> format_values([1, 1e-05, 1234567.0, -1234567.0, float("inf")])
    ['1.0', '1e-05', '1.234567e+06', '-1234567.0', '+Inf']

    prometheus-client writes what Python's ``repr`` writes, but positive values from a million on with an exponent, as
    Go does, and the words for what is not finite in Go's spelling.
    """
    if len(values) <= _FEW:
        return [_format(float(value)) for value in values]
    import numpy as np  # noqa: PLC0415 - see _FEW

    array = np.array(values, dtype=np.float64)
    texts = list(map(repr, array.tolist()))
    # From 1e16 on Python writes an exponent itself.
    for i in np.flatnonzero((array >= 1e6) & (array < 1e16)).tolist():
        texts[i] = _with_exponent(texts[i])
    for i in np.flatnonzero(~np.isfinite(array)).tolist():
        texts[i] = _WORDS[texts[i]]
    return texts


def _format(value: float) -> str:
    text = repr(value)
    return _with_exponent(text) if 1e6 <= value < 1e16 else _WORDS.get(text, text)


def _with_exponent(text: str) -> str:
    whole, _, fraction = text.partition(".")
    mantissa = f"{whole[0]}.{whole[1:]}{fraction}".rstrip("0.")
    return f"{mantissa}e+{len(whole) - 1:02d}"
