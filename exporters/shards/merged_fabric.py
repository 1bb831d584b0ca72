"""Who holds up whom in a job whose machines are in several shards: judged by the ports of all pages together.

A shard sees the job's ports on its own machines, and so may miss the slow receiver of its victims, or take one of many
machines that exchange data for a slow receiver. The pages have all that a judgement needs: what each port was paused
and has paused (counters), whose ports they are, and on how many machines each job is. So the merge mode follows the
pauses of all ports by the rule of one exporter (`exporters.meters.fabric_diagnosis`), and its word replaces the
shards'.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from exporters.exposition.family import Row
from exporters.fabric_model import Port, PortCounter, PortQuantity
from exporters.meters.fabric_diagnosis import Trends, suspects
from exporters.meters.fabric_state import PortState
from exporters.meters.port_counters import Increase
from exporters.model import JobKey, Scheduler
from exporters.shards.merging import JOIN_TIME, Part

SUSPECT = "meterbridge_job_fabric_suspect"
_PORTS, _OWNERS, _NODES = "meterbridge_rdma_port_info", "meterbridge_rdma_port_job_info", "meterbridge_job_nodes"
_COUNTERS = (
    PortCounter(PortQuantity.PAUSE_RECEIVED_SECONDS),
    PortCounter(PortQuantity.PAUSE_TRANSMITTED_SECONDS),
)
_PAUSES = {f"meterbridge_rdma_port_{counter.quantity}_total": k for k, counter in enumerate(_COUNTERS)}

Labels = tuple[str, ...]
"""Node, device and port."""

Paused = tuple[float, float]
"""Seconds paused by the network, and seconds of pausing it, in all priorities; NaN = not told."""

_NOTHING = (math.nan, math.nan)


@dataclass
class _Told:
    """What the pages say of ports: when, what they counted, whose they are; and what the shards say of suspects."""

    at: dict[Labels, float] = field(default_factory=dict)
    paused: dict[Labels, Paused] = field(default_factory=dict)
    jobs: dict[Labels, list[JobKey]] = field(default_factory=lambda: defaultdict(list))
    projects: dict[JobKey, str] = field(default_factory=dict)
    sizes: dict[JobKey, int] = field(default_factory=lambda: defaultdict(int))
    suspects: list[Row] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Take in one shard's page."""
        now = part.values.get((JOIN_TIME, ()), 0.0)
        for key, value in part.values.items():
            name, labels = key
            if name in _PAUSES:
                of = _PAUSES[name]
                both = list(self.paused.get(labels[:3], _NOTHING))
                both[of] = value + part.before.get(key, 0.0) + (0.0 if math.isnan(both[of]) else both[of])
                self.paused[labels[:3]] = (both[0], both[1])
            elif name == _PORTS:
                self.at[labels[:3]] = now
            elif name == _OWNERS:
                job = _job(labels[3:6])
                self.jobs[labels[:3]].append(job)
                self.projects[job] = labels[6]
            elif name == _NODES:
                self.sizes[_job(labels)] += int(value)
            elif name == SUSPECT:
                self.suspects.append((labels, value))


class MergedFabric:
    """Call `step` once per round, with the shards' pages."""

    def __init__(self, gap: float) -> None:
        """``gap``: seconds after which an interval is too long to tell anything of a rate."""
        self._trends = Trends(gap)
        self._last: dict[Labels, tuple[float, Paused]] = {}

    def step(self, parts: Sequence[Part]) -> list[Row]:
        """The rows of the suspects of all jobs. Of jobs that have no series of their own, what their shards say."""
        told = _Told()
        for part in parts:
            told.add(part)
        states = [_state(labels, told.jobs.get(labels, ())) for labels in told.at]
        trends = self._trends.step(states, _COUNTERS, self._increase(told))
        found = suspects(states, trends, {job: range(size) for job, size in told.sizes.items()})
        judged: list[Row] = [
            ((*s.job, told.projects[s.job], *s.state.labels, s.role, str(len(s.state.jobs) > 1).lower()), 1.0)
            for s in found
        ]
        return judged + [(labels, value) for labels, value in told.suspects if _job(labels[:3]) not in told.projects]

    def _increase(self, told: _Told) -> Increase:
        """What each port's pauses grew since its page was another one."""
        last, now = self._last, {labels: (at, told.paused.get(labels, _NOTHING)) for labels, at in told.at.items()}
        before = [last.get(labels, new) for labels, new in now.items()]
        seconds = np.array([new[0] - old[0] for new, old in zip(now.values(), before, strict=True)])
        amounts = np.array([new[1] for new in now.values()]) - np.array([old[1] for old in before])
        fresh = seconds > 0
        self._last = {
            labels: old if new[0] == old[0] else new for (labels, new), old in zip(now.items(), before, strict=True)
        }
        rows = np.arange(len(now))
        return Increase(rows, amounts.reshape(-1, 2), np.where(fresh, seconds, np.nan), rows, fresh)


def _job(labels: Labels) -> JobKey:
    return JobKey(Scheduler(labels[0]), labels[1], labels[2])


def _state(labels: Labels, jobs: Sequence[JobKey]) -> PortState:
    node, device, port = labels
    return PortState(node, Port(node, device, port), None, None, tuple(sorted(jobs)), (node, device, port))
