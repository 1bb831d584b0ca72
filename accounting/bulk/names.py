"""What millions of lines say of their jobs: one long text, read once in the order of the table.

Lines come in the order of projects, and each project's jobs are spread over the whole table: to look them up as they
come would read most of the table for every few thousand lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, func, literal, select

from accounting.bulk.packed import joined, numbers, numbers_of
from accounting.bulk.pages import among_ids, every, listed_ids
from accounting.bulk.readers import Readers, begun
from accounting.bulk.shelf import Kept, Shelf, kept_at
from accounting.bulk.texts import Said, said_of
from accounting.reconcile.sweep.columns import Flags, Ints
from accounting.statements.csvtext import cell
from accounting.store.database import LedgerError
from accounting.store.tables import jobs

TOGETHER = 20_000
"""Jobs that are read at once."""

_DENSE = 2
"""So many ids to one that is wanted, and all between the first and the last are read."""

_CELLS = 5
_ORDINARY = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_ .:/@-,"
_LEADING = np.isin(np.arange(256), [*b" .:/@-"])  # letters that a cell does not begin with, without more ado
_LONG = 255
_PLAIN = re.compile(r"(?:(?:\w[\w .:/@-]{0,254})?,){5}", re.ASCII).fullmatch  # cells to which nothing is to be done

_J = jobs.c
_TOLD = (_J.run, _J.name, _J.user_name, _J.account, _J.partition)


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
    """Of some jobs in the order of their ids, what `Told` has of each."""

    ids: Ints
    text: NDArray[np.uint8]
    begin: Ints
    size: Ints
    run: Ints
    letters: Ints
    plain: Flags


class Names:
    """What is to be told of jobs. The ids of the parts rise; the last place is nobody's, and -1 as well."""

    def __init__(self, parts: Iterable[Part]) -> None:
        text, begins, every = bytearray(), [], []
        for part in chain(parts, [_nobody()]):
            begins.append(part.begin + len(text))
            text += part.text.data
            every.append(replace(part, text=part.text[:0]))
        self.text: NDArray[np.uint8] = np.frombuffer(text, dtype=np.uint8)
        self.begin = np.concatenate(begins)
        self.ids = np.concatenate([part.ids for part in every])
        self.size = np.concatenate([part.size for part in every])
        self.run = np.concatenate([part.run for part in every])
        self.letters = np.concatenate([part.letters for part in every])
        self.plain = np.concatenate([part.plain for part in every])

    def places(self, ids: Ints) -> Ints:
        """Where some jobs are, by id; of 0 nobody's place. Raises `LedgerError` for a job that is not there."""
        found = np.full(len(ids), len(self.ids) - 1)
        some = np.flatnonzero(ids)
        found[some] = np.searchsorted(self.ids[:-1], ids[some])
        lost = self.ids[found] != ids
        if lost.any():
            raise _lost(ids[lost][0])
        return found

    def told(self, places: Ints, *, cells: bool) -> Told:
        """What is to be told of the jobs at some places, in that order; without ``cells`` only their runs."""
        run = self.run[places]
        size = self.size[places] if cells else run
        ends = np.cumsum(size, dtype=np.int64)
        at = np.repeat(self.begin[places] - ends + size, size)
        at += np.arange(len(at))
        return Told(self.text[at].tobytes(), size, run, self.letters[places], self.plain[places])


def _nobody() -> Part:
    one: Any = np.ones(1, dtype=np.int32)
    return Part(one * 0, np.full(_CELLS, ord(","), dtype=np.uint8), one * 0, one * _CELLS, one, one * 0, one == 1)


def distinct(ids: Ints) -> Ints:
    """Each id once, in order, without 0. Sorting is quicker here than looking each up."""
    found = np.sort(ids)
    new = np.ones(len(found), dtype=bool)
    new[1:] = found[1:] != found[:-1]
    return found[new & (found > 0)]


def parts_of(readers: Readers, ids: Ints, shelf: Shelf | None = None) -> Iterator[Part]:
    """What is to be told of some jobs, and of some that lie between. ``ids`` rise, and 0 is not among them.

    With a ``shelf`` processes beside this one begin with it at once, and put it there.
    """
    wanted = (_wanted(ids[n : n + TOGETHER]) for n in range(0, len(ids), TOGETHER))
    if shelf is None:
        return readers.map(_part, wanted)
    return (_fetched(part) for part in begun(readers, _kept_part, [(some, shelf.new()) for some in wanted]))


