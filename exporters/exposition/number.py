"""Values as text, exactly as prometheus-client writes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_WORDS = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}


def format_values(values: Sequence[float]) -> list[str]:
    """Each value as Prometheus text.

    >>> format_values([1, 1e-05, 1234567.0, -1234567.0, float("inf")])
    ['1.0', '1e-05', '1.234567e+06', '-1234567.0', '+Inf']

    prometheus-client writes what Python's ``repr`` writes, but positive values from a million on with an exponent, as
    Go does, and the words for what is not finite in Go's spelling.
    """
    array = np.array(values, dtype=np.float64)
    texts = list(map(repr, array.tolist()))
    # From 1e16 on Python writes an exponent itself.
    for i in np.flatnonzero((array >= 1e6) & (array < 1e16)).tolist():
        whole, _, fraction = texts[i].partition(".")
        mantissa = f"{whole[0]}.{whole[1:]}{fraction}".rstrip("0.")
        texts[i] = f"{mantissa}e+{len(whole) - 1:02d}"
    for i in np.flatnonzero(~np.isfinite(array)).tolist():
        texts[i] = _WORDS[texts[i]]
    return texts
