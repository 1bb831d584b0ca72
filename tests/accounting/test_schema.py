from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import BigInteger, Engine, Float, inspect, select, text

from accounting.intake.history import ingest_history
from accounting.intake.live.telemetry import flush
from accounting.periods.check import check
from accounting.store.database import LedgerError, connect, insert_many, read, storable, write
from accounting.store.schema import open_ledger, upgrade
from accounting.store.tables import jobs, metadata
from tests.accounting import views
from tests.accounting.site import DAY, T0, History, ended, run


def test_migrations_lead_to_the_tables_that_the_code_names(engine: Engine) -> None:
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)

    assert [] == differences


def test_opening_again_changes_nothing_and_keeps_what_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    first = open_ledger(url)
    with write(first) as connection:
        insert_many(
            connection,
            jobs,
            ["id", "scheduler", "cluster", "run", "origin", "seen_at"],
            [(1, "slurm", "lab", "5", 0, 0)],
        )
    first.dispose()
    again = open_ledger(url)
    with read(again) as connection:
        runs = connection.scalars(select(jobs.c.run)).all()
    again.dispose()

    assert ["5"] == runs


def test_a_ledger_of_an_earlier_version_keeps_its_rows(tmp_path: Path) -> None:
    new = open_ledger(f"sqlite:///{tmp_path / 'new.db'}")
    history = History([ended(n, T0, T0 + 60, nodes=(1, 2), note=str(n)) for n in range(3)])
    ingest_history(new, history, now=T0 + DAY, start=T0)
    with write(new) as connection:
        flush(connection, {(run(1), "1", f"gn{n:02}", T0): (60.5, 0.1, 0.0, 7.0, 0.0, 0.0, 4, 4) for n in (1, 2)})
    before = views.everything(new)
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    engine = connect(url)
    upgrade(engine, "0002")
    known = {name: [c["name"] for c in inspect(engine).get_columns(name)] for name in inspect(engine).get_table_names()}
    with read(new) as connection, write(engine) as old:
        old.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for table in (t for t in metadata.sorted_tables if t.name in known):
            names = [c.name for c in table.columns if c.name in known[table.name]]
            rows = [tuple(row) for row in connection.execute(select(*(table.c[name] for name in names)))]
            insert_many(old, table, names, rows)
    engine.dispose()
    new.dispose()
    again = open_ledger(url)
    after, found = views.everything(again), check(again)
    again.dispose()

    assert 6 == len(before["claims"])
    assert before == after
    assert [] == found


def test_two_processes_may_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    failures: list[BaseException] = []

    def opening() -> None:
        try:
            open_ledger(url).dispose()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=opening) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    engine = connect(url)
    tables = set(inspect(engine).get_table_names())
    engine.dispose()

    assert [] == failures
    assert tables == {*metadata.tables, "alembic_version"}


def test_a_ledger_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    engine = open_ledger(url)
    with write(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    with pytest.raises(LedgerError, match="newer meterbridge"):
        open_ledger(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "in memory forgets"),
        ("mysql://u@h/d", "not in mysql"),
        ("ledger.db", "not a database address"),
        ("sqlite:////nowhere/at/all/ledger.db", "cannot open the ledger"),
    ],
)
def test_an_address_that_cannot_be_a_ledger_is_refused_with_the_reason(url: str, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        open_ledger(url)


def test_a_password_is_never_in_the_message() -> None:
    with pytest.raises(LedgerError) as caught:
        open_ledger("postgresql://u:hunter2@127.0.0.1:1/none")

    assert "hunter2" not in str(caught.value)


def test_no_table_but_telemetry_holds_floats_and_identities_are_text() -> None:
    floats = {t.name for t in metadata.tables.values() for c in t.columns if isinstance(c.type, Float)}

    assert {"telemetry"} == floats
    assert not isinstance(jobs.c.run.type, BigInteger)


def test_an_identity_beyond_64_bits_is_kept_whole(engine: Engine) -> None:
    run = str(16543559840776881152)
    with write(engine) as connection:
        insert_many(
            connection,
            jobs,
            ["id", "scheduler", "cluster", "run", "origin", "seen_at"],
            [(1, "slurm", "lab", run, 0, 0)],
        )
    with read(engine) as connection:
        found = connection.scalars(select(jobs.c.run)).all()

    assert [run] == found


def test_many_rows_and_few_rows_are_inserted_alike(engine: Engine) -> None:
    names = ["id", "scheduler", "cluster", "run", "origin", "seen_at", "name", "end_at"]
    rows = [(n, "slurm", "lab", f'{n}\t\\N\n"é', 0, 0, "", None) for n in range(1, 101)]
    with write(engine) as connection:
        insert_many(connection, jobs, names, rows[:3])
        insert_many(connection, jobs, names, rows[3:])
    with read(engine) as connection:
        found = connection.execute(select(*(jobs.c[n] for n in names)).order_by(jobs.c.id)).all()

    assert rows == [tuple(r) for r in found]


def test_a_failed_transaction_leaves_nothing(engine: Engine) -> None:
    names = ["id", "scheduler", "cluster", "run", "origin", "seen_at"]

    def fail_halfway() -> None:
        with write(engine) as connection:
            insert_many(connection, jobs, names, [(n, "slurm", "lab", str(n), 0, 0) for n in range(1, 101)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    with read(engine) as connection:
        found = connection.scalars(select(jobs.c.id)).all()

    assert [] == found


def test_a_reader_sees_one_snapshot_while_a_writer_commits(engine: Engine) -> None:
    names = ["id", "scheduler", "cluster", "run", "origin", "seen_at"]
    with read(engine) as reader:
        before = reader.scalars(select(jobs.c.id)).all()
        with write(engine) as writer:
            insert_many(writer, jobs, names, [(1, "slurm", "lab", "1", 0, 0)])
        after = reader.scalars(select(jobs.c.id)).all()

    assert [] == before
    assert [] == after


def test_two_writers_take_turns(engine: Engine) -> None:
    names = ["id", "scheduler", "cluster", "run", "origin", "seen_at"]
    order: list[str] = []
    begun = threading.Event()

    def second() -> None:
        begun.set()
        with write(engine) as connection:
            order.append("second")
            insert_many(connection, jobs, names, [(2, "slurm", "lab", "2", 0, 0)])

    with write(engine) as connection:
        thread = threading.Thread(target=second)
        thread.start()
        begun.wait()
        insert_many(connection, jobs, names, [(1, "slurm", "lab", "1", 0, 0)])
        order.append("first")
    thread.join()

    assert ["first", "second"] == order


@pytest.mark.parametrize(
    ("read_as", "kept"),
    [
        ("plain", "plain"),
        ("é|\n\t", "é|\n\t"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\\xe9"),
        ("nul\0byte", "nul\\x00byte"),
        ("lone \ud800", "lone \\ud800"),
    ],
)
def test_text_is_made_storable_without_losing_what_it_was(read_as: str, kept: str) -> None:
    assert kept == storable(read_as)
