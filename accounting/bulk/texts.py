"""What is known of jobs in words, fetched when it is to be printed: millions of names are never in memory at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, Connection, func, select

from accounting.bulk.packed import numbers, numbers_of
from accounting.bulk.pages import among_ids, every, listed_ids
from accounting.reconcile.sweep.columns import Ints
from accounting.store.tables import jobs

_J = jobs.c
_NEVER = 1 << 62
_SOME = 1000


class Said(NamedTuple):
    """What a line says of its job."""

    scheduler: str
    cluster: str
    run: str
    name: str
    user: str
    account: str
    partition: str


def said_of(connection: Connection, ids: Ints) -> Mapping[int, Said]:
    """What is known of some jobs, by id; in order of id, so that each page of the table is read once."""
    columns = (_J.scheduler, _J.cluster, _J.run, _J.name, _J.user_name, _J.account, _J.partition)
    return {row[0]: Said._make(row[1:]) for row in _rows(connection, ids, columns)}


def job_names(connection: Connection, ids: Ints) -> Mapping[int, tuple[str, str, str]]:
    """Scheduler, cluster and run of some jobs, by id."""
    rows = _rows(connection, ids, (_J.scheduler, _J.cluster, _J.run))
    return {number: (scheduler, cluster, run) for number, scheduler, cluster, run in rows}


def _rows(connection: Connection, ids: Ints, columns: Sequence[ColumnElement[str]]) -> list[Sequence[Any]]:
    dialect = connection.dialect.name
    query = select(_J.id, *columns).where(among_ids(_J.id, dialect))
    return every(connection, query, listed_ids(np.unique(ids[ids > 0]).tolist(), dialect))


class Places:
    """Which scheduler's cluster jobs are of: ``names`` sorted, `of_jobs` by id a number into them, -1 for nobody."""

    def __init__(self, connection: Connection, *ids: Ints) -> None:
        self.names = _places(connection)
        self.first = min((int(some[some > 0].min(initial=_NEVER)) for some in ids), default=_NEVER)
        last = max((int(some.max(initial=0)) for some in ids), default=0)
        most = self._most(connection)  # what the others are not is of this one
        self.of = np.full(max(last - self.first + 1, 0), most, dtype=np.int16)
        for number, (scheduler, cluster) in enumerate(self.names):
            if number == most:
                continue
            # by the index alone, which a range of ids would keep SQLite from
            here = (_J.scheduler == scheduler, _J.cluster == cluster, _J.id + 0 >= self.first, _J.id + 0 <= last)
            ((told,),) = every(connection, select(numbers(connection.dialect.name, _J.id)).where(*here))
            self.of[numbers_of(told) - self.first] = number

    def _most(self, connection: Connection) -> int:
        """The one of which most of the first jobs are."""
        some = every(
            connection, select(_J.scheduler, _J.cluster).where(_J.id >= self.first).order_by(_J.id).limit(_SOME)
        )
        found = Counter((scheduler, cluster) for scheduler, cluster in some)
        return self.names.index(max(found, key=found.__getitem__)) if found else -1

    def of_jobs(self, ids: Ints) -> Ints:
        """The number of each job's scheduler's cluster, -1 for nobody."""
        if not len(self.of):
            return np.full(len(ids), -1, dtype=np.int64)
        found: Ints = np.where(ids > 0, self.of[np.maximum(ids - self.first, 0)], -1).astype(np.int64)
        return found


def _places(connection: Connection) -> list[tuple[str, str]]:
    """Schedulers' clusters, sorted."""
    found = []
    for scheduler in _each(connection, _J.scheduler):
        found += [(scheduler, cluster) for cluster in _each(connection, _J.cluster, _J.scheduler == scheduler)]
    return sorted(found)


def _each(connection: Connection, column: ColumnElement[str], *here: ColumnElement[bool]) -> Iterator[str]:
    """Each text of a column: looked up in the index behind the one before, lest all of it be read."""
    query = select(func.min(column)).where(*here)
    value = connection.execute(query).scalar_one()
    while value is not None:
        yield value
        value = connection.execute(query.where(column > value)).scalar_one()
