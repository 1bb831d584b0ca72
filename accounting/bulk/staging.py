"""Postings on their way into a SQLite ledger: a small database of their own, which whoever reconciled them has made.

There is one writer, and to hand it rows one value after the other takes longer than to write them. So the rows of a day
come as the bytes of a database in memory, and the writer's part is one statement that copies them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Engine

from accounting.bulk.postings import VALUES
from accounting.database import write, write_on

_COLUMNS = ", ".join(VALUES)
_TABLE = f"CREATE TABLE postings (id INTEGER PRIMARY KEY, node_day INTEGER, {_COLUMNS})"
_INSERT = f"INSERT INTO postings VALUES ({', '.join('?' * (len(VALUES) + 2))})"  # noqa: S608 - names of columns
_COPY = (
    f"INSERT INTO main.postings (id, transaction_id, {_COLUMNS}) "  # noqa: S608 - names of columns
    f"SELECT id + ?, node_day + ?, {_COLUMNS} FROM staged.postings WHERE id BETWEEN ? AND ?"
)


def can_stage(connection: Connection) -> bool:
    """Whether rows can go into this ledger that way: SQLite may have been built without."""
    return connection.dialect.name == "sqlite" and hasattr(sqlite3.Connection, "deserialize")


class Stage:
    """The postings of a day that are to be copied."""

    def __init__(self) -> None:
        self._rows: list[Iterable[tuple[Any, ...]]] = []
        self._next = 1

    def add(self, node_days: Sequence[int], columns: Sequence[Sequence[Any]]) -> int:
        """Take on postings by columns (`VALUES`), each with the number of its node-day; the number of the first."""
        first = self._next
        self._next += len(node_days)
        self._rows.append(zip(range(first, self._next), node_days, *columns, strict=True))
        return first

    def image(self) -> bytes:
        """All of them as a database; nothing when there is none."""
        if self._next == 1:
            return b""
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as staged:
            staged.execute("PRAGMA page_size=65536")
            staged.execute(_TABLE)
            staged.execute("BEGIN")
            staged.executemany(_INSERT, chain.from_iterable(self._rows))
            staged.execute("COMMIT")
            return staged.serialize()


@contextmanager
def writing(ledger: Engine, staged: bytes) -> Iterator[Connection]:
    """`accounting.database.write`, with the image of a `Stage` at hand for `copy`, if there is one."""
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
