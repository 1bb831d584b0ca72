"""What intake is measured against keeps what intake keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, delete

from accounting.store.schema import open_ledger
from tests.accounting.site import T0
from tests.bench.core_intake import Core
from tests.bench.intake import agree, kept, take, told


def test_core_keeps_what_intake_keeps_also_when_it_is_told_again(tmp_path: Path) -> None:
    ledger, plain = (
        open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}"),
        create_engine(f"sqlite:///{tmp_path / 'core.db'}"),
    )
    core = Core(plain)
    records = told(0, 200)
    try:
        for times in range(2):
            take(ledger, records, T0 + 40 * 86_400 + times)
            core.ingest(records)

        agree(ledger, core)
        assert [200, 200, 250, 10] == [kept(plain, core.tables)[n] for n in (0, 2, 3, 4)]

        with plain.begin() as connection:
            connection.execute(delete(core.keys).where(core.keys.c.value == "vision/pod-6"))
        with pytest.raises(RuntimeError, match="the ledger has"):
            agree(ledger, core)
    finally:
        ledger.dispose()
        plain.dispose()
