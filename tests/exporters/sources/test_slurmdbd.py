"""The slurmdbd database: what its numbers mean, a session that cannot write, and every way to be refused."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from exporters.model import Record
from exporters.sources.base import SourceError
from exporters.sources.slurm.history import dbd_rows, rows
from exporters.sources.slurm.history.slurmdbd import Slurmdbd, _lines, read_only_engine
from exporters.sources.slurm.hostlist import task_list
from tests.lab.slurm import SlurmLab

NAMES = {"1": "cpu", "2": "mem", "1001": "gres/gpu", "1004": "gres/gpu:h100"}


def url_of(lab: SlurmLab, user: str = "", password: str = "") -> str:
    d = lab.database
    who = f"{user or d.user}:{password or d.password}"
    return f"mariadb+pymysql://{who}@127.0.0.1:{d.port}/{d.database}"


@contextmanager
def as_root(lab: SlurmLab) -> Iterator[Any]:
    """A cursor of the database's administrator."""
    connection = pymysql.connect(
        unix_socket=str(lab.database.root / "sock"), user="root", database=lab.database.database, autocommit=True
    )
    with connection, connection.cursor() as cursor:
        yield cursor


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (0, "PENDING"), (1, "RUNNING"), (3, "COMPLETED"), (11, "OUT_OF_MEMORY"), (0x400, "REQUEUED"),
        (0x2000 | 1, "RESIZING"), (0x8000 | 12, "COMPLETING"), (0x8000 | 0x400, "COMPLETING"), (0x80000, "REVOKED"),
    ],
)  # fmt: skip
def test_a_jobs_state_is_the_word_that_sacct_prints(state: int, word: str) -> None:
    assert word == dbd_rows.state_word(state)


def test_a_state_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown job state 12: .* new one"):
        dbd_rows.state_word(12)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (0, "UNK"), (1, "DOWN"), (1 | 0x800, "DOWN*"), (2, "IDLE"), (2 | 0x200, "DRAIN"), (5 | 0x200, "DRNG"),
        (2 | 0x200 | 0x400, "DRNG"), (2 | 0x2000, "FAIL"), (2 | 0x8000, "MAINT"), (3, "ALLOC"), (9, "?"),
        (2 | 0x1000, "IDLE~"), (2 | 1 << 22, "INVAL"), (3 | 0x8000, "ALLOC$"), (2 | 1 << 21, "IDLE"),
    ],
)  # fmt: skip
def test_a_nodes_state_is_the_word_that_sacctmgr_prints(state: int, word: str) -> None:
    assert word == dbd_rows.node_word(state)


def test_tres_are_named_and_what_was_not_counted_is_left_out() -> None:
    unset = "18446744073709551614"

    assert "cpu=4,gres/gpu:h100=2,gres/gpu=2" == dbd_rows.tres_words(f"1=4,2={unset},1001=2,1004=2", NAMES)
    with pytest.raises(ValueError, match=r"TRES 1009 of '1009=1' is not in tres_table"):
        dbd_rows.tres_words("1009=1", NAMES)


def row_from(**changes: str) -> rows.Row:
    """A row of 26.05's database."""
    numbers = dict.fromkeys(dbd_rows.NUMBERS, "0") | {
        "id_job": "7", "time_submit": "100", "time_eligible": "100", "time_start": "110", "time_end": "170",
        "state": "3", "nodes_alloc": "1", "job_db_inx": "13854910882314492928",
    }  # fmt: skip
    numbers = {"sluid": numbers["job_db_inx"], **numbers}
    texts = dict.fromkeys(dbd_rows.TEXTS, "") | {"tres_alloc": "1001=2", "nodelist": "gn01", "job_name": "train"}
    told = {"several": "", **texts, "user": "alice"} | {k: v for k, v in changes.items() if k not in numbers}
    together = ",".join((numbers | {k: v for k, v in changes.items() if k in numbers}).values())
    return dbd_rows.Reader("c", {}, NAMES, {}, sluids=True).row([together, *told.values()])


def test_a_row_from_before_the_upgrade_that_brought_sluids_keeps_its_name() -> None:
    after, before, resized = row_from(), row_from(sluid="0"), row_from(sluid="13854910882314492929")
    names = [rows.read(row, "c") for row in (after, before, resized)]
    pinned = [rows.read(row, "c", sluids=False) for row in (after, before, resized)]

    assert ["sC0HM819ZGS700", "7@100", "sC0HM819ZGS701@100"] == [r.job.key.id for r in names if isinstance(r, Record)]
    assert ["7@100"] * 3 == [r.job.key.id for r in pinned if isinstance(r, Record)]


