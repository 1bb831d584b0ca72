"""Many rows on their way into a SQLite ledger: in a file of their own, out of which one statement copies them.

SQLite takes rows through Python's driver one value after the other, which is most of what writing costs. ADBC takes
whole columns, but brings a SQLite of its own, which must not touch the ledger (docs/adr/0018-columns-out-of-sqlite.md).
So it writes a file that nobody else knows, and when it has let go of that the ledger's own connection reads it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Engine

from accounting.store.database import LedgerError, write, write_on

MUCH = 4000
"""Rows from which on it pays."""

STAGED = "staged.rows_in"
"""The table that is at hand: its columns, and ``rowid`` from 1 on."""

_OPTION = "meterbridge_staged"


def is_staged(connection: Connection) -> bool:
    """Whether a writer has rows at hand in `STAGED`."""
    return bool(connection.get_execution_options().get(_OPTION))


@contextmanager
def writing(ledger: Engine, number: int, rows: Callable[[], pa.Table]) -> Iterator[Connection]:
    """`accounting.store.database.write`, with so many rows at hand in `STAGED` where that pays (`is_staged`).

    Raises `LedgerError` when there is no room for them.
    """
    if ledger.dialect.name != "sqlite" or number < MUCH:
        with write(ledger) as writer:
            yield writer
        return
    with tempfile.TemporaryDirectory(prefix="meterbridge-") as folder:
        file = Path(folder) / "rows.db"
        _put(file, rows())
        with ledger.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("ATTACH ? AS staged", (str(file),)).close()
            try:
                with write_on(connection.execution_options(**{_OPTION: True})) as writer:
                    yield writer
            finally:
                driver.execute("DETACH staged").close()


def _put(file: Path, rows: pa.Table) -> None:
    # not by way of its dbapi module, which loads every library of data frames that there is
    import adbc_driver_manager as manager  # noqa: PLC0415 - only where there is much to write
    import adbc_driver_sqlite as sqlite  # noqa: PLC0415

    try:
        with (
            sqlite.connect(str(file)) as database,
            manager.AdbcConnection(database) as connection,
            manager.AdbcStatement(connection) as statement,
        ):
            statement.set_options(**{manager.INGEST_OPTION_TARGET_TABLE: STAGED.partition(".")[2]})
            statement.bind_stream(rows.to_reader())
            statement.execute_update()
    except manager.Error as error:
        why = " ".join(str(error).split())
        raise LedgerError(
            f"{rows.num_rows} new rows cannot be put into {file.parent} on their way into the ledger: {why}; make room "
            "there, or set TMPDIR to a folder that has some"
        ) from error
