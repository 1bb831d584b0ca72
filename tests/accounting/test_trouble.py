"""What a machine does to the books' commands: no ledger, a damaged one, a full disk, a month that is none.

Each is one sentence with the documented exit code: nothing is made by asking, and nothing half-written is left.
"""

from __future__ import annotations

import re
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from accounting.statements.files import write_atomic
from accounting.store.database import connect, read
from meterbridge import VERBS, main
from tests.accounting.october import Site, october

ROOT = Path(__file__).parents[2]
ASKING = [
    ("check",),
    ("close", "2026-10"),
    ("disputes",),
    ("explain", "L1"),
    ("export", "beancount", "2026-10"),
    ("job", "12345"),
    ("job-mail", "12345"),
    ("ledger", "backup", "copy"),
    ("ledger", "vacuum"),
    ("periods",),
    ("rates", "check", "2026-10"),
    ("reconcile",),
    ("rejects",),
    ("rule", "D1", "--revoke", "--why", "none"),
    ("seal", "2026-10"),
    ("settle", "2026-10"),
    ("statement", "2026-10"),
    ("usage", "2026-10"),
]
"""Every verb that asks the books or works on what is in them; none of them begins a ledger."""

BEGIN = {"demo", "exporter", "ingest", "serve"}
"""What reads sources into a ledger, and begins one."""

LOOKS = {"doctor"}
"""What asks whatever answers, and says what does not."""

WITHOUT = {"dashboards", "init", "merge", "node", "rdma"}
"""What has nothing to do with a ledger."""

OF_A_MONTH = [
    ("close", "{}"),
    ("disputes", "{}"),
    ("explain", "L1", "--period", "{}"),
    ("export", "beancount", "{}"),
    ("rates", "check", "{}"),
    ("reconcile", "--period", "{}"),
    ("seal", "{}"),
    ("settle", "{}"),
    ("statement", "{}"),
    ("usage", "{}"),
]


@pytest.fixture
def site(empty_sqlite: Path, tmp_path: Path) -> Iterator[Site]:
    """October, reconciled, in a ledger of its own."""
    shutil.copy(empty_sqlite, tmp_path / "ledger.db")
    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield october(engine, tmp_path)
    engine.dispose()


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Type a command in an empty folder; its settings name a ledger there."""
    (tmp_path / "meterbridge.yaml").write_text('ledger: {url: "sqlite:///ledger.db"}\n')
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, words)

    return run


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_asking_makes_no_ledger(typed: Callable[..., Result], tmp_path: Path, words: tuple[str, ...]) -> None:
    result = typed(*words)

    assert 3 == result.exit_code
    assert "Error: there is no ledger 'ledger.db': correct ledger.url, or let" in result.output
    assert ["meterbridge.yaml"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_an_empty_file_is_no_ledger_and_stays_empty(
    typed: Callable[..., Result], tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "ledger.db").touch()

    result = typed(*words)

    assert (3, 0) == (result.exit_code, (tmp_path / "ledger.db").stat().st_size)
    assert "Error: the ledger 'ledger.db' is an empty file: put back" in result.output


@pytest.mark.parametrize("words", [*ASKING, ("ingest",)], ids=" ".join)
def test_what_is_no_database_is_left_alone(
    typed: Callable[..., Result], tmp_path: Path, words: tuple[str, ...]
) -> None:
    text = b"this is no database, and long enough for the head of one" * 100
    (tmp_path / "ledger.db").write_bytes(text)
    (tmp_path / "meterbridge.yaml").write_text('slurm: [{cluster: lab}]\nledger: {url: "sqlite:///ledger.db"}\n')

    result = typed(*words)

    assert (3, text) == (result.exit_code, (tmp_path / "ledger.db").read_bytes())
    assert "Error: cannot open the ledger sqlite:///ledger.db: file is not a database" in result.output


def test_a_database_of_something_else_is_no_ledger(typed: Callable[..., Result], tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    other.close()

    result = typed("check")

    assert 3 == result.exit_code
    assert "Error: there is no ledger in sqlite:///ledger.db: correct ledger.url" in result.output


def halved(file: Path) -> None:
    """The second half is gone, as after a copy that broke off."""
    body = file.read_bytes()
    file.write_bytes(body[: len(body) // 2])


def overwritten(file: Path) -> None:
    """A page in the middle holds something else, as after a disk that lied."""
    body = bytearray(file.read_bytes())
    place = len(body) // 2 - len(body) // 2 % 4096
    body[place : place + 4096] = b"\xff" * 4096
    file.write_bytes(body)


@pytest.mark.parametrize("damage", [halved, overwritten])
def test_check_says_that_a_file_is_damaged(site: Site, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    site.engine.dispose()
    damage(tmp_path / "ledger.db")

    told = site.run("check", code=3)

    assert re.match(r"Error: (cannot open )?the ledger sqlite:///\S+", told), told
    assert re.search("malformed|damaged", told), told


def test_check_asks_the_database_about_its_own_file(site: Site, tmp_path: Path) -> None:
    """An index that misses a row changes no answer of ours: only the database can tell."""
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        name, table = connection.execute(
            "SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'postings' AND sql != ''"
        ).fetchone()
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute("CREATE TABLE hollow (a, b, c, d)")
        connection.execute("CREATE INDEX empty_one ON hollow (a)")
        connection.execute(
            "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'empty_one')"
            f" WHERE name = '{name}'"
        )
    connection.close()

    told = site.run("check", code=3)

    assert "is damaged, put back the last good copy of it: " in told
    assert f"missing from index {name}" in told or "2nd reference to page" in told, (table, told)


@pytest.mark.parametrize("month", ["October", "2026-13", "2026-1", "2026-10-01", "0000-01", "9999-12", "1969-12"])
@pytest.mark.parametrize("words", OF_A_MONTH, ids=lambda words: words[0])
def test_what_is_no_month_is_wrong_usage(typed: Callable[..., Result], words: tuple[str, ...], month: str) -> None:
    result = typed(*(word.format(month) for word in words))

    assert 2 == result.exit_code
    assert f"'{month}' is not a billing month; write it like 2026-10" in result.output


def limited() -> None:
    """Files may not grow beyond 600 bytes, which is what a full disk is to whoever writes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))