def test_what_people_type_for_a_job_of_an_array_or_a_heterogeneous_one() -> None:
    several = ("5,3,0,0,4294967294", "5,4294967294,2,0,4294967294", "0,4294967294,0,6,1")
    told = [
        row_from(several=text, array_task_str=tasks) for text, tasks in zip(several, ("", "0x2AE", ""), strict=True)
    ]

    assert ["5_3", "5_[1-3,5,7,9%2]", "6+1"] == [row.display_id for row in told]


def test_a_sluid_is_written_as_slurm_writes_it() -> None:
    assert "sC0HM819ZGS700" == dbd_rows.sluid(13854910882314492928)  # as 26.05 printed it: beyond 63 bits
    assert ("s0000000000000", "sFZZZZZZZZZZZZ") == (dbd_rows.sluid(0), dbd_rows.sluid(2**64 - 1))


@given(st.sets(st.integers(0, 300), min_size=1), st.integers(0, 9))
def test_a_bitmap_of_tasks_lists_exactly_those(tasks: set[int], limit: int) -> None:
    told, _, most = task_list(hex(sum(1 << task for task in tasks)), limit).partition("%")
    spans = [[int(end) for end in part.split("-")] for part in told.split(",")]

    assert sorted(tasks) == [n for span in spans for n in range(span[0], span[-1] + 1)]
    assert (str(limit) if limit else "") == most


def test_an_absurd_bitmap_is_refused_before_it_takes_memory() -> None:
    with pytest.raises(ValueError, match="a list of tasks up to number"):
        task_list("0x1" + "0" * 1_000_001)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("no address", "is no address of a database"),
        ("mariadb+nosuch://u:secret@h/d", "is no address of a database"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        Slurmdbd("c", url)

    assert "secret" not in str(caught.value)


def test_without_its_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)

    with pytest.raises(SourceError, match=r"pip install 'meterbridge\[mariadb\]'"):
        Slurmdbd("c", "mariadb+pymysql://u@h/d")


@pytest.mark.server("slurm")
def test_the_session_cannot_write_even_where_the_user_may(slurm_lab: SlurmLab) -> None:
    engine = read_only_engine(url_of(slurm_lab), None, 10.0)
    with engine.connect() as connection, pytest.raises(SQLAlchemyError, match="READ ONLY transaction"):
        connection.execute(text("DELETE FROM qos_table"))
    engine.dispose()


@pytest.mark.server("slurm")
def test_the_documented_grant_and_a_password_file_are_enough(slurm_lab: SlurmLab, tmp_path: Path) -> None:
    job = slurm_lab.submit("true", "--gres=gpu:2", user="alice", account="vision", name="granted")
    slurm_lab.finish(job)
    with as_root(slurm_lab) as cursor:
        cursor.execute("CREATE USER 'meterbridge'@'127.0.0.1' IDENTIFIED BY 's3cret'")
        cursor.execute(f"GRANT SELECT ON {slurm_lab.database.database}.* TO 'meterbridge'@'127.0.0.1'")
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    source = Slurmdbd("here", url_of(slurm_lab, "meterbridge", "other"), password_file=password, stored_as="lab")
    now = int(time.time())
    found = [r.job for r in source.records(now - 300, now + 5) if isinstance(r, Record) and r.job.native_id == job]
    source.close()
    with as_root(slurm_lab) as cursor:
        cursor.execute("DROP USER 'meterbridge'@'127.0.0.1'")

    assert [("here", "granted", "alice", "vision")] == [(j.key.cluster, j.name, j.user, j.account) for j in found]


