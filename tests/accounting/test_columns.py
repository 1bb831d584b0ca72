"""Large answers as Arrow tables: the same from both databases, whatever is in them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import adbc_driver_postgresql
import polars as pl
import pyarrow as pa
import pytest
from sqlalchemy import BigInteger, Engine, Text, cast, func, literal, literal_column, select, union_all

from accounting.store.columns import among, columns
from accounting.store.database import LedgerError, connect, insert_many, read, write
from accounting.store.tables import jobs, node_days, postings, telemetry
from tests.lab.postgres import PostgreSQL

HOSTILE = ["plain", 'a "b", c\\d', "50% :of 'it'", "\x1e\x1f\t\n", "\\xff é 日本", ""]


@pytest.fixture
def ledger(engine: Engine) -> Engine:
    """Six postings, with hostile names, of two jobs and of nobody."""
    keys = ("id", "scheduler", "cluster", "run", "origin", "seen_at")
    values = ("id", "transaction_id", "account", "model", "quantity", "project", "job_id", "start_at", "end_at", "held")
    made = [
        (n + 1, 1, "idle", "h100", (-1) ** n * (1 << 62) + n, name, None if n % 3 else 7 + n, n, n + 1, 0)
        for n, name in enumerate(HOSTILE)
    ]
    with write(engine) as connection:
        insert_many(connection, jobs, keys, [(n, "slurm", "lab", HOSTILE[n - 7], 0, 0) for n in (7, 8, 9, 10)])
        insert_many(connection, postings, values, made)
        row = (7, "u", "m", 0, 0.1 + 0.2, 1e300, 31324168.399999987, 1 / 3, 0.0, 5e-324, 1, 2)
        insert_many(connection, telemetry, [c.name for c in telemetry.columns], [row])
        day = ("gn01", 0, 86400, bytes(range(256)), b"")
        insert_many(connection, node_days, ("machine", "start_at", "end_at", "inputs_hash", "rules_hash"), [day])
    return engine


def test_a_table_has_what_the_rows_have_whatever_they_hold(ledger: Engine) -> None:
    p = postings.c
    query = select(p.quantity, p.project, p.job_id, p.start_at.label("begun"))
    with read(ledger) as connection, columns(connection) as tables:
        found = tables.table(query)
        rows = {tuple(row) for row in connection.execute(query)}

    assert [pa.int64(), pa.string(), pa.int64(), pa.int64()] == found.schema.types
    assert ["quantity", "project", "job_id", "begun"] == found.column_names
    assert rows == {tuple(row.values()) for row in found.to_pylist()}
    assert set(HOSTILE) == set(pl.from_arrow(found)["project"])  # type: ignore[index]


def test_floats_keep_every_bit_and_bytes_every_byte(ledger: Engine) -> None:
    m, d = telemetry.c, node_days.c
    floats = [m.gpu_seconds, m.active_seconds, m.tensor_seconds, m.energy_joules, m.nvlink_receive_bytes]
    with read(ledger) as connection, columns(connection) as tables:
        measured = tables.table(select(*floats)).to_pylist()
        hashed = tables.table(select(d.inputs_hash, d.rules_hash, d.transaction_id)).to_pylist()

    assert [0.1 + 0.2, 1e300, 31324168.399999987, 1 / 3, 5e-324] == [*measured[0].values()]
    assert [{"inputs_hash": bytes(range(256)), "rules_hash": b"", "transaction_id": None}] == hashed


_NULLS = [["a", None, "b"], [None, "a"], ["a", None], [None]]


@pytest.mark.parametrize("texts", [["a", "b"], ['a","b', "c"], ["a\\", "b"], ["", ""], [], *_NULLS])
def test_texts_come_back_as_they_are_by_whichever_way_they_are_read(texts: list[str | None], engine: Engine) -> None:
    each = [(-1, ""), *enumerate(texts)]
    rows = union_all(*(select(literal(n, BigInteger).label("n"), literal(t, Text).label("told")) for n, t in each))
    query = select(rows.subquery()).where(literal_column("n") >= 0)
    with read(engine) as connection, columns(connection) as tables:
        found = tables.table(query)

    assert [*enumerate(texts)] == sorted(zip(found["n"].to_pylist(), found["told"].to_pylist(), strict=True))


def test_no_rows_are_a_table_with_all_its_columns(ledger: Engine) -> None:
    with read(ledger) as connection, columns(connection) as tables:
        nothing = literal(1) == 0
        found = tables.table(select(postings.c.quantity, postings.c.project).where(nothing))
        more = tables.table(select(telemetry.c.gpu_seconds).where(nothing))

    assert [(0, 2), (0, 1)] == [found.shape, more.shape]
    assert [pa.int64(), pa.string(), pa.float64()] == [*found.schema.types, *more.schema.types]


def test_sums_are_whole_numbers_where_the_query_says_so(ledger: Engine) -> None:
    query = select(postings.c.model, cast(func.sum(postings.c.held), BigInteger).label("held")).group_by("model")
    with read(ledger) as connection, columns(connection) as tables:
        assert [{"model": "h100", "held": 0}] == tables.table(query).to_pylist()


def test_pieces_come_in_their_order_and_any_number_of_values_is_looked_up(ledger: Engine) -> None:
    j, dialect = jobs.c, ledger.dialect.name
    some = [[*range(8, 50_000)], [7], []]
    names = [HOSTILE[0], HOSTILE[2], HOSTILE[3], "absent"]
    with read(ledger) as connection, columns(connection) as tables:
        found = [t.num_rows for t in tables.tables(select(j.id).where(among(j.id, ids, dialect)) for ids in some)]
        named = tables.table(select(j.run).where(among(j.run, names, dialect)))

    assert [3, 1, 0] == found
    assert set(names[:3]) == set(named["run"].to_pylist())


def test_what_is_written_meanwhile_is_not_seen(ledger: Engine) -> None:
    query = select(postings.c.id)
    with read(ledger) as connection:
        before = len(connection.execute(query).all())
        more = threading.Thread(target=_one_more, args=(ledger,))
        more.start()
        more.join()
        with columns(connection) as tables:
            assert before == tables.table(query).num_rows
    with read(ledger) as connection, columns(connection) as tables:
        assert before + 1 == tables.table(query).num_rows


def _one_more(engine: Engine) -> None:
    with write(engine) as connection:
        values = ("id", "transaction_id", "account", "model", "quantity", "start_at", "end_at", "held")
        insert_many(connection, postings, values, [(99, 2, "idle", "h100", 1, 0, 1, 0)])


def test_a_query_that_fails_is_told_in_one_sentence(ledger: Engine) -> None:
    with (
        read(ledger) as connection,
        columns(connection) as tables,
        pytest.raises(LedgerError, match=r"^the ledger .* cannot be read: .*no_such") as told,
    ):
        tables.table(select(func.no_such(postings.c.project, type_=postings.c.project.type).label("x")))

    assert "\n" not in str(told.value)


def test_a_ledger_file_that_is_damaged_is_told_in_one_sentence(tmp_path: Path, empty_sqlite: Path) -> None:
    path = tmp_path / "ledger.db"
    shutil.copy(empty_sqlite, path)
    engine = connect(f"sqlite:///{path}")
    with engine.connect() as connection:
        page = connection.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'postings'").scalar_one()
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    engine.dispose()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    with (
        pytest.raises(LedgerError, match=r"ledger\.db cannot be read: .*malformed"),
        read(engine) as connection,
        columns(connection) as tables,
    ):
        tables.table(select(postings.c.quantity))
    engine.dispose()


@pytest.mark.server("postgresql")
def test_without_its_driver_a_postgresql_ledger_says_what_to_install(
    postgres_ledger: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    with (
        read(postgres_ledger) as connection,
        pytest.raises(LedgerError, match=r"pip install 'meterbridge\[postgres\]'"),
        columns(connection),
    ):
        pass


@pytest.mark.server("postgresql")
def test_a_servers_types_are_asked_for_once_however_often_it_is_read(
    postgres: PostgreSQL, postgres_ledger: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    first = adbc_driver_postgresql.connect
    monkeypatch.setattr(adbc_driver_postgresql, "connect", lambda uri: asked.append(uri) or first(uri))
    engine = connect(postgres.url)
    for _ in range(3):
        with read(engine) as connection, columns(connection) as tables:
            tables.table(select(postings.c.id))
    engine.dispose()

    assert 1 == len(asked)


_READS = """
import subprocess
import sys
from sqlalchemy import select
from accounting.ledger.reconcile_range import reconcile_range
from accounting.store.columns import columns
from accounting.store.database import connect, read
from accounting.store.tables import node_days, postings, telemetry
engine = connect(sys.argv[1])
with read(engine) as connection, columns(connection) as tables:
    for table in (node_days, postings, telemetry):
        print(tables.table(select(table)).num_rows)
assert "pandas" not in sys.modules
"""


def test_nobody_loads_pandas_to_read_columns(ledger: Engine) -> None:
    address = ledger.url.render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, "-c", _READS, address], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