FILES = {"statement": "chargeback-2026-10.csv", "export": "2026-10.beancount"}


@pytest.mark.parametrize("words", [("statement", "2026-10"), ("export", "beancount", "2026-10")], ids=lambda w: w[0])
def test_a_full_disk_leaves_no_half_file(site: Site, tmp_path: Path, words: tuple[str, ...]) -> None:
    settings, out = tmp_path / "meterbridge.yaml", tmp_path / "out"
    settings.write_text(site.text)
    command = [sys.executable, str(ROOT / "meterbridge.py"), *words, "--config", str(settings), "--out", str(out)]

    with read(site.engine):  # SQLite's shared memory is there already: reading needs no other file
        done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited)

    assert (3, "") == (done.returncode, done.stdout), done.stderr
    assert f"Error: {out}/{FILES[words[0]]}: File too large\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert [] == [path.name for path in out.iterdir()]


def written(site: Site, out: Path, *words: str) -> tuple[int, str]:
    """What a command that writes files says, and its exit code."""
    settings = site.folder / "meterbridge.yaml"
    settings.write_text(site.text)
    result = CliRunner().invoke(main, [*words, "--config", str(settings), "--out", str(out)])
    return result.exit_code, result.output


def test_a_disk_that_is_full_after_the_first_file_leaves_all_the_old_ones(site: Site, tmp_path: Path) -> None:
    settings, out = tmp_path / "meterbridge.yaml", tmp_path / "out"
    settings.write_text(site.text)
    assert 0 == written(site, out, "statement", "2026-10")[0]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    sizes = {name.rpartition("-")[2]: len(body) for name, body in before.items()}
    between = max(size for name, size in sizes.items() if name != "notes.txt") + 100
    assert between < sizes["notes.txt"]
    settings.write_text(site.text.replace("2.10", "3.20"))
    command = [sys.executable, str(ROOT / "meterbridge.py"), "statement", "2026-10", "--config", str(settings)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (between, between))

    with read(site.engine):
        done = subprocess.run(
            [*command, "--out", str(out)], capture_output=True, text=True, check=False, preexec_fn=limit
        )

    assert (3, "") == (done.returncode, done.stdout), done.stderr
    assert f"Error: {out}/chargeback-2026-10-notes.txt: File too large\n" in done.stderr
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_folder_in_the_place_of_a_file_leaves_all_the_old_ones(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "chargeback-2026-10-notes.txt").mkdir(parents=True)

    code, told = written(site, out, "statement", "2026-10")

    assert (3, f"Error: {out}/chargeback-2026-10-notes.txt: Is a directory\n") == (code, told)
    assert ["chargeback-2026-10-notes.txt"] == [path.name for path in out.iterdir()]


