"""Claims by columns: their numbers as arrays, their texts as the database has them.

No object is made of a claim here; `accounting.evidence.claim_reader.Reader.claim` makes one when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accounting.arrays import Flags, Ints

NEVER = -1
"""What stands for the start of a job that is not known."""

Texts = NDArray[np.object_]


class Codes:
    """Numbers for things, in the order in which they are met."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._codes: dict[Any, int] = {}

    def of(self, items: Iterable[Any]) -> Ints:
        """The number of each."""
        every, codes = list(items), self._codes
        found = [*map(codes.get, every)]
        if None in found:
            for item in dict.fromkeys(every):
                if item not in codes:
                    codes[item] = len(self.items)
                    self.items.append(item)
            found = [*map(codes.get, every)]
        return np.array(found, dtype=np.int64)

    def known(self, items: Iterable[Any]) -> Ints:
        """The number of each, -1 for what has none."""
        return np.array([*map(self._codes.get, items, repeat(-1))], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Rows:
    """Some claims, one entry each; ``end`` is `FOREVER` for what is still held, ``began`` the job's start.

    ``said`` numbers what few things say of many claims (`Said`). ``told`` (shape n, 2) is the digest of what is known
    of the claim, as two big-endian numbers. The others are texts, empty where a claim has none.
    """

    id: Ints
    job: Ints
    node: Ints
    milligpu: Ints
    start: Ints
    end: Ints
    began: Ints
    said: Ints
    told: NDArray[np.uint64]
    unit: Texts
    native: Texts
    run: Texts
    keys: Texts
    cards: Texts

    def __len__(self) -> int:
        return len(self.id)

    def take(self, which: Any) -> Rows:
        """Some of the rows."""
        return Rows(*(getattr(self, name)[which] for name in NAMES))

    def after_each_other(self, which: Ints) -> Rows:
        """`take` of ascending rows: no copy where none is left out between them."""
        if len(which) and which[-1] - which[0] + 1 == len(which):
            return self.take(slice(int(which[0]), int(which[-1]) + 1))
        return self.take(which)

    def keep(self, which: Flags) -> Rows:
        """Those of the rows for which it is true; mostly it is for all."""
        return self if which.all() else self.take(which)

    @property
    def named(self) -> Flags:
        """Which claims name cards."""
        found: Flags = self.cards != ""
        return found


NAMES = tuple(f.name for f in fields(Rows))
"""What there is of each row."""


def nothing() -> Rows:
    """No rows."""
    numbers, texts = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.object_)
    found: list[Any] = [*[numbers] * 8, np.empty((0, 2), dtype=np.uint64), *[texts] * 5]
    return Rows(*found)


def joined(some: Sequence[Rows]) -> Rows:
    """Rows below each other."""
    some = [rows for rows in some if len(rows)] or some[:1]
    if len(some) == 1:
        return some[0]
    return Rows(*(np.concatenate([getattr(rows, name) for rows in some]) for name in NAMES))


class Said(NamedTuple):
    """What is said of a claim and its job beside what nearly each has for itself."""

    scheduler: str
    cluster: str
    account: str
    labels: str
    model: str
    profile: str
    assumed: bool
    basis: str
