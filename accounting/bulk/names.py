"""What millions of lines say of their jobs: one long text, read once in the order of the table.

Lines come in the order of projects, and each project's jobs are spread over the whole table: to look them up as they
come would read most of the table for every few thousand lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from accounting.bulk.pages import among_ids, every, listed_ids
from accounting.bulk.readers import Readers
from accounting.bulk.texts import Said, said_of
from accounting.database import LedgerError
from accounting.statements.csvtext import cell
from accounting.sweep.columns import Flags, Ints
from accounting.tables import jobs

TOGETHER = 20_000
"""Jobs that are read at once."""

_DENSE = 4
"""So many ids to one that is wanted, and all between the first and the last are read."""

_CELLS = 5
_ORDINARY = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_ .:/@-,"
_LEADS = [f",{letter}".encode() for letter in " .:/@-"]
_LONG = 255
_PLAIN = re.compile(r"(?:(?:\w[\w .:/@-]{0,254})?,){5}", re.ASCII).fullmatch  # cells to which nothing is to be done

_J = jobs.c
_QUERY = select(
    _J.id,
    func.length(_J.run),
    _J.run + "," + _J.name + "," + _J.user_name + "," + _J.account + "," + _J.partition + ",",
).order_by(_J.id)


@dataclass(frozen=True, slots=True)
class Told:
    """What some lines say of their jobs, one entry each; without a job five empty cells.

    ``text`` holds for each line the run's id and a comma, then the cells from job_id to partition_or_queue, each with a
    comma. ``size`` is how long that is, ``run`` how long the id is with its comma, ``letters`` the id in letters. Of a
    ``plain`` job the id is its cell as well, and is there once.
    """

    text: bytes
    size: Ints
    run: Ints
    letters: Ints
    plain: Flags

    def runs(self) -> list[bytes]:
        """Each line's run, with a comma."""
        begins = np.cumsum(self.size) - self.size
        return self._slices(begins, begins + self.run)

    def cells(self) -> list[bytes]:
        """Each line's cells."""
        ends = np.cumsum(self.size)
        return self._slices(ends - self.size + np.where(self.plain, 0, self.run), ends)

    def _slices(self, begins: Ints, ends: Ints) -> list[bytes]:
        text = self.text
        return [text[a:b] for a, b in zip(begins.tolist(), ends.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class Part:
    """Of `TOGETHER` jobs (the last ones may be fewer) in the order of their ids, what `Told` has of each."""

    text: bytes
    size: Ints
    run: Ints
    letters: Ints
    plain: Flags


class Names:
    """What is to be told of jobs. ``ids`` rise; where a job is among them is its place, and -1 is nobody's."""

    def __init__(self, ids: Ints, parts: Iterable[Part]) -> None:
        self.ids = ids
        every = [*parts, _nobody()]
        self.texts = [part.text for part in every]
        self.begin = np.concatenate([np.cumsum(part.size) - part.size for part in every])
        self.size = np.concatenate([part.size for part in every])
        self.run = np.concatenate([part.run for part in every])
        self.letters = np.concatenate([part.letters for part in every])
        self.plain = np.concatenate([part.plain for part in every])

    def places(self, ids: Ints) -> Ints:
        """Where some jobs are, by id; of 0 nobody's place."""
        return np.where(ids > 0, np.searchsorted(self.ids, ids), -1)

    def told(self, places: Ints, *, cells: bool) -> Told:
        """What is to be told of the jobs at some places, in that order; without ``cells`` only their runs."""
        begins, run = self.begin[places], self.run[places]
        size = self.size[places] if cells else run
        parts = np.where(places < 0, -1, places // TOGETHER)
        spans = zip(parts.tolist(), begins.tolist(), (begins + size).tolist(), strict=True)
        texts = self.texts
        found = b"".join([texts[n][a:b] for n, a, b in spans])
        return Told(found, size, run, self.letters[places], self.plain[places])


def _nobody() -> Part:
    one = _ints([1])
    return Part(b"," * _CELLS, one * _CELLS, one, one * 0, one == 1)


def distinct(ids: Ints) -> Ints:
    """Each id once, in order, without 0. Sorting is quicker here than looking each up."""
    found = np.sort(ids)
    new = np.ones(len(found), dtype=bool)
    new[1:] = found[1:] != found[:-1]
    return found[new & (found > 0)]


def names_of(readers: Readers, ids: Ints) -> Names:
    """What is to be told of some jobs. ``ids`` rise, and 0 is not among them.

    Raises `LedgerError` for a job that is not there.
    """
    spans = (ids[n : n + TOGETHER] for n in range(0, len(ids), TOGETHER))
    return Names(ids, readers.map(_part, spans))


def _part(connection: Connection, ids: Ints) -> Part:
    first, last = int(ids[0]), int(ids[-1])
    if last - first < _DENSE * len(ids):
        rows = every(connection, _QUERY.where(_J.id >= first, _J.id <= last))
    else:
        dialect = connection.dialect.name
        rows = every(connection, _QUERY.where(among_ids(_J.id, dialect)), listed_ids(ids.tolist(), dialect))
    if len(rows) != len(ids):
        wanted = np.isin(np.array([row[0] for row in rows], dtype=np.int64), ids).tolist()
        rows = [row for row, here in zip(rows, wanted, strict=True) if here]
    if len(rows) != len(ids):
        lost = min(set(ids.tolist()) - {row[0] for row in rows})
        raise LedgerError(f"no job {lost}, of which something is booked: see meterbridge check")
    _, letters, cells = zip(*rows, strict=True)
    return part_of(ids, letters, cells, partial(said_of, connection))


def part_of(
    ids: Ints, letters: Sequence[int], cells: Sequence[str], said: Callable[[Ints], Mapping[int, Said]]
) -> Part:
    """A part of some jobs. ``letters`` is how long the id of each run is, ``cells`` five names with a comma after each.

    ``said`` is asked for the jobs whose names are not ordinary.
    """
    text = "".join(cells)
    if text.isascii() and max(map(len, cells)) <= _LONG and _all_plain(text.encode(), len(cells)):
        lengths = _ints(letters)
        return Part(text.encode(), _ints(map(len, cells)), lengths + 1, lengths, np.ones(len(ids), dtype=bool))
    plain = [_PLAIN(some) is not None for some in cells]
    odd = said(ids[~np.array(plain)])
    found = [
        _mended(odd[n]) if n in odd else (some.encode(), length + 1)
        for n, some, length in zip(ids.tolist(), cells, letters, strict=True)
    ]
    texts, runs = zip(*found, strict=True)
    return Part(b"".join(texts), _ints(map(len, texts)), _ints(runs), _ints(letters), np.array(plain))


def _all_plain(text: bytes, number: int) -> bool:
    """Whether nothing is to be done to any cell of so many jobs: `_PLAIN` for all of them at once."""
    return (
        not text.translate(None, _ORDINARY)
        and text.count(b",") == _CELLS * number
        and text[:1] not in b" .:/@-"
        and not any(lead in text for lead in _LEADS)
    )


def _mended(job: Said) -> tuple[bytes, int]:
    """What `Told` has of a job that is not plain, and how long its run is with its comma."""
    run = f"{job.run},".encode("utf-8", "surrogatepass")
    rest = "".join(f"{cell(text)}," for text in (job.run, job.name, job.user, job.account, job.partition))
    return run + rest.encode(), len(run)


def _ints(values: Iterable[int]) -> Any:
    return np.fromiter(values, dtype=np.int32)