Wanted = tuple[int, int, Ints | None]
"""The first and the last of some jobs, and which of those between, or all."""


def _wanted(ids: Ints) -> Wanted:
    first, last = int(ids[0]), int(ids[-1])
    return first, last, None if last - first < _DENSE * len(ids) else ids


def _kept_part(connection: Connection, item: tuple[Wanted, Path]) -> Kept[Part]:
    wanted, path = item
    return kept_at(path, _part(connection, wanted))


def _fetched(kept: Kept[Part]) -> Part:
    part = kept.thing()
    Path(kept.path).unlink()
    return part


def _part(connection: Connection, wanted: Wanted) -> Part:
    dialect, (first, last, ids) = connection.dialect.name, wanted
    if ids is None:
        here, parameters = and_(_J.id >= first, _J.id <= last), {}
    else:
        here, parameters = among_ids(_J.id, dialect), listed_ids(ids.tolist(), dialect)
    text = joined(dialect, _TOLD, ",")
    ((told, cells),) = every(connection, select(numbers(dialect, _J.id), text).where(here), parameters)
    if not cells:
        raise _lost(first)
    plain = plain_part(numbers_of(told), cells)
    if plain is not None:
        return plain
    size = sum((func.length(column) for column in _TOLD), literal(_CELLS))
    figures = [numbers(dialect, column) for column in (_J.id, size, func.length(_J.run))]
    ((*figured, cells),) = every(connection, select(*figures, text).where(here), parameters)
    found, sizes, letters = map(numbers_of, figured)
    return part_of(found, sizes, letters, cells, partial(said_of, connection))


def _lost(number: int) -> LedgerError:
    return LedgerError(f"no job {number}, of which something is booked: see meterbridge check")


def plain_part(ids: Ints, text: str) -> Part | None:
    """A part of jobs of whose cells nothing is to be done to any, as `_PLAIN` has it; None where one is not.

    ``text`` has five names of each job, with a comma after each.
    """
    data = text.encode("utf-8", "surrogatepass")
    if data.translate(None, _ORDINARY) or data.count(b",") != _CELLS * len(ids):
        return None
    letters = np.frombuffer(data, dtype=np.uint8)
    commas = np.flatnonzero(letters == ord(","))
    ends = commas[_CELLS - 1 :: _CELLS] + 1
    size = np.diff(ends, prepend=0)
    if _LEADING[letters[0]] or _LEADING[letters[commas[:-1] + 1]].any() or int(size.max()) > _LONG:
        return None
    run = commas[::_CELLS] + 1 - (ends - size)
    return _sorted(ids, data, size, run, run - 1, np.ones(len(ids), dtype=bool))


def part_of(ids: Ints, size: Ints, letters: Ints, text: str, said: Callable[[Ints], Mapping[int, Said]]) -> Part:
    """A part of any jobs. ``text`` is as in `plain_part`, and that of each job ``size`` letters.

    ``letters`` is how long the run's id is. ``said`` is asked for the jobs whose names are not ordinary.
    """
    ends = np.cumsum(size)
    cells = [text[a:b] for a, b in zip((ends - size).tolist(), ends.tolist(), strict=True)]
    plain = np.array([_PLAIN(some) is not None for some in cells])
    odd = said(ids[~plain])
    found = [_mended(odd[n]) if n in odd else (some.encode(), 0) for n, some in zip(ids.tolist(), cells, strict=True)]
    run = np.where(plain, letters + 1, np.array([length for _, length in found]))
    sizes = np.array([len(some) for some, _ in found])
    return _sorted(ids, b"".join(some for some, _ in found), sizes, run, letters, plain)


def _sorted(ids: Ints, data: bytes, size: Ints, run: Ints, letters: Ints, plain: Flags) -> Part:
    """A part in the order of ids."""
    order = np.argsort(ids, kind="stable")
    columns: list[Any] = [np.cumsum(size) - size, *(column.astype(np.int32) for column in (size, run, letters)), plain]
    return Part(ids[order], np.frombuffer(data, dtype=np.uint8), *(column[order] for column in columns))


def _mended(job: Said) -> tuple[bytes, int]:
    """What `Told` has of a job that is not plain, and how long its run is with its comma."""
    run = f"{job.run},".encode("utf-8", "surrogatepass")
    rest = "".join(f"{cell(text)}," for text in (job.run, job.name, job.user, job.account, job.partition))
    return run + rest.encode(), len(run)