MISTYPED = [
    ("UPDATE records SET raw = 'text'", "records: raw is text"),
    ("UPDATE records SET meaning = x'00'", "records: meaning is blob of another length"),
    ("UPDATE postings SET quantity = 'many'", "postings: quantity is text"),
    ("UPDATE node_days SET inputs_hash = 'text'", "node_days: inputs_hash is text"),
    ("UPDATE jobs SET name = x'00'", "jobs: name is blob"),
    ("UPDATE jobs SET digest = 'text'", "jobs: digest is text"),
    ("UPDATE claims SET start_at = 'noon'", "claims: start_at is text"),
    ("UPDATE periods SET state = x'6f70656e'", "periods: state is blob"),
]


@pytest.mark.parametrize(("edit", "named"), MISTYPED, ids=[named for _, named in MISTYPED])
def test_a_value_that_became_another_type_is_named_by_every_verb(
    site: Site, edit: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.folder)
    with sqlite3.connect(site.folder / "ledger.db") as connection:
        connection.execute(edit)
    connection.close()

    told = site.run("check", code=1)
    assert f"a value is of its column's type: row 1 of {named.partition(':')[0]}: row 1 of {named}" in told
    (site.folder / "meterbridge.yaml").write_text(site.text)
    for words in ASKING:
        typed = CliRunner().invoke(main, [*words, "--config", str(site.folder / "meterbridge.yaml")])
        assert typed.exception is None or isinstance(typed.exception, SystemExit), (words, typed.exc_info)


@pytest.mark.parametrize("month", ["2019-03", "2031-01"])
def test_settle_says_that_nothing_of_a_month_is_known(site: Site, month: str) -> None:
    told = site.run("settle", month, code=1)

    assert f"must: no records of {month} are booked: there are 2026-10 to 2026-10; meterbridge reconcile" in told


def test_every_verb_is_known_to_make_a_ledger_or_not(typed: Callable[..., Result]) -> None:
    asking = {words[0] for words in ASKING}

    assert {*VERBS} == asking | BEGIN | LOOKS | WITHOUT
    assert not asking & (BEGIN | LOOKS | WITHOUT)


def test_the_doctor_makes_no_ledger(typed: Callable[..., Result], tmp_path: Path) -> None:
    result = typed("doctor")

    assert 1 == result.exit_code, result.output
    assert ["meterbridge.yaml"] == [path.name for path in tmp_path.iterdir()]


def test_export_makes_its_folder(site: Site, tmp_path: Path) -> None:
    code, told = written(site, tmp_path / "new/folder", "export", "beancount", "2026-10")

    assert (0, f"{tmp_path}/new/folder/2026-10.beancount\n") == (code, told)
    assert (tmp_path / "new/folder/2026-10.beancount").exists()


@pytest.mark.parametrize("words", [("statement", "2026-10"), ("export", "beancount", "2026-10")], ids=lambda w: w[0])
def test_a_folder_that_cannot_be_made_is_one_sentence(site: Site, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()

    code, told = written(site, tmp_path / "file/folder", *words)

    assert (3, f"Error: {tmp_path}/file/folder: Not a directory\n") == (code, told)


@pytest.mark.parametrize("month", ["2019-03", "2031-01"])
def test_a_month_of_which_nothing_is_known_is_no_month_without_use(site: Site, tmp_path: Path, month: str) -> None:
    stated = written(site, tmp_path / "out", "statement", month)
    exported = written(site, tmp_path / "out", "export", "beancount", month)
    closed = site.run("close", month, "--force", code=3)

    said = f"Error: no records of {month} are booked: there are 2026-10 to 2026-10; meterbridge reconcile books what"
    assert [(3, said), (3, said)] == [(code, text[: len(said)]) for code, text in (stated, exported)]
    assert said == closed[: len(said)]
    assert [] == list((tmp_path / "out").glob("*"))


def test_what_a_file_is_written_from_has_ended_when_writing_fails(tmp_path: Path) -> None:
    ended: list[str] = []

    def chunks() -> Iterator[str]:
        try:
            yield "\ud800"  # no UTF-8: as good as a full disk
        finally:
            ended.append("closed")

    written_from = chunks()  # kept, so that Python cannot throw it away
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "file", written_from)

    assert ["closed"] == ended
    assert [] == list(tmp_path.iterdir())
