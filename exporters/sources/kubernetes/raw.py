"""Small readers of raw Kubernetes JSON, which holds nulls where its schema says lists and maps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

Raw = Mapping[str, Any]
"""One JSON object as the API server served it."""

_QUANTITY = re.compile(r"([0-9]{1,20})(?:([kMGTPE])?|([KMGTPE]i)|[eE]([0-9]{1,2}))")
_DIGITS = 20
_SCALE = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_SCALE |= {f"{letter}i": 1 << 10 * n for n, letter in enumerate("KMGTPE", start=1)}
_AMOUNT = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)(?:([numkMGTPE]|[KMGTPE]i)?|[eE]([+-]?[0-9]{1,2}))")
_SCALE_OF = {"": Fraction(1), "m": Fraction(1, 10**3), "u": Fraction(1, 10**6), "n": Fraction(1, 10**9)}
_SCALE_OF |= {suffix: Fraction(factor) for suffix, factor in _SCALE.items()}

MAX_DEVICES = 100_000
"""More of one resource than any node has: sixteen cards, in seven parts each, a hundred times over, are 11,200."""

MAX_NUMBER = 10**12
"""More than any whole number in a label: memory is there in MiB."""

MAX_TEXT = 256
"""Characters that are kept of a text that anybody may write, such as an annotation: a label's value has 63."""


def part(raw: Any, *path: str) -> Raw:
    """The object at ``path``, empty where any step is missing or null."""
    for step in path:
        raw = raw.get(step) if isinstance(raw, dict) else None
    return raw if isinstance(raw, dict) else {}


def items(raw: Any, *path: str) -> Iterator[Raw]:
    """The objects of the list at ``path``, none where it is missing or null."""
    found = part(raw, *path[:-1]).get(path[-1]) if path else raw
    for item in found if isinstance(found, list) else ():
        if isinstance(item, dict):
            yield item


def texts(raw: Any, *path: str) -> dict[str, str]:
    """The map of strings at ``path`` (labels, annotations)."""
    return {str(k): str(v) for k, v in part(raw, *path).items() if v is not None}


def seconds(value: Any) -> int | None:
    """Epoch seconds of an RFC 3339 time, None when there is none. Raises ValueError for anything else."""
    if value is None or value == "":
        return None
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError(f"time {value!r} has no zone")
    return int(moment.timestamp())


def quantity(value: Any, most: int = MAX_DEVICES) -> int:
    """A count of an extended resource: ``8``, ``"8"``, ``"1k"``, ``"1e1"``. Raises ValueError for what no node has.

    >>> quantity("8"), quantity("1e1"), quantity("2Ki")
    (8, 10, 2048)
    """
    text = str(value).strip()
    found = _QUANTITY.fullmatch(text)
    if found:
        digits, decimal, binary, exponent = found.groups()
        count = int(digits) * (10 ** int(exponent) if exponent else _SCALE.get(decimal or binary or "", 1))
        if count <= most:
            return count
    elif not text.isdecimal():
        raise ValueError(f"{text[:40]!r} is not a whole number of devices")
    raise ValueError(f"{text[:40]!r} is more devices than a node can have ({most})")


def amount(value: Any) -> Fraction:
    """A quantity of capacity (``40Gi``, ``0.5``, ``250m``). Raises ValueError for what is none.

    >>> amount("40Gi") / amount("80Gi"), amount("250m")
    (Fraction(1, 2), Fraction(1, 4))
    """
    found = _AMOUNT.fullmatch(str(value).strip())
    if not found:
        raise ValueError(f"{str(value)[:40]!r} is not a quantity such as 40Gi")
    digits, suffix, exponent = found.groups()
    return Fraction(digits) * (Fraction(10) ** int(exponent) if exponent else _SCALE_OF[suffix or ""])


def number(value: str | None, most: int = MAX_NUMBER) -> int:
    """A label that should be a whole number, 0 when it is missing, is not, or is more than ``most``."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > _DIGITS:
        return 0
    return found if (found := int(value)) <= most else 0


def cut(text: str) -> str:
    """A text of `MAX_TEXT` characters at most; of a longer one its beginning, marked."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
