"""What stands in the books for a stretch of time, summed into the groups that become statement lines: by columns.

The groups and their sums are those of `accounting.statements.usage.usage`; here millions of them are arrays, and no job
is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, func, select

from accounting.bulk.packed import numbers, numbers_of, rows_of, texts, texts_of
from accounting.bulk.pages import among_ids, every, listed_ids
from accounting.bulk.readers import Readers
from accounting.evidence.claim_rows import Codes
from accounting.model import CAPACITY, DAY
from accounting.reconcile.sweep.columns import Ints
from accounting.statements.usage import MEASURES, Group, share
from accounting.store.database import chunks
from accounting.store.tables import node_days, postings, telemetry
from exporters.model import Disposition

WORDS = (*Disposition, None)
"""What a line counts as, by code; the last is that of a record which is only shown."""

_TOGETHER = 250
"""Node-days whose postings are taken apart at once."""

_D, _P, _M = node_days.c, postings.c, telemetry.c
_NUMBERS = (func.coalesce(_P.job_id, 0), func.coalesce(_P.linked_id, 0), _P.quantity, _P.held, _P.start_at, _P.end_at)
_TEXTS = (_P.project, _P.model, _P.account)
_CODES = {**{word.value: n for n, word in enumerate(Disposition)}, "": len(Disposition)}


@dataclass(frozen=True, slots=True)
class Sums:
    """One entry per project, job, model, disposition and linked job; ``job`` and ``linked`` are ids, 0 for nobody.

    ``project`` and ``model`` number texts, ``word`` is a code into `WORDS`. ``held`` and ``charged`` are
    milliGPU-seconds, ``start`` and ``end`` the first and last second. ``measured`` are the sums of `MEASURES` of the
    entries of which something was measured.
    """

    projects: Sequence[str]
    models: Sequence[str]
    project: Ints
    job: Ints
    model: Ints
    word: Ints
    linked: Ints
    charged: Ints
    held: Ints
    start: Ints
    end: Ints
    measured: dict[int, Sequence[float]]

    def __len__(self) -> int:
        return len(self.job)


class _Part(NamedTuple):
    """The sums of some days: texts, and the columns of `Sums` from ``project`` to ``end``, which number them."""

    projects: list[str]
    models: list[str]
    columns: list[Ints]


def standing_sums(readers: Readers, connection: Connection, start: int, end: int) -> Sums:
    """What stands for the node-days that begin in ``[start, end)``. Corrections booked elsewhere are not in it.

    ``readers`` add up a day each, and see what ``connection`` sees.
    """
    projects, models = Codes(), Codes()
    parts: list[list[Ints]] = []
    for part in readers.map(_of_days, [(a, min(a + DAY, end)) for a in range(start, end, DAY)]):
        columns = part.columns
        columns[0] = projects.of(part.projects)[columns[0]].astype(np.int32)
        columns[2] = models.of(part.models)[columns[2]].astype(np.int16)
        parts.append(columns)
    project, job, model, word, linked, charged, held, begins, ends = _grouped(_joined(parts))
    sums = Sums(projects.items, models.items, project, job, model, word, linked, charged, held, begins, ends, {})
    sums.measured.update(_measured(connection, sums, start, end))
    return sums


_KINDS = (np.int32, np.int64, np.int16, np.int8, np.int64, np.int64, np.int64, np.int64, np.int64)


def _joined(parts: list[list[Ints]]) -> list[Ints]:
    """Columns below each other, which the parts lose: none is in memory twice for long."""
    found: list[Ints] = []
    for n, kind in enumerate(_KINDS):
        found.append(np.concatenate([np.empty(0, dtype=kind), *(part[n] for part in parts)]))
        for part in parts:
            part[n] = found[n][:0]
    return found


def day_sums(connection: Connection, start: int, end: int) -> Sums:
    """What stands for the node-days that begin in ``[start, end)``, a day or so, without what was measured."""
    part = _of_days(connection, (start, end))
    project, job, model, word, linked, charged, held, begins, ends = part.columns
    return Sums(part.projects, part.models, project, job, model, word, linked, charged, held, begins, ends, {})


def _of_days(connection: Connection, span: tuple[int, int]) -> _Part:
    """The sums of the node-days that begin within a stretch of time."""
    dialect = connection.dialect.name
    heads = connection.scalars(select(_D.transaction_id).where(_D.start_at >= span[0], _D.start_at < span[1]))
    told_numbers = [numbers(dialect, column) for column in _NUMBERS]
    query = select(*told_numbers, texts(dialect, _TEXTS)).where(
        among_ids(_P.transaction_id, dialect), _P.account != CAPACITY
    )
    told, projects, models = Codes(), Codes(), Codes()
    parts: list[list[Ints]] = []
    for some in chunks([n for n in heads if n is not None], _TOGETHER):
        ((*amounts_, names_),) = every(connection, query, listed_ids(some, dialect))
        if not names_:
            continue
        job, linked, *amounts = map(numbers_of, amounts_)
        codes = told.of(rows_of(names_))
        names = [*map(texts_of, told.items)]
        columns = (
            projects.of(project for project, _, _ in names)[codes],
            job,
            models.of(model for _, model, _ in names)[codes],
            np.array([_CODES[word] for _, _, word in names])[codes],
            linked,
            *amounts,
        )
        parts.append([column.astype(kind) for kind, column in zip(_KINDS, columns, strict=True)])
    return _Part(projects.items, models.items, _grouped(_joined(parts)))


def _grouped(columns: list[Ints]) -> list[Ints]:
    """One entry per group: quantities and held add up, start and end span all of it. Sorted by group."""
    project, job, model, word, linked = columns[:5]
    if not len(job):
        return columns
    order = np.argsort(job)
    ranked = job[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = ranked[1:] != ranked[:-1]
    again = np.flatnonzero(~new | ~np.append(new[1:], True))  # mostly a job has one entry
    some = order[again]
    rest = (project[some].astype(np.int64) << 24) | (model[some].astype(np.int64) << 8) | word[some]
    keys = [column[np.lexsort((some, rest, linked[some], job[some]))] for column in (some, rest, linked[some])]
    order[again] = keys[0]
    same = np.zeros(len(order), dtype=bool)
    same[again[1:]] = (keys[1][1:] == keys[1][:-1]) & (keys[2][1:] == keys[2][:-1])
    new |= ~same
    first = np.flatnonzero(new)
    found: list[Ints] = [column[order[first]] for column in columns[:5]]
    for n, add in ((5, np.add), (6, np.add), (7, np.minimum), (8, np.maximum)):
        found.append(add.reduceat(columns[n][order], first))
        columns[n] = found[n]  # what is summed is not needed any more
    return found


def _measured(connection: Connection, sums: Sums, start: int, end: int) -> dict[int, Sequence[float]]:
    """What was measured of each job, shared among its lines if it has several (`accounting.statements.usage.share`)."""
    total = [func.sum(_M[name]) for name in MEASURES]
    query = select(_M.job_id, *total).where(_M.start_at >= start, _M.start_at < end).group_by(_M.job_id)
    found: dict[int, Sequence[float]] = {}
    several: dict[int, range] = {}
    for number, *values in connection.execute(query):
        a, b = np.searchsorted(sums.job, [number, number + 1]).tolist()
        if b - a == 1:
            found[a] = [float(v) for v in values]
        elif b > a:
            several[number] = range(a, b)
    shared: dict[Group, list[float]] = {}
    if several:
        share(connection, [*several], (start, end), shared)
    for lines in several.values():
        for n in lines:
            if (values_ := shared.get(group_of(sums, n))) is not None:
                found[n] = values_
    return found


def group_of(sums: Sums, n: int) -> Group:
    """What makes one of the entries a usage of its own."""
    word = WORDS[sums.word[n]]
    return Group(
        sums.projects[sums.project[n]],
        int(sums.job[n]) or None,
        sums.models[sums.model[n]],
        word.value if word else "",
        int(sums.linked[n]) or None,
    )
