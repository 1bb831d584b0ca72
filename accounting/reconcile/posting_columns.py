"""Rows of ``postings`` by columns, as they come out of reconciling and go into the books."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from accounting.arrays import Ints
from accounting.arrow import array_of, strings
from accounting.model import CAPACITY
from accounting.store.database import LedgerError

NUMBERS = ("quantity", "held", "start_at", "end_at")
JOBS = ("job_id", "linked_id")
TEXTS = ("account", "model", "project", "link", "reason", "unit")
VALUES = (*NUMBERS, *JOBS, *TEXTS)
"""Columns of ``postings`` that `Postings` holds, in its order."""

_ACCOUNT, _MODEL = TEXTS.index("account"), TEXTS.index("model")


class Words(NamedTuple):
    """A column of texts: which of ``texts`` each row has."""

    texts: Sequence[str]
    codes: Ints


@dataclass(frozen=True, slots=True)
class Postings:
    """Postings of some node-days: those of the n-th are ``first[n]:first[n + 1]``.

    ``numbers`` are `NUMBERS` (milliGPU-seconds, epoch seconds) and `JOBS` (ids, -1 for nobody), ``texts`` are `TEXTS`.
    """

    first: Ints
    numbers: Sequence[Ints]
    texts: Sequence[Words]

    @classmethod
    def none(cls) -> Postings:
        """No node-days."""
        nothing = np.empty(0, dtype=np.int64)
        numbers = [nothing] * (len(NUMBERS) + len(JOBS))
        return cls(np.zeros(1, dtype=np.int64), numbers, [Words((), nothing)] * len(TEXTS))

    def followed_by(self, more: int) -> Postings:
        """These, and so many more node-days without any."""
        last = np.full(more, self.first[-1], dtype=np.int64)
        return Postings(np.concatenate([self.first, last]), self.numbers, self.texts)

    def count(self, n: int) -> int:
        """How many the n-th node-day has."""
        return int(self.first[n + 1] - self.first[n])

    def rows(self, n: int) -> Iterator[tuple[Any, ...]]:
        """Those of the n-th node-day: `VALUES` of each."""
        return zip(*self.columns(slice(int(self.first[n]), int(self.first[n + 1]))), strict=True)

    def columns(self, some: slice | Ints) -> list[list[Any]]:
        """Some rows, as a list for each of `VALUES`."""
        numbers = [column[some].tolist() for column in self.numbers]
        jobs = [[None if n < 0 else n for n in column] for column in numbers[len(NUMBERS) :]]
        texts = [[*map(words.texts.__getitem__, words.codes[some].tolist())] for words in self.texts]
        return [*numbers[: len(NUMBERS)], *jobs, *texts]

    def refuse_unbalanced(self, places: Sequence[str]) -> None:
        """Raise `LedgerError` when a node-day's do not sum to zero, or one is negative that may not be.

        ``places`` name the node-days.
        """
        quantity, (accounts, account), (models, model) = self.numbers[0], self.texts[_ACCOUNT], self.texts[_MODEL]
        owner = np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))
        paying = np.array([text != CAPACITY for text in accounts], dtype=bool)
        for n in np.flatnonzero((quantity < 0) & paying[account])[:1].tolist():
            what = f"{quantity[n]} on {accounts[account[n]]} is negative"
            raise LedgerError(f"node-day {places[owner[n]]}: {what}")
        several = max(len(models), 1)
        key, which = np.unique(owner * several + model % several, return_inverse=True)
        sums = np.zeros(len(key), dtype=np.int64)
        np.add.at(sums, which, quantity)
        for n in np.flatnonzero(sums)[:1].tolist():
            left = {models[int(key[n]) % several]: int(sums[n])}
            raise LedgerError(f"node-day {places[int(key[n]) // several]} does not balance: {left} are left over")

    def table(self) -> pa.Table:
        """All rows, each with the number of its node-day as ``node_day``."""
        owner = np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))
        numbers = [
            array_of(column, np.zeros(len(column), dtype=bool)) for column in (owner, *self.numbers[: len(NUMBERS)])
        ]
        jobs = [array_of(ids, ids < 0) for ids in self.numbers[len(NUMBERS) :]]
        return pa.table([*numbers, *jobs, *map(_texts, self.texts)], ("node_day", *VALUES))


def _texts(words: Words) -> pa.Array:
    codes = words.codes % max(len(words.texts), 1)  # -1 is the last one
    return strings(words.texts).take(array_of(codes, codes < 0))
