"""What jobs are called, fetched when it is to be printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, select

from accounting.arrays import Ints
from accounting.bulk.pages import among_ids, every, listed_ids
from accounting.store.tables import jobs

_J = jobs.c


def job_names(connection: Connection, ids: Ints) -> Mapping[int, tuple[str, str, str]]:
    """Scheduler, cluster and run of some jobs, by id."""
    rows = _rows(connection, ids, (_J.scheduler, _J.cluster, _J.run))
    return {number: (scheduler, cluster, run) for number, scheduler, cluster, run in rows}


def _rows(connection: Connection, ids: Ints, columns: Sequence[ColumnElement[str]]) -> list[Sequence[Any]]:
    dialect = connection.dialect.name
    query = select(_J.id, *columns).where(among_ids(_J.id, dialect))
    return every(connection, query, listed_ids(np.unique(ids[ids > 0]).tolist(), dialect))
