"""The service's loop: clocks, back-off, and what it says about itself."""

from __future__ import annotations

import logging
import threading

import pytest
from prometheus_client import CollectorRegistry

from accounting.service.loop import FIRST_RETRY, Loop, Task


class World:
    """A clock that stands until told, and tasks that take time and fail when told."""

    def __init__(self, *intervals: float) -> None:
        self.now = 1000.0
        self.takes = 0.0
        self.broken: set[str] = set()
        self.ran: list[tuple[str, float]] = []
        self.registry = CollectorRegistry()
        tasks = [Task(f"t{n}", seconds, lambda n=n: self.work(f"t{n}")) for n, seconds in enumerate(intervals)]
        self.loop = Loop(tasks, self.registry, clock=lambda: self.now, wall=lambda: self.now + 1e9)

    def work(self, name: str) -> None:
        self.ran.append((name, self.now))
        self.now += self.takes
        if name in self.broken:
            raise RuntimeError(f"{name} is broken")

    def until(self, end: float) -> None:
        """Do as the thread does, without waiting."""
        while True:
            wait = self.loop.run_due()
            if self.now + wait > end:
                self.now = end
                return
            self.now += wait

    def value(self, name: str, task: str = "t0") -> float | None:
        return self.registry.get_sample_value(f"meterbridge_task_{name}", {"task": task})


def test_each_task_runs_on_its_own_clock() -> None:
    world = World(100, 250)

    world.until(1500)

    assert [1000, 1100, 1200, 1300, 1400, 1500] == [at for name, at in world.ran if name == "t0"]
    assert [1000, 1250, 1500] == [at for name, at in world.ran if name == "t1"]


def test_tasks_due_at_once_run_in_the_order_given() -> None:
    world = World(100, 100)

    world.loop.run_due()

    assert ["t0", "t1"] == [name for name, _ in world.ran]


def test_the_clock_of_a_task_starts_when_it_ends() -> None:
    """A task that takes longer than its interval must not run without a pause."""
    world = World(100)
    world.takes = 300

    world.until(1900)

    assert [1000, 1400, 1800] == [at for _, at in world.ran]


def test_a_task_that_fails_is_tried_soon_then_ever_later_and_the_others_go_on() -> None:
    world = World(60, 60)
    world.broken = {"t0"}

    world.until(1240)

    waits = [5, 10, 20, 40, 60, 60]
    assert [1000 + sum(waits[:n]) for n in range(len(waits) + 1)] == [at for name, at in world.ran if name == "t0"]
    assert [1000, 1060, 1120, 1180, 1240] == [at for name, at in world.ran if name == "t1"]


def test_a_task_that_recovers_is_back_on_its_clock() -> None:
    world = World(60)
    world.broken = {"t0"}
    world.until(1000 + FIRST_RETRY - 1)
    world.broken = set()

    world.until(1100)

    assert [1000, 1005, 1065] == [at for _, at in world.ran]


def test_a_failure_after_a_success_is_a_first_one_again() -> None:
    world = World(60)
    world.broken = {"t0"}
    world.until(1000 + FIRST_RETRY)
    world.broken = set()
    world.until(1000 + FIRST_RETRY + 10)
    world.broken = {"t0"}

    world.until(1080)

    assert [1000, 1005, 1015, 1075, 1080] == [at for _, at in world.ran]


def test_a_failure_is_logged_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    world = World(60)
    world.broken = {"t0"}

    with caplog.at_level(logging.ERROR):
        world.loop.run_due()

    assert "task t0 failed, 1 in a row; next try in 5 s" in caplog.text
    assert "RuntimeError: t0 is broken" in caplog.text


def test_the_metrics_say_what_happened() -> None:
    world = World(60)
    world.takes = 7
    world.loop.run_due()
    world.broken, world.takes = {"t0"}, 3
    world.now += 60
    world.loop.run_due()

    assert (2, 1) == (world.value("runs_total"), world.value("failures_total"))
    assert (0, 3) == (world.value("success"), world.value("duration_seconds"))
    assert 1000 + 7 + 1e9 == world.value("last_success_timestamp_seconds")


def test_a_task_that_never_succeeded_has_no_last_success() -> None:
    world = World(60)
    world.broken = {"t0"}
    world.loop.run_due()

    assert world.value("last_success_timestamp_seconds") is None
    assert 1 == world.value("failures_total")


def test_failures_are_there_before_the_first_one() -> None:
    """A counter that appears with its first increment hides it from `increase`."""
    assert (0, 0) == (World(60).value("runs_total"), World(60).value("failures_total"))


def test_the_thread_runs_and_ends_after_the_task_it_is_in() -> None:
    entered, leave, order = threading.Event(), threading.Event(), []

    def first() -> None:
        entered.set()
        assert leave.wait(10)
        order.append("first")

    loop = Loop([Task("first", 60, first), Task("second", 60, lambda: order.append("second"))], CollectorRegistry())
    loop.start()
    assert entered.wait(10)
    assert not loop.stop(timeout=0)
    leave.set()

    assert loop.stop(timeout=10)
    assert ["first"] == order
    assert not loop.alive


def test_a_loop_that_never_started_stops_at_once() -> None:
    assert Loop([], CollectorRegistry()).stop()
