"""What was used, and running totals of it: one row of numbers per owner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import compress
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
Whole = NDArray[np.int64]

K = TypeVar("K", bound=tuple[str, ...])


@dataclass(slots=True)
class Use:
    """What was used, in base units. Counters only: each grows or stays.

    ``gpu_seconds`` is held time from the record; ``observed_seconds`` the part of it that readings cover, against which
    ``active_seconds`` and ``tensor_seconds`` make ratios. ``measured`` names the fields that some reading told: a field
    that no reading told is unknown, not zero, and is not served.
    """

    gpu_seconds: float = 0.0
    observed_seconds: float = 0.0
    active_seconds: float = 0.0
    tensor_seconds: float = 0.0
    energy_joules: float = 0.0
    nvlink_transmit_bytes: float = 0.0
    nvlink_receive_bytes: float = 0.0
    samples_seen: int = 0
    samples_expected: int = 0
    measured: set[str] = field(default_factory=set)


NUMBERS = tuple(f.name for f in fields(Use) if f.name != "measured")
"""The numbers of a `Use`, in the order of the columns of `Uses`."""
NUMBER = {name: n for n, name in enumerate(NUMBERS)}
TELEMETRY = ("active_seconds", "tensor_seconds", "energy_joules", "nvlink_transmit_bytes", "nvlink_receive_bytes")
"""The fields of `Use` that only readings can tell, in the order of the columns of ``told``."""
_FIRST_TOLD = NUMBER[TELEMETRY[0]]
_COUNTS = ("samples_seen", "samples_expected")


@dataclass(frozen=True, slots=True)
class Uses:
    """Uses as rows: ``amounts[n]`` are the `NUMBERS` of the n-th, ``told[n]`` which of `TELEMETRY` it tells."""

    amounts: Floats
    told: Truths

    def use(self, n: int) -> Use:
        """One of them."""
        numbers = dict(zip(NUMBERS, self.amounts[n].tolist(), strict=True))
        for name in _COUNTS:
            numbers[name] = int(numbers[name])
        measured = {name for name, told in zip(TELEMETRY, self.told[n].tolist(), strict=True) if told}
        return Use(**numbers, measured=measured)


@dataclass(frozen=True, slots=True)
class Ordered(Generic[K]):
    """Keys in their order, and their rows in the totals. While a key stays, it is one object."""

    keys: Sequence[K]
    rows: Whole


class Totals(Mapping[K, Use], Generic[K]):
    """Running totals by key, which is the labels of its series. As a mapping it gives each key's `Use`, when asked."""

    def __init__(self) -> None:
        self._rows: dict[K, int] = {}
        self._keys: list[K | None] = []
        self._free: list[int] = []
        self._order: Ordered[K] = Ordered((), np.empty(0, np.int64))
        self._met: list[int] = []
        self._freed: list[int] = []
        self._uses = Uses(np.zeros((0, len(NUMBERS))), np.zeros((0, len(TELEMETRY)), dtype=bool))
        self._seen = np.zeros(0)

    def __getitem__(self, key: K) -> Use:
        return self._uses.use(self._rows[key])

    def __iter__(self) -> Iterator[K]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def in_order(self) -> Ordered[K]:
        """The keys in order; the same object for as long as they are the same."""
        if self._met or self._freed:
            before = self._order
            stays = np.ones(len(self._seen), dtype=bool)
            stays[self._freed] = False
            stay = stays[before.rows]
            met = [(row, key) for row in dict.fromkeys(self._met) if (key := self._keys[row]) is not None]
            keys = [*compress(before.keys, stay.tolist()), *(key for _, key in met)]
            rows = np.concatenate([before.rows[stay], np.array([row for row, _ in met], np.int64)])
            order = sorted(range(len(keys)), key=keys.__getitem__)  # most of them are in order
            self._order = Ordered([keys[n] for n in order], rows[order])
            self._met, self._freed = [], []
        return self._order

    def rows(self, keys: Iterable[K]) -> Whole:
        """The rows of keys; a new key begins at zero."""
        known = self._rows
        found = [row if (row := known.get(key)) is not None else self._meet(key) for key in keys]
        return np.array(found, dtype=np.int64)

    def add(self, rows: Whole, uses: Uses) -> None:
        """Add uses to the rows of their owners; a row may come several times."""
        np.add.at(self._uses.amounts, rows, uses.amounts)
        np.logical_or.at(self._uses.told, rows, uses.told)

    def column(self, rows: Whole, name: str) -> tuple[Floats, Truths]:
        """One number of each of these rows, and whether it is told."""
        n = NUMBER[name]
        told = self._uses.told[rows, n - _FIRST_TOLD] if name in TELEMETRY else np.ones(len(rows), dtype=bool)
        return self._uses.amounts[rows, n], told

    def see(self, rows: Whole, at: float) -> None:
        """Note that the keys of these rows were seen at a moment."""
        self._seen[rows] = at

    def seen(self, rows: Whole) -> Floats:
        """When the keys of these rows were last seen; NaN: never."""
        return self._seen[rows]

    def unseen(self, at: float, longer: float) -> list[K]:
        """The keys that were last seen longer than so many seconds before a moment."""
        rows = np.flatnonzero(at - self._seen > longer).tolist()
        return [key for row in rows if (key := self._keys[row]) is not None]

    def move(self, key: K, other: K) -> None:
        """Add what a key has to another's, and forget the key."""
        self.rows([other])
        row, onto = self._rows[key], self._rows[other]
        self._uses.amounts[onto] += self._uses.amounts[row]
        self._uses.told[onto] |= self._uses.told[row]
        self.forget([key])

    def forget(self, keys: Iterable[K]) -> None:
        """Drop keys and their totals."""
        rows = [self._rows.pop(key) for key in keys]
        self._uses.amounts[rows] = 0.0
        self._uses.told[rows] = False
        self._seen[rows] = np.nan
        for row in rows:
            self._keys[row] = None
        self._freed += rows
        self._free += rows

    def _meet(self, key: K) -> int:
        if not self._free:
            size = len(self._uses.amounts)
            more = max(64, size)
            self._uses = Uses(
                np.concatenate([self._uses.amounts, np.zeros((more, len(NUMBERS)))]),
                np.concatenate([self._uses.told, np.zeros((more, len(TELEMETRY)), dtype=bool)]),
            )
            self._seen = np.concatenate([self._seen, np.full(more, np.nan)])
            self._keys += [None] * more
            self._free = list(range(size + more - 1, size - 1, -1))
        row = self._rows[key] = self._free.pop()
        self._keys[row] = key
        self._met.append(row)
        return row
