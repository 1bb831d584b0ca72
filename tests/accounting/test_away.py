"""A PostgreSQL that goes away in the middle of work and comes back: a clear error, and done again it is as if never."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import httpx2
import psycopg
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.service import site_service
from accounting.site import book, proof
from accounting.store.database import LedgerError, read
from accounting.store.schema import open_ledger
from accounting.store.tables import metadata
from exporters.join.projects import ProjectMap
from exporters.model import Scheduler, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.sources.base import Source
from tests.accounting.lives import EVENTS, FIRST, LATER, SETTLED, Told, contents, ingest, opened, seen_at, watch
from tests.accounting.october import HOUR, Site
from tests.accounting.site import kn, node, pod, pod_job
from tests.lab.daemons import wait_for
from tests.lab.postgres import PostgreSQL

pytestmark = [
    pytest.mark.server("postgresql"),
    # a cursor whose server died in the middle of an answer is never closed
    pytest.mark.filterwarnings("ignore:.*ServerCursor.*was deleted while still open:ResourceWarning"),
]

How = Literal["crashed", "terminated"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A server of our own, to be crashed: what it has committed it still has afterwards."""
    root = Path(tempfile.mkdtemp(prefix="postgres-away-"))
    root.chmod(0o755)
    found = PostgreSQL(root / "cluster", synchronous_commit="on")
    try:
        found.start()
        yield found
    finally:
        found.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Such cursors go now, not in the middle of another test."""
    yield
    gc.collect()


@pytest.fixture
def url(server: PostgreSQL) -> str:
    """A ledger with nothing in it."""
    with psycopg.connect(server.address("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS away WITH (FORCE)")
        connection.execute("CREATE DATABASE away")
    open_ledger(server.address("away")).dispose()
    return server.address("away")


def held(url: str) -> dict[str, list[str]]:
    with opened(url) as engine:
        return contents(engine)


def emptied(url: str) -> None:
    """Forget everything, and begin again."""
    with opened(url) as engine, engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


def go_away(server: PostgreSQL, how: How) -> None:
    """End the server, or only the ledger's connections."""
    if how == "crashed":
        server.crash()
        return
    with psycopg.connect(server.address("postgres"), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'away'")


@dataclass
class Fault:
    """Within it, the server goes away at the ``number``-th statement that holds ``text``, once; then it is back."""

    server: PostgreSQL
    how: How
    text: str
    number: int
    struck: bool = False

    def __enter__(self) -> None:
        event.listen(Engine, "before_cursor_execute", self._executing)

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "before_cursor_execute", self._executing)
        if self.struck and self.how == "crashed":
            self.server.run()

    def _executing(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if self.text in statement and not self.struck:
            self.number -= 1
            if self.number == 0:
                self.struck = True
                go_away(self.server, self.how)


@pytest.mark.parametrize(("how", "text", "number"), [
    ("crashed", 'INSERT INTO "claims"', 2),
    ("terminated", "cursors", 2),
    ("terminated", "pg_advisory_xact_lock", 3),
])  # fmt: skip
def test_an_ingest_whose_server_goes_away_mid_batch_says_so_and_completes_when_run_again(
    server: PostgreSQL, url: str, how: How, text: str, number: int
) -> None:
    ingest(url, LATER, SETTLED)
    expected = held(url)
    emptied(url)
    with Fault(server, how, text, number), pytest.raises(OperationalError):
        ingest(url, LATER, SETTLED)
    partly = held(url)
    ingest(url, LATER, SETTLED)

    assert partly != expected
    assert expected == held(url)


def test_the_front_door_says_which_ledger_failed_and_why(server: PostgreSQL, url: str, tmp_path: Path) -> None:
    with opened(url) as engine:
        config = Site(engine, tmp_path).config()

    def ask_while_it_goes() -> None:
        with book.opened(config) as engine, read(engine) as connection:
            go_away(server, "terminated")
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(LedgerError, match=r"the ledger postgresql.*/away failed: .*terminat"):
        ask_while_it_goes()
    server.crash()
    try:
        with pytest.raises(LedgerError, match=r"cannot open the ledger postgresql.*/away.*refused"):
            proof.check(config)
    finally:
        server.run()


ROUNDS = [seen_at(at) for at in range(FIRST, SETTLED + 1, 12 * HOUR)]


@pytest.mark.parametrize("how", ["crashed", "terminated"])
def test_a_recorder_whose_server_goes_away_tries_the_round_again_and_keeps_it_once(
    server: PostgreSQL, url: str, how: How
) -> None:
    watch(url, FIRST, SETTLED)
    expected = held(url)
    emptied(url)
    with opened(url) as engine:
        recorder = LedgerRecorder(engine, gap=13.0 * HOUR, flush_seconds=0)
        for number, round_ in enumerate(ROUNDS):
            if number == 4:
                with Fault(server, how, "UPDATE coverage", 2), pytest.raises(OperationalError):
                    recorder.record(round_)
            recorder.record(round_)
        recorder.close()

    assert expected == held(url)


@pytest.mark.parametrize("flush", [0.0, 30.0 * HOUR])
@pytest.mark.parametrize("done", [True, False])
def test_a_commit_of_which_nobody_knows_whether_it_was_done_is_done_once(
    engine: Engine, new_ledger: Callable[[], Engine], flush: float, done: bool
) -> None:
    def told(engine: Engine, lost: int | None) -> dict[str, list[str]]:
        recorder = LedgerRecorder(engine, gap=13.0 * HOUR, flush_seconds=flush)
        commit = engine.dialect.do_commit

        def lose(connection: Any) -> None:
            if done:
                commit(connection)
            else:
                engine.dialect.do_rollback(connection)
            raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

        for number, round_ in enumerate(ROUNDS):
            if number == lost:
                with mock.patch.object(engine.dialect, "do_commit", lose), pytest.raises(OperationalError):
                    recorder.record(round_)
            recorder.record(round_)
        recorder.close()
        return contents(engine)

    expected = told(engine, None)
    for lost in (0, 4):
        assert expected == told(new_ledger(), lost)


class Pods(Source):
    """A live source that shows one pod, from the first poll to the last but one."""

    name, cluster, scheduler, interval = "pods", "kube", Scheduler.KUBERNETES, 15.0

    def __init__(self) -> None:
        self.acknowledged: list[float] = []

    def poll(self, now: float) -> Snapshot:
        a, job = pod("a", 1, FIRST), (pod_job("a"),)
        over = now >= FIRST + 75
        gone = (replace(a, end=FIRST + 70, end_basis="deleted"),) if over else ()
        return Snapshot(now, job, () if over else (a,), gone, (node(kn(1)),))

    def acknowledge(self, at: float) -> None:
        self.acknowledged.append(at)

    def close(self) -> None:
        """Nothing is open."""


def test_the_exporter_keeps_rounds_while_its_ledger_is_away_and_hands_them_over_when_it_is_back(
    server: PostgreSQL, url: str
) -> None:
    def exported(away: range) -> tuple[dict[str, list[str]], list[float], int]:
        now, source, waited = float(FIRST), Pods(), 0
        with opened(url) as engine:
            recorder = LedgerRecorder(engine, gap=60.0, flush_seconds=0)
            collector = Collector([source], JoinSettings(ProjectMap.of([])), recorder, clock=lambda: now)
            for number in range(8):
                if number == away.start:
                    server.crash()
                if number == away.stop:
                    server.run()
                collector.poll_all()
                waited = max(waited, collector.join().recorder_pending)
                now += 15
            collector.stop()
        return held(url), source.acknowledged, waited

    undisturbed = exported(range(0))
    emptied(url)
    disturbed = exported(range(3, 6))

    assert undisturbed[:2] == disturbed[:2]
    assert 8 == len(disturbed[1])
    assert 3 == disturbed[2]


def test_the_service_comes_back_by_itself(server: PostgreSQL, url: str, tmp_path: Path) -> None:
    with opened(url) as engine:
        config = Site(engine, tmp_path, extra='service: {listen: "127.0.0.1:0", interval: 1s}\n').config()
    with (
        mock.patch("accounting.site.book.slurm.history", return_value=Told(LATER, EVENTS)),
        mock.patch("accounting.service.loop.FIRST_RETRY", 0.05),
        mock.patch(
            "accounting.service.loop.log"
        ),  # a log that is kept would keep the traceback, and with it the cursor
    ):
        service = site_service.service(config, clock=lambda: float(SETTLED))
        service.start()

        def says(line: str) -> bool:
            return line in httpx2.get(f"{service.url}/metrics").text

        def ready() -> int:
            return httpx2.get(f"{service.url}/-/ready").status_code

        succeeded = 'meterbridge_task_success{task="reconcile"} 1.0'
        failed = 'meterbridge_task_success{task="reconcile"} 0.0'
        try:
            wait_for(lambda: says(succeeded) and ready() == 200, 30, succeeded)
            server.crash()
            try:
                wait_for(lambda: says(failed), 30, failed)
                away = ready()
            finally:
                server.run()
            wait_for(lambda: says(succeeded) and ready() == 200, 30, succeeded)
        finally:
            service.stop()

    assert 503 == away
