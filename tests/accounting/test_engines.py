"""Wherever a month is reconciled, the books are the same: one process, a pool, a Dask cluster that loses a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from accounting.ledger.reconcile_range import Work
from accounting.reconcile.sweep import chunk as chunks
from accounting.site import book
from accounting.store.database import LedgerError, read, write
from accounting.store.readers import readers
from accounting.store.tables import claims, day_marks, node_days, periods, postings, rejects, transactions
from exporters.config import Config, parse
from tests.accounting.dask_cluster import Cluster, running
from tests.accounting.october import Site, october
from tests.bench.month import PERIOD
from tests.bench.month_ledger import SEEN, fill, settings

ROOT = Path(__file__).parents[2]
BOOKS = (node_days, postings, transactions, rejects, periods, day_marks)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as started:
        yield started


@pytest.fixture
def site(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The synthetic month on some machines, a chunk each."""
    monkeypatch.setattr(chunks, "ROWS", 1)
    fill(engine, 4)
    return parse(settings(engine.url.render_as_string(hide_password=False)), "settings")


def booked(site: Config, ledger: Engine, tick: Callable[[int, int, int], None] | None = None, **where: Any) -> Any:
    """Reconcile three days, and take the books out again."""
    end = PERIOD[0] + 3 * 86_400
    report = book.reconcile_between(site, ledger, PERIOD[0], end, SEEN, tick=tick, work=Work(**where))
    with write(ledger) as connection:
        rows = [[tuple(r) for r in connection.execute(select(t).order_by(*t.primary_key))] for t in BOOKS]
        for table in BOOKS:
            connection.execute(table.delete())
    return report, rows


def test_a_pool_books_the_same(site: Config, engine: Engine) -> None:
    one = booked(site, engine, engine="one")

    assert one == booked(site, engine, engine="pool", workers=2)
    assert (12, 12) == (one[0].node_days, one[0].posted)


def die(connection: Any, item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_of_a_pool_is_one_sentence(engine: Engine) -> None:
    with pytest.raises(LedgerError, match="was killed"), readers(engine, much=True, number=2) as some:
        [*some.map(die, [1, 2])]


_WORKS = """
import os, sys, time
from accounting.store.database import connect
from accounting.store.readers import readers
from tests.accounting.test_engines import pid_of

if __name__ == "__main__":
    with readers(connect(sys.argv[1]), much=True, number=2) as some:
        print(next(some.map(pid_of, range(2))), flush=True)
        time.sleep(600)
"""


def pid_of(connection: Any, item: int) -> int:
    return os.getpid()


def test_a_pool_ends_when_the_process_that_started_it_is_killed(empty_sqlite: Path, tmp_path: Path) -> None:
    script = tmp_path / "works.py"
    script.write_text(_WORKS)
    command = [sys.executable, str(script), f"sqlite:///{empty_sqlite}"]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    ) as one:
        assert one.stdout is not None
        worker = int(one.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        one.kill()
    until = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and time.monotonic() < until:
        time.sleep(0.05)

    assert not Path(f"/proc/{worker}").exists()


def test_claims_that_are_there_twice_count_once(site: Config, engine: Engine) -> None:
    once = booked(site, engine, engine="one")
    told = [column for column in claims.c if column.name != "id"]
    with write(engine) as connection:
        twins = select(claims.c.id + 1_000_000, *told)
        connection.execute(claims.insert().from_select(["id", *(column.name for column in told)], twins))

    again = booked(site, engine, engine="one")

    assert (once[0], once[1][:-1]) == (again[0], again[1][:-1])  # all but the marks


def test_new_machines_on_both_sides_of_one_to_be_looked_at_again_are_booked_as_one_by_one(
    site: Config, engine: Engine
) -> None:
    every, end = [f"gn{n:04}" for n in range(4)], PERIOD[0] + 86_400

    def after_one(**rest: Any) -> Any:
        first = book.reconcile_between(site, engine, PERIOD[0], end, SEEN, only=every[1:2])
        with write(engine) as connection:
            connection.execute(update(node_days).values(inputs_hash=b"as it was"))
        then = book.reconcile_between(site, engine, PERIOD[0], end, SEEN, **rest)
        with write(engine) as connection:
            rows = [[tuple(r) for r in connection.execute(select(t).order_by(*t.primary_key))] for t in BOOKS[:3]]
            for table in BOOKS:
                connection.execute(table.delete())
        return (first.posted, then.posted), rows

    singly = after_one(only=every)

    assert (1, 3) == singly[0]
    assert singly == after_one()


def test_a_dask_cluster_that_loses_a_worker_books_the_same(site: Config, engine: Engine, cluster: Cluster) -> None:
    def lose(done: int, total: int, count: int) -> None:
        if count == 4:
            cluster.daemons["one"].process.kill()

    one = booked(site, engine, engine="one")
    dask = booked(site, engine, lose, engine="dask", scheduler=cluster.address)

    assert one == dask
    assert cluster.daemons["one"].process.poll() is not None


def test_the_command_books_the_same_anywhere(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    with read(engine) as connection:
        before = connection.execute(select(postings).order_by(postings.c.id)).all()
    with write(engine) as connection:
        for table in BOOKS:
            connection.execute(table.delete())
    said = site.run("reconcile", "--period", "2026-10", "--engine", "pool")

    assert "31 posted" in said
    with read(engine) as connection:
        assert before == connection.execute(select(postings).order_by(postings.c.id)).all()


def test_dask_without_an_address_and_an_address_without_dask_are_refused(engine: Engine, tmp_path: Path) -> None:
    site = Site(engine, tmp_path)
    for words in (["--engine", "dask"], ["--scheduler", "tcp://127.0.0.1:1"]):
        assert "--engine dask and --scheduler ADDRESS go together" in site.run("reconcile", *words, code=2)


def test_a_process_of_a_pool_loads_nothing_that_it_does_not_use() -> None:
    script = "import sys, accounting.ledger.reconcile_range; print(*sorted(m.partition('.')[0] for m in sys.modules))"
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)

    assert set() == {*told.stdout.split()} & {"pandas", "dask", "fastapi", "click", "kubernetes", "aiohttp", "tests"}
