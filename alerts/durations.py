"""Durations as Prometheus writes them: ``90s``, ``1h30m``, ``1500ms``."""

from __future__ import annotations

import re

_UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_WORD = re.compile(r"(?:\d+(?:ms|[ywdhms]))+")
_PART = re.compile(r"(\d+)(ms|[ywdhms])")


def is_duration(text: object) -> bool:
    """Whether a value is written like a duration."""
    return isinstance(text, str) and _WORD.fullmatch(text) is not None


def milliseconds(text: str) -> int:
    """The length of a duration.

    >>> milliseconds("1h30m")
    5400000

    Raises ValueError for anything else.
    """
    if not is_duration(text):
        raise ValueError(f"{text!r} is not a duration; write it like 90s or 1h30m")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def duration(length: int) -> str:
    """A length in milliseconds as a duration, in the largest units that tell it exactly.

    >>> duration(5_400_000), duration(2500)
    ('1h30m', '2s500ms')
    """
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, length = divmod(length, _UNITS[unit])
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"
