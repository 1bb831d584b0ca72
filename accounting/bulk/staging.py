"""Postings on their way into a SQLite ledger: a small database of their own, which whoever reconciled them has made.

There is one writer, and to hand it rows one value after the other takes longer than to write them. So the rows of a day
come as the bytes of a database in memory, and the writer's part is one statement that copies them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine

from accounting.bulk.image import image
from accounting.bulk.postings import JOBS, VALUES, DayPostings
from accounting.store.database import write, write_on

_COLUMNS = ", ".join(VALUES)
_TABLE = f"CREATE TABLE postings (node_day, {_COLUMNS})"
_COPY = (
    f"INSERT INTO main.postings (id, transaction_id, {_COLUMNS}) "  # noqa: S608 - names of columns
    f"SELECT rowid + ?, node_day + ?, {', '.join(f'nullif({c}, -1)' if c in JOBS else c for c in VALUES)} "
    "FROM staged.postings WHERE rowid BETWEEN ? AND ?"
)


def can_stage(connection: Connection) -> bool:
    """Whether rows can go into this ledger that way: SQLite may have been built without."""
    return connection.dialect.name == "sqlite" and hasattr(sqlite3.Connection, "deserialize")


def staged(made: DayPostings, spans: Sequence[tuple[int, int]]) -> bytes | None:
    """The postings of some machines of a sweep, from one to before another, as a database. None if it cannot hold them.

    The first has the number 1, and all have that of their machine in the sweep.
    """
    rows = [np.arange(made.first[first], made.first[last]) for first, last in spans]
    some = np.concatenate([np.empty(0, dtype=np.int64), *rows])
    if not len(some):
        return b""
    *few, unit = made.texts(some)
    return image(_TABLE, [made.table["machine"][some], *made.numbers(some)], few, unit)


@contextmanager
def writing(ledger: Engine, staged: bytes) -> Iterator[Connection]:
    """`accounting.store.database.write`, with the image that `staged` made at hand for `copy`, if there is one."""
    if not staged:
        with write(ledger) as writer:
            yield writer
        return
    with ledger.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute("ATTACH ':memory:' AS staged").close()
        try:
            driver.deserialize(staged, name="staged")
            with write_on(connection) as writer:
                yield writer
        finally:
            driver.execute("DETACH staged").close()


def copy(writer: Connection, first: int, last: int, posting: int, transaction: int) -> None:
    """Write the postings ``first`` to ``last`` of the image; ``posting`` and ``transaction`` are added to numbers."""
    writer.exec_driver_sql(_COPY, (posting, transaction, first, last))
