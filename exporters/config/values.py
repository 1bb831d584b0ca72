"""What the value of a setting may look like: durations, sizes, prices, commands.

Each type's parser raises ValueError with a sentence for the operator; pydantic adds the key.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field

from exporters.strict_yaml import Written

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def seconds(value: object) -> object:
    """``"1h30m"`` -> 5400.0; bare numbers are seconds."""
    if not isinstance(value, str):
        return _no_truth(value)
    parts = re.findall(r"(\d+)(ms|[smhdw])", value)
    if not parts or "".join(n + u for n, u in parts) != value:
        raise ValueError(f"{value!r} is not a duration: write it like 15s, 5m, 1h30m or 1d")
    return float(sum(int(n) * _UNITS[u] for n, u in parts))


def size(value: object) -> object:
    """``"64MiB"`` -> 67108864; bare numbers are bytes."""
    if not isinstance(value, str):
        return _no_truth(value)
    found = re.fullmatch(r"(\d+)\s*([KMG]iB|B|)", value)
    if not found:
        raise ValueError(f"{value!r} is not a size: write it like 64MiB")
    return int(found[1]) * _SIZES[found[2]]


def words(value: object) -> object:
    """A command may be written as one word or as a list of words; it never goes through a shell."""
    return (value,) if isinstance(value, str) else value


def decimal(value: object) -> object:
    """A price is the decimal that was written, never the nearest binary number."""
    if isinstance(value, Written):
        return value.text
    return str(value) if isinstance(value, float) else value


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is expected here, not true or false")  # noqa: TRY004 - pydantic wants ValueError
    return value


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, BeforeValidator(size), Field(gt=0)]
Command = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(words), Field(min_length=1)]
Paths = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(words)]
"""One path, or a list of them."""
Moment = datetime | date
"""A day, which begins at midnight, or a time; in the site's time zone where it names none."""
Price = Annotated[Decimal, BeforeValidator(decimal), Field(ge=0)]
