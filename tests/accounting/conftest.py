"""Empty ledgers, on both databases: every test that asks for one runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from accounting.store.database import connect
from accounting.store.schema import open_ledger
from accounting.store.tables import metadata
from tests.lab import servers
from tests.lab.postgres import PostgreSQL

NewLedger = Callable[[], Engine]
"""Makes one more empty ledger; on PostgreSQL it is the same one, emptied."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A real PostgreSQL, started when first asked for."""
    servers.require("postgresql")
    server = PostgreSQL(Path(tempfile.mkdtemp(prefix="postgres-lab-")) / "cluster")
    server.root.parent.chmod(0o755)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.root.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty ledger file, to be copied."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    engine = open_ledger(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_ledger(postgres: PostgreSQL) -> Iterator[Engine]:
    """The migrated ledger in PostgreSQL."""
    engine = open_ledger(postgres.url)
    yield engine
    engine.dispose()


def _careless(connection: Any, _: object) -> None:
    """A ledger that may be lost need not wait for its disk."""
    connection.execute("PRAGMA synchronous=OFF").close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server("postgresql"))])
def new_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewLedger]:
    """Makes empty ledgers."""
    numbers = count()
    engines: list[Engine] = []

    def sqlite() -> Engine:
        path = tmp_path / f"ledger{next(numbers)}.db"
        shutil.copy(request.getfixturevalue("empty_sqlite"), path)
        while engines:  # keep no more than one open
            engines.pop().dispose()
        engine = connect(f"sqlite:///{path}")
        event.listen(engine, "connect", _careless)
        engines.append(engine)
        return engine

    def postgresql() -> Engine:
        engine: Engine = request.getfixturevalue("postgres_ledger")
        with engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):  # for a few rows far quicker than TRUNCATE
                connection.execute(table.delete())
        return engine

    yield sqlite if request.param == "sqlite" else postgresql
    while engines:
        engines.pop().dispose()


@pytest.fixture
def engine(new_ledger: NewLedger) -> Engine:
    """One empty ledger."""
    return new_ledger()
