"""Slurm's compressed host lists and task lists. Pure.

>>> expand("gn[01-03,07],mx1")
('gn01', 'gn02', 'gn03', 'gn07', 'mx1')
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

MAX_HOSTS = 100_000
"""No list names more: a typing error, or somebody's joke, must not take all memory."""

MAX_TASKS = 4_000_001
"""No array has more tasks, nor one of a higher number: the most that MaxArraySize may be."""

_PART = re.compile(r"([^\[\],]*)(?:\[([^\]]*)\])?")
_RANGE = re.compile(r"(\d{1,20})(?:-(\d{1,20})(?::(\d{1,20}))?)?")


@lru_cache(maxsize=4096)  # the same nodes come up again and again
def expand(text: str) -> tuple[str, ...]:
    """The names of a host list, in order; several bracketed parts per name multiply (``r[1-2]n[1-4]``).

    Raises ValueError for what is not a host list. An empty text, ``(null)`` and ``None assigned`` name nobody.
    """
    if text in {"", "(null)", "None assigned", "None"}:
        return ()
    names: list[str] = []
    for item in _items(text):
        names += _expand_item(item, MAX_HOSTS - len(names))
    return tuple(names)


def task_count(text: str) -> int:
    """How many tasks an array's task string names: ``0-9%2`` is 10, ``[1,3,5-9:2]`` is 5. Raises ValueError."""
    body = text.split("%", maxsplit=1)[0].strip("[]")
    count = sum(len(_numbers(group, MAX_TASKS)) for group in body.split(","))
    if count > MAX_TASKS:
        raise ValueError(f"an array of {count} tasks: no array has more than {MAX_TASKS}")
    return count


def _items(text: str) -> Iterator[str]:
    """Split at the commas outside brackets."""
    depth = start = 0
    for n, char in enumerate(text):
        if char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
        elif char == "," and not depth:
            yield text[start:n]
            start = n + 1
        if depth not in {0, 1}:
            raise ValueError(f"{text!r} is not a host list: brackets do not match")
    if depth:
        raise ValueError(f"{text!r} is not a host list: brackets do not match")
    yield text[start:]


def _expand_item(item: str, limit: int) -> list[str]:
    names = [""]
    position = 0
    while position < len(item):
        part = _PART.match(item, position)
        if not part or part.end() == position:
            raise ValueError(f"{item!r} is not a host name")
        position = part.end()
        endings = [""]
        if part.group(2) is not None:
            endings = list(islice(_endings(part.group(2)), limit + 1))
        if len(names) * len(endings) > limit:
            raise ValueError(f"{item[:200]!r} names more than {MAX_HOSTS} hosts")
        names = [name + part.group(1) + ending for name in names for ending in endings]
    if names == [""]:
        raise ValueError("a host list has an empty name in it")
    return names


def _endings(groups: str) -> Iterator[str]:
    """``01-03,7`` -> 01, 02, 03, 7: as many digits as the first number of a range has."""
    for group in groups.split(","):
        width = len(group.split("-", maxsplit=1)[0])
        for n in _numbers(group, MAX_HOSTS):
            yield f"{n:0{width}d}"


def _numbers(group: str, most: int) -> range:
    """The numbers of a range; ValueError for what is none, or for more than ``most`` of them."""
    found = _RANGE.fullmatch(group)
    if not found:
        raise ValueError(f"{group[:200]!r} is not a range of numbers")
    first, last = int(found.group(1)), int(found.group(2) or found.group(1))
    step = int(found.group(3) or 1) or 1
    if last < first or (last - first) // step >= most:  # counted before it is made: a range's own length may not fit
        raise ValueError(f"{group!r} is not a range of at most {most} numbers")
    return range(first, last + 1, step)


def task_list(bitmap: str, limit: int = 0) -> str:
    """An array's tasks out of accounting's bitmap, as sacct writes them; ``limit`` is how many may run at a time.

    >>> task_list("0x2AE", 2)
    '1-3,5,7,9%2'
    """
    if not bitmap.startswith("0x"):
        return bitmap
    bits = int(bitmap, 16)
    if bits.bit_length() > MAX_TASKS + 1:
        raise ValueError(f"a list of tasks up to number {bits.bit_length()}")
    ranges: list[str] = []
    text = f"{bits:b}"[::-1]
    for run in re.finditer("1+", text):
        first, last = run.start(), run.end() - 1
        ranges.append(f"{first}-{last}" if last > first else str(first))
    return ",".join(ranges) + (f"%{limit}" if limit else "")
