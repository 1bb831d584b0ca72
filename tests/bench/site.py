"""A Slurm site of any size in memory, for benchmarks of rounds: jobs begin and end as fast as is asked."""

from __future__ import annotations

from collections import deque

from exporters.join.projects import ProjectMap, ProjectRule
from exporters.model import Claim, Job, JobKey, Node, NodeKey, Scheduler, Snapshot
from exporters.sources.base import Source
from tests.bench.fleet import CARDS, name

CLUSTER = "hall"
ACCOUNTS = 40
BEGAN = 1_790_000_000


class Queue(Source):
    """A scheduler source: ``jobs`` jobs of equal size fill ``nodes`` machines; ``turnover`` of them change per poll."""

    def __init__(self, nodes: int, jobs: int, turnover: int = 0, interval: float = 15.0) -> None:
        self.name, self.cluster, self.interval = "slurmctld", CLUSTER, interval
        self.scheduler: Scheduler | None = Scheduler.SLURM
        self._nodes = tuple(Node(NodeKey(Scheduler.SLURM, CLUSTER, name(n)), 8000, True, "h100") for n in range(nodes))
        self._turnover = turnover
        self._size = nodes * CARDS // jobs
        self._running = deque((number, number, BEGAN + number) for number in range(jobs))  # job, place, start
        self._next = jobs

    def poll(self, now: float) -> Snapshot:
        """What runs now; before that some jobs end and others begin in their places."""
        for _ in range(self._turnover):
            _, place, _ = self._running.popleft()
            self._running.append((self._next, place, int(now)))
            self._next += 1
        jobs, claims = [], []
        for number, place, start in self._running:
            job = _job(number, start)
            jobs.append(job)
            first, left = place * self._size, self._size
            while left > 0:
                node, index = divmod(first, CARDS)
                count = min(left, CARDS - index)
                claims.append(_claim(job, self._nodes[node].key, index, count))
                first, left = first + count, left - count
        return Snapshot(now, jobs=tuple(jobs), claims=tuple(claims), nodes=self._nodes)

    def close(self) -> None:
        """Nothing to close."""


def _job(number: int, start: int) -> Job:
    key = JobKey(Scheduler.SLURM, CLUSTER, f"{number}@{BEGAN + number}")
    account = f"acc{number % ACCOUNTS}"
    text = str(number)
    return Job(key, text, text, f"train-{number}", f"user{number % 200}", account, "gpu", state="RUNNING", start=start)


def _claim(job: Job, node: NodeKey, index: int, count: int) -> Claim:
    cards = tuple(range(index, index + count))
    start = job.start or 0
    return Claim(job.key, job.key.id, node, 1000 * count, start, None, "h100", indices=cards, native_id=job.native_id)


def projects() -> ProjectMap:
    """Every account is a project's."""
    return ProjectMap.of([ProjectRule(f"project{n}", "account", f"acc{n}") for n in range(ACCOUNTS)])