@pytest.mark.server("slurm")
@pytest.mark.parametrize(
    ("together", "packet"),
    [(40_000, 16 << 20), (2, 16 << 20), (40_000, 1024)],
    ids=["a day in one text", "a day in pieces", "a day beyond the server's packet"],
)
def test_every_run_is_told_once_day_by_day_wherever_its_row_lies(
    slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch, together: int, packet: int
) -> None:
    monkeypatch.setattr("exporters.sources.slurm.history.slurmdbd._TOGETHER", together)
    job = slurm_lab.submit("true", "--gres=gpu:1", user="alice", account="vision", name="copied")
    slurm_lab.finish(job)
    first, day, copies = 1_600_000_000, 86_400, 100  # one every 2,700 s: also where a day is cut in two
    own = {
        "job_db_inx": f"9000000 + seq * 17 % {copies + 1}", "id_job": "9000000 + seq",
        **dict.fromkeys(("time_submit", "time_eligible", "time_start"), f"{first} + seq * 2700"),
        "time_end": f"{first} + seq * 2700 + 50000",
    }  # fmt: skip
    source = Slurmdbd("lab", url_of(slurm_lab))
    asked: list[int] = []

    def lines(*args: Any, **more: Any) -> Sequence[str]:
        found = _lines(*args, **more)
        asked.append(len(found))
        return found

    monkeypatch.setattr("exporters.sources.slurm.history.slurmdbd._lines", lines)
    with as_root(slurm_lab) as cursor:
        cursor.execute("SELECT @@GLOBAL.max_allowed_packet")
        (usual,) = cursor.fetchone()
        cursor.execute("SELECT * FROM lab_job_table LIMIT 0")
        columns = [column[0] for column in cursor.description]
        cursor.execute(
            f"INSERT INTO lab_job_table ({', '.join(f'`{c}`' for c in columns)}) SELECT"
            f" {', '.join(own.get(c, f'`{c}`') for c in columns)} FROM lab_job_table, seq_1_to_{copies}"
            f" WHERE id_job = {job}"
        )
        try:
            cursor.execute(f"SET GLOBAL max_allowed_packet = {packet}")
            told = [r.job.native_id for r in source.records(first + 40_000, first + 5 * day) if isinstance(r, Record)]
        finally:
            cursor.execute(f"SET GLOBAL max_allowed_packet = {usual}")
            cursor.execute("DELETE FROM lab_job_table WHERE id_job > 9000000")
    source.close()

    assert [str(9_000_000 + n) for n in range(1, copies + 1)] == sorted(told)
    assert 14 == asked[0]  # they ran on into the first day
    assert all(count <= together for count in asked[1:])


@pytest.mark.server("slurm")
def test_a_schema_that_is_not_known_is_named_and_refused(slurm_lab: SlurmLab) -> None:
    source = Slurmdbd("lab", url_of(slurm_lab))
    with as_root(slurm_lab) as cursor:
        cursor.execute("UPDATE convert_version_table SET version = version + 90")
        try:
            with pytest.raises(
                SourceError, match=r"version 10\d of slurmdbd's schema, and known .*16 .Slurm 24.11.*slurmrestd"
            ):
                list(source.records(0, 10))
        finally:
            cursor.execute("UPDATE convert_version_table SET version = version - 90")
    source.close()


@pytest.mark.server("slurm")
def test_columns_are_looked_at_before_a_row_is_read(slurm_lab: SlurmLab) -> None:
    source = Slurmdbd("lab", url_of(slurm_lab))
    ways = (
        ("lab_event_table CHANGE node_name node tinytext", "`lab_event_table` has no column node_name"),
        ("lab_job_table CHANGE state state tinytext", "`lab_job_table`.state is not a number"),
    )
    for change, said in ways:
        table, column = change.split()[0], change.split()[2]
        with as_root(slurm_lab) as cursor:
            cursor.execute(f"CREATE TABLE kept LIKE {table}")
            cursor.execute(f"RENAME TABLE {table} TO aside, kept TO {table}")
            cursor.execute(f"ALTER TABLE {change}")
            try:
                with pytest.raises(SourceError, match=f"version is .*{said}: read this history through sacct"):
                    list(source.records(0, 10))
            finally:
                cursor.execute(f"DROP TABLE {table}")
                cursor.execute(f"RENAME TABLE aside TO {table}")

        assert column in said
    assert [] == list(source.records(0, 10))  # and the same source goes on when that was mended
    source.close()


@pytest.mark.server("slurm")
def test_what_cannot_be_read_is_said_without_the_password(slurm_lab: SlurmLab, tmp_path: Path) -> None:
    troubles = {
        "no table `mars_job_table`, .*`mars_event_table`.*'mars' the ClusterName": Slurmdbd("mars", url_of(slurm_lab)),
        "cannot be read: .*Access denied.*GRANT SELECT": Slurmdbd("lab", url_of(slurm_lab, password="wr0ng")),
        "password file .*none cannot be read": Slurmdbd("lab", url_of(slurm_lab), password_file=tmp_path / "none"),
        "cannot be read: .*Can't connect": Slurmdbd("lab", "mariadb+pymysql://u:wr0ng@127.0.0.1:9/d"),
    }
    for said, source in troubles.items():
        with pytest.raises(SourceError, match=said) as caught:
            list(source.events(0, 10))

        source.close()
        assert not {"wr0ng", slurm_lab.database.password} & set(str(caught.value).replace(":", " ").split())
