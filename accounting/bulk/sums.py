"""What stands in the books for a stretch of time, summed into the groups that become statement lines: by columns.

The groups and their sums are those of `accounting.usage.usage`; here millions of them are arrays, and no job is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from accounting.booking import CAPACITY
from accounting.bulk.pages import pages
from accounting.bulk.rows import Codes
from accounting.sweep.columns import Ints
from accounting.tables import node_days, postings, telemetry
from accounting.usage import MEASURES, Group, share
from exporters.model import Disposition

WORDS = (*Disposition, None)
"""What a line counts as, by code; the last is that of a record which is only shown."""

_D, _P, _M = node_days.c, postings.c, telemetry.c
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


def standing_sums(connection: Connection, start: int, end: int) -> Sums:
    """What stands for the node-days that begin in ``[start, end)``. Corrections booked elsewhere are not in it."""
    columns = (_P.project, _P.job_id, _P.model, _P.account, _P.linked_id, _P.quantity, _P.held, _P.start_at, _P.end_at)
    query = select(*columns).join(node_days, _D.transaction_id == _P.transaction_id)
    query = query.where(_D.start_at >= start, _D.start_at < end, _P.account != CAPACITY)
    projects, models = Codes(), Codes()
    parts = [_grouped(_numbers(rows, projects, models)) for rows in pages(connection, query)]
    found = _grouped(np.concatenate([np.empty((9, 0), dtype=np.int64), *parts], axis=1))
    del parts
    project, job, model, word, linked, charged, held, begins, ends = found
    sums = Sums(projects.items, models.items, project, job, model, word, linked, charged, held, begins, ends, {})
    sums.measured.update(_measured(connection, sums, start, end))
    return sums


def _numbers(rows: Sequence[Sequence[Any]], projects: Codes, models: Codes) -> Ints:
    project, job, model, account, linked, *amounts = zip(*rows, strict=True)
    return np.array(
        [
            projects.of(project),
            [n or 0 for n in job],
            models.of(model),
            [_CODES[word] for word in account],
            [n or 0 for n in linked],
            *amounts,
        ],
        dtype=np.int64,
    )


def _grouped(rows: Ints) -> Ints:
    """One column per group: quantities and held add up, start and end span all of it. Sorted by group."""
    if not rows.shape[1]:
        return rows
    order = np.lexsort((rows[3] | (rows[2] << 3) | (rows[0] << 32), rows[4] | (rows[1] << 32)))
    rows = rows[:, order]
    new = np.ones(rows.shape[1], dtype=bool)
    new[1:] = (rows[:5, 1:] != rows[:5, :-1]).any(axis=0)
    first = np.flatnonzero(new)
    found = rows[:, first]
    found[5], found[6] = np.add.reduceat(rows[5], first), np.add.reduceat(rows[6], first)
    found[7], found[8] = np.minimum.reduceat(rows[7], first), np.maximum.reduceat(rows[8], first)
    return found


def _measured(connection: Connection, sums: Sums, start: int, end: int) -> dict[int, Sequence[float]]:
    """What was measured of each job, shared among its lines where it has several (`accounting.usage.share`)."""
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
            if (values_ := shared.get(_group(sums, n))) is not None:
                found[n] = values_
    return found


def _group(sums: Sums, n: int) -> Group:
    word = WORDS[sums.word[n]]
    return Group(
        sums.projects[sums.project[n]],
        int(sums.job[n]) or None,
        sums.models[sums.model[n]],
        word.value if word else "",
        int(sums.linked[n]) or None,
    )
