"""Empty ledgers for hostile sites: a file each, copied from one that was made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from accounting.store.database import connect
from accounting.store.schema import open_ledger
from tests.accounting.conftest import _careless as careless

NewLedger = Callable[[], Engine]
"""Makes one more empty ledger, and lets the one before go."""


@pytest.fixture
def new_ledger(tmp_path: Path) -> Iterator[NewLedger]:
    numbers = count()
    engines: list[Engine] = []
    empty = tmp_path / "empty.db"
    first = open_ledger(f"sqlite:///{empty}", create=True)
    with first.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    first.dispose()

    def made() -> Engine:
        path = tmp_path / f"ledger{next(numbers)}.db"
        shutil.copy(empty, path)
        while engines:
            engines.pop().dispose()
        engine = connect(f"sqlite:///{path}")
        event.listen(engine, "connect", careless)
        engines.append(engine)
        return engine

    yield made
    while engines:
        engines.pop().dispose()
