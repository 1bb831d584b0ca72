"""A month that was sealed under an earlier schema has the same seal ever after, and its books still prove it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, select

from accounting.periods.draws import Everything
from accounting.periods.sealing import chain, seals_hold
from accounting.statements.lines import Cards
from accounting.statements.month import month_sums
from accounting.store.calendar import period_named
from accounting.store.database import connect, insert_many, read, write
from accounting.store.schema import open_ledger, upgrade
from accounting.store.tables import metadata
from tests.accounting.october import october
from tests.accounting.test_standing import RATES

VERSIONS = Path(__file__).parents[2] / "accounting" / "store" / "migrations" / "versions"
WITH_SEALS = [name for name in sorted(p.name[1:5] for p in VERSIONS.glob("v*.py")) if name >= "0002"]
"""Every schema that a month could be sealed under."""


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """October, closed and sealed."""
    folder = tmp_path_factory.mktemp("sealed")
    engine = open_ledger(f"sqlite:///{folder / 'new.db'}")
    site = october(engine, folder)
    site.run("close", "2026-10")
    site.run("seal", "2026-10")
    yield engine
    engine.dispose()


def put_into(old: Engine, new: Engine) -> None:
    """Write the rows of a ledger into an earlier schema, as far as it has the tables and columns."""
    known = {name: [c["name"] for c in inspect(old).get_columns(name)] for name in inspect(old).get_table_names()}
    with read(new) as connection, write(old) as writer:
        writer.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for table in (t for t in metadata.sorted_tables if t.name in known):
            names = [c.name for c in table.columns if c.name in known[table.name]]
            rows = [tuple(row) for row in connection.execute(select(*(table.c[name] for name in names)))]
            insert_many(writer, table, names, rows)


@pytest.mark.parametrize("version", WITH_SEALS)
def test_a_seal_of_every_schema_holds_when_the_ledger_has_been_migrated(
    version: str, sealed: Engine, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    old = connect(url)
    upgrade(old, version)
    put_into(old, sealed)
    old.dispose()
    engine = open_ledger(url)
    with read(engine) as connection:
        breaches = [*seals_hold(connection, Everything())]
    october_ = period_named("2026-10")
    cards = Cards(RATES, {})

    assert [] == breaches
    assert 1 == len(chain(engine))
    assert chain(sealed) == chain(engine)
    assert month_sums(sealed, october_, cards) == month_sums(engine, october_, cards)
    engine.dispose()
