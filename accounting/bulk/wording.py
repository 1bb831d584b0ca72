"""A month's lines put into words, some at a time: here, or by processes that map what is known of the lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from accounting.bulk.lines import Frame, Slice, Who, rendered
from accounting.bulk.names import Names
from accounting.bulk.readers import Readers
from accounting.bulk.shelf import Kept, Shelf
from accounting.bulk.sums import Sums
from accounting.reconcile.sweep.columns import Ints
from accounting.statements.usage import MEASURES

PART = 20_000
"""Lines that are put into words at once."""

_SHARED = ("projects", "models", "measured")

Span = tuple[int, int]
"""From one line to before another, in the order of the statement."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of some lines: their numbers, ascending, and a row of `accounting.statements.usage.MEASURES`
    for each.
    """

    lines: Ints
    values: NDArray[np.float64]

    def of(self, which: Ints) -> dict[int, Sequence[float]]:
        """What was measured of those lines, by their place in ``which``."""
        if not len(self.lines):
            return {}
        places = np.minimum(np.searchsorted(self.lines, which), len(self.lines) - 1)
        there = np.flatnonzero(self.lines[places] == which)
        return dict(zip(there.tolist(), self.values[places[there]].tolist(), strict=True))


def measured_of(found: Mapping[int, Sequence[float]]) -> Measured:
    """What was measured, by the numbers of the lines, as columns."""
    lines = np.fromiter(found, dtype=np.int64, count=len(found))
    values = np.array([*found.values()], dtype=np.float64).reshape(-1, len(MEASURES))
    order = np.argsort(lines)
    return Measured(lines[order], values[order])


@dataclass(frozen=True, slots=True)
class Lines:
    """A month's lines as they are, and their ``order`` in the statement.

    ``place`` and ``other`` number `Frame.places`: the cluster of each line's job, and of the linked one.
    """

    own: Slice
    order: Ints
    place: NDArray[np.int32]
    other: NDArray[np.int32]
    measured: Measured
    frame: Frame


@dataclass(frozen=True, slots=True)
class Jobs:
    """What is to be told of jobs, and the places among them of each line's job and of the linked one."""

    names: Names
    own: NDArray[np.int32]
    linked: NDArray[np.int32]


def jobs_of(names: Names, sums: Sums) -> Jobs:
    """The jobs of some lines. Raises `LedgerError` for one that is not there."""
    return Jobs(names, names.places(sums.job).astype(np.int32), names.places(sums.linked).astype(np.int32))


def worded(lines: Lines, jobs: Jobs, span: Span) -> bytes:
    """Some lines as the CSV has them."""
    which = lines.order[span[0] : span[1]]
    own = taken(lines.own, which, lines.measured)
    who = Who(jobs.names.told(jobs.own[which].astype(np.int64), cells=True), lines.place[which].astype(np.int64))
    linked = Who(jobs.names.told(jobs.linked[which].astype(np.int64), cells=False), lines.other[which].astype(np.int64))
    return rendered(own, lines.frame, who, linked)


def taken(lines: Slice, which: Ints, measured: Measured) -> Slice:
    """Some of the lines."""
    sums = lines.sums
    columns = {f.name: getattr(sums, f.name)[which] for f in fields(Sums) if f.name not in _SHARED}
    return Slice(
        Sums(sums.projects, sums.models, **columns, measured=measured.of(which)),
        lines.micro[which],
        lines.minor[which],
        lines.price[which],
    )


def all_worded(readers: Readers, lines: Lines, jobs: Jobs) -> Iterator[bytes]:
    """All lines, by ``readers`` that are in this process."""
    yield from readers.map(partial(_here, lines=lines, jobs=jobs), _spans(len(lines.order)))


def all_filed(readers: Readers, shelf: Shelf, lines: Kept[Lines], jobs: Kept[Jobs], count: int) -> Iterator[Path]:
    """All lines, by ``readers`` anywhere, each part in a file that whoever takes it may do away with."""
    items = ((span, str(shelf.new())) for span in _spans(count))
    for name in readers.map(partial(_filed, lines=lines, jobs=jobs), items):
        path = Path(name)
        yield path
        path.unlink()


def _spans(count: int) -> Iterator[Span]:
    return ((n, min(n + PART, count)) for n in range(0, count, PART))


def _here(_: Connection, span: Span, lines: Lines, jobs: Jobs) -> bytes:
    return worded(lines, jobs, span)


def _filed(_: Connection, item: tuple[Span, str], lines: Kept[Lines], jobs: Kept[Jobs]) -> str:
    span, path = item
    Path(path).write_bytes(worded(lines.thing(), jobs.thing(), span))
    return path
