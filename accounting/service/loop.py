"""The service's own work: ingest, reconcile and what else runs on a clock, one at a time.

A task that fails is tried again soon, then ever later, at the latest after its own interval; the other tasks go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge

log = logging.getLogger(__name__)

FIRST_RETRY = 5.0
"""Seconds until a failed task is tried again; doubled for each failure in a row, up to the task's interval."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something to run every ``interval`` seconds. ``name`` becomes the ``task`` label of its metrics."""

    name: str
    interval: float
    run: Callable[[], object]


class Loop:
    """Runs tasks on their clocks in one thread, in the order given where two are due.

    ``clock`` is monotonic seconds and ``wall`` epoch seconds, given by tests. ``registry`` receives the metrics.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.tasks = tuple(tasks)
        self.clock, self.wall = clock, wall
        self._due = {task.name: clock() for task in tasks}
        self._failed = dict.fromkeys(self._due, 0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._metrics = _Metrics(registry, list(self._due))

    def run_due(self) -> float:
        """Run what is due now, once each. Returns the seconds until something is due next."""
        for task in self.tasks:
            if self._due[task.name] <= self.clock() and not self._stop.is_set():
                self._run(task)
        return max(0.0, min(self._due.values(), default=FIRST_RETRY) - self.clock())

    def _run(self, task: Task) -> None:
        begun = self.clock()
        try:
            task.run()
        except Exception:  # a task may fail in any way, and the others must go on
            self._failed[task.name] += 1
            wait = min(task.interval, FIRST_RETRY * 2.0 ** min(self._failed[task.name] - 1, 32))
            log.exception("task %s failed, %d in a row; next try in %.0f s", task.name, self._failed[task.name], wait)
            self._metrics.failed(task.name, self.clock() - begun)
        else:
            self._failed[task.name] = 0
            wait = task.interval
            self._metrics.succeeded(task.name, self.clock() - begun, self.wall())
        self._due[task.name] = self.clock() + wait

    def start(self) -> None:
        """Begin, in a thread of its own. Everything is due at once."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._forever, name="accounting-loop", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the loop runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, timeout: float = 5.0) -> bool:
        """End after the task that runs now. Returns whether it did within ``timeout`` seconds."""
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self.alive

    def _forever(self) -> None:
        while not self._stop.wait(self.run_due()):
            pass


class _Metrics:
    """What the loop says about itself."""

    def __init__(self, registry: CollectorRegistry, tasks: list[str]) -> None:
        labels = ["task"]
        self.last_success = Gauge(
            "meterbridge_task_last_success_timestamp_seconds",
            "When the accounting service last finished this task; absent until it has",
            labels,
            registry=registry,
        )
        self.success = Gauge(
            "meterbridge_task_success", "1 if the task's last run succeeded, 0 if it failed", labels, registry=registry
        )
        self.duration = Gauge(
            "meterbridge_task_duration_seconds", "How long the task's last run took", labels, registry=registry
        )
        self.runs = Counter("meterbridge_task_runs", "Runs of the task, failed ones too", labels, registry=registry)
        self.failures = Counter("meterbridge_task_failures", "Runs of the task that failed", labels, registry=registry)
        for task in tasks:
            self.runs.labels(task)
            self.failures.labels(task)

    def succeeded(self, task: str, seconds: float, now: float) -> None:
        self._ran(task, seconds, ok=True)
        self.last_success.labels(task).set(now)

    def failed(self, task: str, seconds: float) -> None:
        self._ran(task, seconds, ok=False)
        self.failures.labels(task).inc()

    def _ran(self, task: str, seconds: float, *, ok: bool) -> None:
        self.runs.labels(task).inc()
        self.duration.labels(task).set(seconds)
        self.success.labels(task).set(ok)
