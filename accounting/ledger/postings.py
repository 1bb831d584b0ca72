"""Writes postings that come as columns, the fast way of each database."""

from __future__ import annotations

import numpy as np
from sqlalchemy import Connection

from accounting.arrays import Ints
from accounting.reconcile.posting_columns import VALUES, Postings
from accounting.store.database import insert_many
from accounting.store.staging import STAGED, is_staged
from accounting.store.tables import postings

_COLUMNS = ", ".join(VALUES)
_COPY = (
    f"INSERT INTO main.postings (id, transaction_id, {_COLUMNS}) "  # noqa: S608 - names of columns
    f"SELECT rowid + ?, node_day + ?, {_COLUMNS} FROM {STAGED} WHERE rowid BETWEEN ? AND ?"
)


def insert_postings(connection: Connection, some: Postings, which: Ints, transactions: Ints, numbers: Ints) -> None:
    """Write the postings of some node-days (``which``, ascending), each as one transaction of that id.

    ``numbers`` are the ids of the first posting of each. A writer that has them at hand (`accounting.store.staging`,
    from `Postings.table`) copies them.
    """
    if is_staged(connection):
        more, further = numbers - 1 - some.first[which], transactions - which
        apart = (np.diff(which) != 1) | (np.diff(more) != 0) | (np.diff(further) != 0)
        for run in np.split(np.arange(len(which)), np.flatnonzero(apart) + 1):
            first, last = some.first[which[run[0]]] + 1, some.first[which[run[-1]] + 1]
            told = (int(more[run[0]]), int(further[run[0]]), int(first), int(last))
            connection.exec_driver_sql(_COPY, told)
        return
    counts = some.first[which + 1] - some.first[which]
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.repeat(some.first[which], counts) + within
    ids, owners = np.repeat(numbers, counts) + within, np.repeat(transactions, counts)
    values = zip(ids.tolist(), owners.tolist(), *some.columns(rows), strict=True)
    insert_many(connection, postings, ("id", "transaction_id", *VALUES), [*values])
