"""Two exporters on one ledger, a ledger that was migrated, one that does not answer: noticed, and nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from accounting.intake.live import lease
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.store.database import LedgerError, read, write
from accounting.store.schema import open_ledger
from accounting.store.tables import leases
from exporters.join.projects import ProjectMap
from exporters.model import Snapshot
from exporters.poll import registry
from exporters.poll.registry import Collector, JoinSettings
from exporters.recorder import Round
from tests.accounting.site import T0
from tests.exporters import world as w

SECONDS = 60.0


def held_by(engine: Engine, holder: str, at: float = T0) -> None:
    """Another process has the lease."""
    with write(engine) as connection:
        connection.execute(leases.insert().values(name="exporter", holder=holder, held_at_ms=int(at * 1000)))


def try_it(engine: Engine, now: float) -> str:
    try:
        with write(engine) as connection:
            lease.take(connection, "exporter", now, SECONDS)
    except lease.HeldError as error:
        return str(error)
    return ""


ELSEWHERE = "gn07/boot/pid:[1]/4711/99"


def test_who_has_it_renews_it_and_another_is_told_who_has_it(engine: Engine) -> None:
    first = [try_it(engine, T0 + n) for n in (0, 10, 30)]
    with write(engine) as connection:
        connection.execute(leases.update().values(holder=ELSEWHERE))

    assert ["", "", ""] == first
    assert (
        "gn07 (process 4711) recorded as 'exporter' in this ledger 10 s ago: stop one of the two, or give each its own "
        "--shard"
    ) == try_it(engine, T0 + 40)


@pytest.mark.parametrize(("after", "free"), [(59.9, False), (60.0, True), (-59.9, False), (-60.0, True)])
def test_a_holder_that_writes_no_more_is_given_up_and_a_clock_that_was_wrong_does_not_lock_for_ever(
    engine: Engine, after: float, free: bool
) -> None:
    held_by(engine, ELSEWHERE)

    assert free == (try_it(engine, T0 + after) == "")


def test_a_holder_that_has_ended_on_this_machine_is_not_waited_for(engine: Engine) -> None:
    here = lease.this_process().rsplit("/", 2)[0]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    held_by(engine, f"{here}/{gone.pid}/1")

    assert "" == try_it(engine, T0)


def test_an_id_that_another_process_has_now_is_not_the_holder(engine: Engine) -> None:
    here = lease.this_process().rsplit("/", 2)[0]
    held_by(engine, f"{here}/{os.getpid()}/1")  # as another process of this id began

    assert "" == try_it(engine, T0)


def test_what_lives_here_is_waited_for(engine: Engine) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    held_by(engine, lease._named(other.pid))
    refused = try_it(engine, T0 + 1)
    other.communicate(b"\n")

    assert f"(process {other.pid})" in refused
    assert "" == try_it(engine, T0 + 1)


def test_a_name_is_given_back_at_the_end_and_only_by_who_has_it(engine: Engine) -> None:
    recorder = LedgerRecorder(engine, clock=lambda: float(T0))
    recorder.record(Round(T0, (), (), ()))
    with write(engine) as connection:
        lease.give_back(connection, "another")
        held = connection.execute(select(leases.c.holder)).scalar_one()
    recorder.close()
    with read(engine) as connection:
        after = connection.execute(select(leases.c.holder)).scalar_one()

    assert (lease.this_process(), "") == (held, after)


def test_two_names_are_two_leases(engine: Engine) -> None:
    held_by(engine, ELSEWHERE)
    LedgerRecorder(engine, name="exporter 1/2", clock=lambda: float(T0)).record(Round(T0, (), (), ()))
    with pytest.raises(lease.HeldError):
        LedgerRecorder(engine, clock=lambda: float(T0)).record(Round(T0, (), (), ()))


def test_a_process_that_was_forked_has_a_name_of_its_own() -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        other = pool.apply(lease.this_process)

    assert other != lease.this_process()
    assert other.rsplit("/", 2)[0] == lease.this_process().rsplit("/", 2)[0]


def test_a_process_that_outlived_an_upgrade_writes_no_more(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    recorder = LedgerRecorder(engine, clock=lambda: float(T0))
    recorder.record(Round(T0, (), (), ()))
    with engine.connect() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerError, match=r"has schema 9999, and this process began with \d{4}"):
        recorder.record(Round(T0 + 15, (), (), ()))
    engine.dispose()


# -- a ledger that does not answer


class Slow:
    """A recorder that does not answer until it may: a stand-in for a ledger behind a dead network."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.kept: list[float] = []
        self.closed = False

    def record(self, round_: Round) -> None:
        self.may.wait()
        self.kept.append(round_.at)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], tuple[Slow, Collector]]]:
    monkeypatch.setattr(registry, "PATIENCE", 0.3)
    made: list[Slow] = []

    def make() -> tuple[Slow, Collector]:
        source = w.StubSource("slurmctld", "lab", w.SLURM, 0.05)
        source.says = Snapshot(0.0, nodes=(w.slurm_node("gn01"),))
        made.append(Slow())
        collector = Collector([source], JoinSettings(ProjectMap.of([]), interval=0.05), made[-1])
        collector.start()
        return made[-1], collector

    yield make
    for recorder in made:
        recorder.may.set()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_slow_ledger_delays_no_page_and_nothing_is_lost(slow: Callable[[], tuple[Slow, Collector]]) -> None:
    recorder, collector = slow()
    until(lambda: (view := collector.view()) is not None and view.recorder_pending > 3)
    first = collector.view()
    until(lambda: collector.view() is not first and collector.view().picture.at > first.picture.at)  # type: ignore[union-attr]
    recorder.may.set()
    until(lambda: len(recorder.kept) > 4)
    collector.stop()

    assert recorder.kept == sorted(set(recorder.kept))
    assert recorder.closed
    assert 0 == collector._handover.waiting


def test_a_ledger_that_never_answers_does_not_keep_the_process(
    slow: Callable[[], tuple[Slow, Collector]], caplog: pytest.LogCaptureFixture
) -> None:
    recorder, collector = slow()
    until(lambda: (view := collector.view()) is not None and view.recorder_pending > 1)
    begun = time.monotonic()
    collector.stop()

    assert time.monotonic() - begun < 5
    assert "the ledger does not answer" in caplog.text
    assert not recorder.closed


def test_a_round_that_is_dropped_while_it_is_recorded_takes_no_other_with_it(
    slow: Callable[[], tuple[Slow, Collector]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporters.poll.recorder_queue.PENDING_ROUNDS", 3)
    recorder, collector = slow()
    handover, added = collector._handover, []
    real = handover.add
    monkeypatch.setattr(handover, "add", lambda now, *rest: added.append(now) or real(now, *rest))
    until(lambda: handover._dropped > 2)
    recorder.may.set()
    until(lambda: len(recorder.kept) > 5)
    collector.stop()

    lost = set(added) - set(recorder.kept)
    assert handover._dropped - 1 == len(lost)  # the first of them was being recorded, and is kept
    assert recorder.kept == sorted(set(recorder.kept))
