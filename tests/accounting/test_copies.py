"""Copies of a ledger in use, on both databases: what comes back is the same ledger, and nothing is ever overwritten."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.site import copies
from accounting.store.database import LedgerError
from accounting.store.schema import open_ledger
from exporters.recorder import Round
from meterbridge import main
from tests.accounting.lives import contents
from tests.accounting.october import Site, october
from tests.accounting.site import T0
from tests.lab import servers
from tests.lab.postgres import PostgreSQL


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Site:
    return october(engine, tmp_path)


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[str]:
    """Where there is no ledger yet."""
    if engine.dialect.name == "sqlite":
        yield f"sqlite:///{tmp_path}/elsewhere.db"
        return
    server: PostgreSQL = request.getfixturevalue("postgres")
    words = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "elsewhere"]
    subprocess.run([servers.program("createdb"), *words], check=True, capture_output=True)
    yield server.address("elsewhere")
    subprocess.run([servers.program("dropdb"), "--force", *words], check=True, capture_output=True)


def test_what_comes_back_is_the_same_ledger(site: Site, elsewhere: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    size = copies.backup(site.engine, copy)
    copies.restore(elsewhere, copy)
    again = open_ledger(elsewhere, create=False)
    same = contents(again)
    other = Site(again, tmp_path / "other")
    (tmp_path / "other").mkdir()

    assert contents(site.engine) == same
    assert size == copy.stat().st_size
    assert 0o600 == copy.stat().st_mode & 0o777
    assert "every invariant holds" in other.run("check")
    assert site.month("2026-10") == other.month("2026-10")
    again.dispose()


def test_the_command_says_where_the_copy_is_and_refuses_to_replace_one(site: Site, tmp_path: Path) -> None:
    config, copy = tmp_path / "meterbridge.yaml", tmp_path / "copy"
    config.write_text(site.text)

    def run(*words: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["ledger", *map(str, words), "--config", str(config)])
        return result.exit_code, result.output

    first, twice, back = run("backup", copy), run("backup", copy), run("restore", copy)
    packed = run("vacuum")

    assert (0, f"{copy}: {copy.stat().st_size} bytes\n") == first
    assert 3 == twice[0]
    assert "a copy never replaces another" in twice[1]
    assert 3 == back[0]
    assert "is there already" in back[1] or "is not empty" in back[1]
    assert 0 == packed[0]
    assert "bytes before" in packed[1]
    assert "every invariant holds" in site.run("check")


def test_a_copy_made_while_rounds_are_recorded_is_one_moment_of_the_ledger(
    site: Site, elsewhere: str, tmp_path: Path
) -> None:
    recorder, over = LedgerRecorder(site.engine, name="other"), threading.Event()

    def busy() -> None:
        at = T0
        while not over.is_set():
            recorder.record(Round(at, (), (), ()))
            at += 15

    worker = threading.Thread(target=busy)
    worker.start()
    for number in range(3):
        copies.backup(site.engine, tmp_path / f"copy{number}")
    over.set()
    worker.join()
    copies.restore(elsewhere, tmp_path / "copy2")
    again = open_ledger(elsewhere, create=False)
    (tmp_path / "other").mkdir()

    assert "every invariant holds" in Site(again, tmp_path / "other").run("check")
    again.dispose()


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "not a ledger"), (b"nonsense" * 1000, "no copy of a ledger"), (None, "there is no copy")],
)
def test_what_is_no_copy_makes_no_ledger(tmp_path: Path, content: bytes | None, says: str) -> None:
    copy, place = tmp_path / "copy", tmp_path / "ledger.db"
    if content is not None:
        copy.write_bytes(content)
    with pytest.raises(LedgerError, match=says):
        copies.restore(f"sqlite:///{place}", copy)

    assert not place.exists()
    assert content is None or content == copy.read_bytes()


def test_a_copy_that_was_damaged_or_is_of_something_else_makes_no_ledger(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/one.db")
    copies.backup(engine, tmp_path / "copy")
    engine.dispose()
    damaged = bytearray((tmp_path / "copy").read_bytes())
    damaged[4096 * 3 : 4096 * 6] = b"\xff" * (4096 * 3)
    (tmp_path / "damaged").write_bytes(damaged)
    with closing(sqlite3.connect(tmp_path / "foreign")) as other, other:
        other.execute("CREATE TABLE claims (a)")

    for name, says in (("damaged", "damaged|no copy"), ("foreign", "not a ledger")):
        with pytest.raises(LedgerError, match=says):
            copies.restore(f"sqlite:///{tmp_path}/new.db", tmp_path / name)
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("left", ["ledger.db", "ledger.db-wal"])
def test_what_is_left_of_a_ledger_is_never_written_over(tmp_path: Path, left: str) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/one.db")
    copies.backup(engine, tmp_path / "copy")
    engine.dispose()
    (tmp_path / left).write_text("precious")
    with pytest.raises(LedgerError, match="move it away first"):
        copies.restore(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "copy")

    assert "precious" == (tmp_path / left).read_text()


def test_a_folder_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/one.db")
    with pytest.raises(LedgerError, match="cannot be made"):
        copies.backup(engine, tmp_path / "no" / "copy")
    engine.dispose()


def test_unused_space_is_given_back(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE waste (a TEXT)"))
        connection.execute(text("INSERT INTO waste VALUES (:a)"), [{"a": "x" * 5000}] * 1000)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE waste"))
    before, after = copies.vacuum(engine)

    assert after > 0
    if engine.dialect.name == "sqlite":  # PostgreSQL keeps what it freed for its next rows
        assert after < before


@pytest.mark.server("postgresql")
def test_the_programs_of_postgresql_that_are_missing_are_named(
    postgres_ledger: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LedgerError, match="no pg_dump here"):
        copies.backup(postgres_ledger, tmp_path / "copy")

    assert not (tmp_path / "copy").exists()
