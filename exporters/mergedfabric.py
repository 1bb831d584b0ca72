"""Who holds up whom in a job whose machines are in several shards: judged by the ports of all pages together.

A shard sees the job's ports on its own machines, and so may miss the slow receiver of its victims, or take one of many
machines that exchange data for a slow receiver. The pages have all that a judgement needs: what each port was paused
and has paused (counters), whose ports they are, and on how many machines each job is. So the merge mode follows the
pauses of all ports by the rule of one exporter (`exporters.fabricdiagnosis`), and its word replaces the shards'.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from exporters.exposition.family import Row
from exporters.fabric import PortState
from exporters.fabricdiagnosis import Trends, suspects
from exporters.merging import JOIN_TIME, Key, Part
from exporters.model import JobKey, Scheduler
from exporters.portcounters import Increase
from exporters.ports import Port, PortCounter, PortQuantity

SUSPECT = "meterbridge_job_fabric_suspect"
_PORTS, _OWNERS, _NODES = "meterbridge_rdma_port_info", "meterbridge_rdma_port_job_info", "meterbridge_job_nodes"
_COUNTERS = (
    PortCounter(PortQuantity.PAUSE_RECEIVED_SECONDS),
    PortCounter(PortQuantity.PAUSE_TRANSMITTED_SECONDS),
)
_PAUSES = {f"meterbridge_rdma_port_{counter.quantity}_total": k for k, counter in enumerate(_COUNTERS)}
_WANTED = frozenset({_PORTS, _OWNERS, _NODES, SUSPECT, *_PAUSES})

Labels = tuple[str, str, str]
"""Node, device and port."""


class MergedFabric:
    """Call `step` once per round, with the shards' pages."""

    def __init__(self, gap: float) -> None:
        """``gap``: seconds after which an interval is too long to tell anything of a rate."""
        self._trends = Trends(gap)
        self._last: dict[Labels, tuple[float, list[float]]] = {}

    def step(self, parts: Sequence[Part]) -> list[Row]:
        """The rows of the suspects of all jobs. Of jobs that have no series of their own, what their shards say."""
        told: dict[str, list[tuple[Key, float, Part]]] = defaultdict(list)
        for part in parts:
            for key, value in part.values.items():
                if key[0] in _WANTED:
                    told[key[0]].append((key, value + part.before.get(key, 0.0), part))
        jobs: dict[Labels, list[JobKey]] = defaultdict(list)
        projects: dict[JobKey, str] = {}
        for (_, labels), _, _ in told[_OWNERS]:
            job = _job(labels[3:6])
            jobs[_port(labels)].append(job)
            projects[job] = labels[6]
        sizes: dict[JobKey, int] = defaultdict(int)
        for (_, labels), count, _ in told[_NODES]:
            sizes[_job(labels)] += int(count)
        states = {_port(labels): _state(_port(labels), jobs) for (_, labels), _, _ in told[_PORTS]}
        at = {_port(labels): part.values.get((JOIN_TIME, ()), 0.0) for (_, labels), _, part in told[_PORTS]}
        paused = ((_port(key[1]), _PAUSES[key[0]], value) for name in _PAUSES for key, value, _ in told[name])
        trends = self._trends.step([*states.values()], _COUNTERS, self._increase(at, paused))
        found = suspects([*states.values()], trends, {job: range(size) for job, size in sizes.items()})
        judged: list[Row] = [
            ((*_words(s.job), projects[s.job], *s.state.labels, s.role, str(len(s.state.jobs) > 1).lower()), 1.0)
            for s in found
        ]
        return judged + [(labels, value) for (_, labels), value, _ in told[SUSPECT] if _job(labels) not in projects]

    def _increase(self, at: Mapping[Labels, float], paused: Iterable[tuple[Labels, int, float]]) -> Increase:
        """What each port's pauses grew since its page was another one."""
        totals: dict[Labels, list[float]] = {labels: [math.nan] * len(_COUNTERS) for labels in at}
        for labels, k, value in paused:
            if labels in totals:
                other_priorities = totals[labels][k]
                totals[labels][k] = value if math.isnan(other_priorities) else other_priorities + value
        amounts, seconds = np.full((len(at), len(_COUNTERS)), np.nan), np.full(len(at), np.nan)
        for i, (labels, moment) in enumerate(at.items()):
            last, before = self._last.get(labels, (moment, totals[labels]))
            if moment > last:
                seconds[i] = moment - last
                amounts[i] = np.array(totals[labels]) - np.array(before)
        self._last = {
            labels: (moment, totals[labels]) if moment != self._last.get(labels, (0.0, []))[0] else self._last[labels]
            for labels, moment in at.items()
        }
        whole = np.arange(len(at))
        return Increase(whole, amounts, seconds, whole, ~np.isnan(seconds))


def _port(labels: tuple[str, ...]) -> Labels:
    return labels[0], labels[1], labels[2]


def _job(labels: tuple[str, ...]) -> JobKey:
    return JobKey(Scheduler(labels[0]), labels[1], labels[2])


def _words(job: JobKey) -> tuple[str, str, str]:
    return job.scheduler.value, job.cluster, job.id


def _state(labels: Labels, jobs: Mapping[Labels, Sequence[JobKey]]) -> PortState:
    return PortState(labels[0], Port(*labels), None, None, tuple(sorted(jobs.get(labels, ()))), labels)
