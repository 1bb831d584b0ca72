"""The fabric's running totals of one exporter: per port, per job and per project; and what they say of each other.

As `exporters.meters.meter` does for cards, this adds up between one join and the next what ports counted: for the port
itself whatever happened, for a job only what was counted while it was on the machine at both ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from exporters.fabric_model import COMPUTE, OF_JOBS, PortCounter, PortQuantity, PortSample
from exporters.join.fabric_jobs import Presence, jobs_by_machine, machines_by_job
from exporters.join.site_picture import Picture
from exporters.meters.fabric_diagnosis import Trends, suspects
from exporters.meters.fabric_state import Fabric, Matrix, PortState
from exporters.meters.port_counters import Floats, Increase, PortCounters, Truths
from exporters.model import JobKey

FORGET = 240
"""Joins for which a port that is gone is remembered: an hour at 15 s. Joins, not seconds: clocks are set."""

Owner = tuple[str, str, str]
"""Scheduler, cluster and project."""


@dataclass
class _Sum:
    """What one owner's ports counted, by the position of the quantity in `OF_JOBS`, and which of it was told."""

    amounts: Floats = field(default_factory=lambda: np.zeros(len(OF_JOBS)))
    told: Truths = field(default_factory=lambda: np.zeros(len(OF_JOBS), dtype=bool))

    def add(self, amounts: Floats, told: Truths) -> None:
        self.amounts += amounts
        self.told |= told

    def mapping(self) -> dict[PortQuantity, float]:
        return {q: float(v) for q, v, told in zip(OF_JOBS, self.amounts, self.told, strict=True) if told}


class FabricMeter:
    """Call `step` once per join, in order."""

    def __init__(self, gap: float, carry: int, lossless: Collection[int] = ()) -> None:
        """``gap``: seconds after which a rate cannot be told. ``carry``: joins for which a port that is missed stays.

        ``lossless`` are the site's lossless priorities: what other priorities count is served once there is any.
        """
        self._lossless = tuple(sorted(lossless))
        self._carry = carry
        self._counters = PortCounters(FORGET)
        self._presence = Presence(FORGET)
        self._last: dict[tuple[str, str, str], tuple[int, str, PortSample]] = {}
        self._jobs: dict[tuple[JobKey, bool], _Sum] = defaultdict(_Sum)
        self._projects: dict[tuple[str, str, str, bool], _Sum] = defaultdict(_Sum)
        self._owners: dict[JobKey, Owner] = {}
        self._trends = Trends(gap)

    def step(
        self,
        picture: Picture,
        projects: Mapping[JobKey, str],
        keep: Collection[JobKey] = (),
    ) -> Fabric:
        """Add what the ports counted since the last join.

        ``keep`` are the jobs that are still shown, whether they hold cards or not; others are forgotten.
        """
        jobs = jobs_by_machine(picture)
        machines = machines_by_job(jobs)
        if not (picture.ports or self._counters.steps):
            return Fabric(machines=machines)
        carried = self._with_missed(picture.ports)
        increase = self._counters.step(carried)
        self._presence.step(self._counters.steps, jobs)
        states = [_state(machine, sample, jobs.get(machine, ())) for machine, sample in carried]
        totals = self._counters.totals(increase.rows)
        counters = tuple(self._counters.counters)
        self._add_up(states, counters, totals, increase, projects)
        for key in [k for k in self._jobs if k[0] not in machines and k[0] not in keep]:
            del self._jobs[key]
        self._owners = {k: o for k, o in self._owners.items() if k in machines or k in keep}
        trends = self._trends.step(states, counters, increase)
        return Fabric(
            states,
            counters,
            self._shown(counters, totals),
            {key: total.mapping() for key, total in self._jobs.items()},
            {key: total.mapping() for key, total in self._projects.items()},
            machines,
            suspects(states, trends, machines),
            self._lossless,
        )

    def _with_missed(self, samples: Sequence[tuple[str, PortSample]]) -> list[tuple[str, PortSample]]:
        """The ports of this join, and those that it missed but not for long."""
        step = self._counters.steps + 1
        for machine, sample in samples:
            self._last[machine, sample.port.device, sample.port.port] = (step, machine, sample)
        self._last = {name: last for name, last in self._last.items() if step - last[0] <= self._carry}
        return [(machine, sample) for _, machine, sample in self._last.values()]

    def _add_up(
        self,
        states: Sequence[PortState],
        counters: Sequence[PortCounter],
        totals: Matrix,
        increase: Increase,
        projects: Mapping[JobKey, str],
    ) -> None:
        """Add each port's increase to the jobs and projects whose it is."""
        for keys in (state.jobs for state in states):
            for key in keys:
                self._owners[key] = (key.scheduler.value, key.cluster, projects.get(key, ""))
        told = ~np.isnan(totals)
        amounts, has = of_jobs(counters, increase.amounts, told)
        for i in np.flatnonzero(increase.new).tolist():
            if states[i].port.role != COMPUTE:
                continue
            throughout, everybody = self._presence.owners(states[i].machine, int(increase.since[i]))
            for key in throughout:
                self._jobs[key, len(everybody) > 1].add(amounts[i], has[i])
            owners = {self._owners[key] for key in everybody if key in self._owners}
            for owner in {self._owners[key] for key in throughout}:
                self._projects[*owner, len(owners) > 1].add(amounts[i], has[i])

    def _shown(self, counters: Sequence[PortCounter], totals: Matrix) -> Matrix:
        """The totals without the zeros of priorities that carry no lossless traffic: mlx5 counts all eight."""
        usual = {"", *map(str, self._lossless)}
        hidden = np.array([_priority(c) not in usual for c in counters], dtype=bool)
        return np.where(hidden & (totals == 0), np.nan, totals)


def of_jobs(counters: Sequence[PortCounter], amounts: Floats, told: Truths) -> tuple[Floats, Truths]:
    """Ports' counters summed into `OF_JOBS`, and which of these a port tells.

    Discards of one priority are among those of the whole port: where a port tells the whole, that counts alone.
    """
    sums = np.zeros((len(amounts), len(OF_JOBS)))
    has = np.zeros((len(amounts), len(OF_JOBS)), dtype=bool)
    whole = {c.labels[0]: k for k, c in enumerate(counters) if c.quantity is PortQuantity.DISCARDS and not c.labels[1]}
    for k, counter in enumerate(counters):
        if counter.quantity not in OF_JOBS:
            continue
        j = OF_JOBS.index(counter.quantity)
        counts = told[:, k].copy()
        if counter.quantity is PortQuantity.DISCARDS and counter.labels[1] and counter.labels[0] in whole:
            counts &= ~told[:, whole[counter.labels[0]]]
        sums[:, j] += np.where(counts, amounts[:, k], 0.0)
        has[:, j] |= told[:, k]
    return sums, has


def _priority(counter: PortCounter) -> str:
    """The priority that a counter is of, empty for none."""
    if counter.quantity is PortQuantity.DISCARDS:
        return counter.labels[1]
    paused = counter.quantity.value.startswith(("pause_received", "pause_transmitted"))
    return counter.labels[0] if paused else ""


def _state(machine: str, sample: PortSample, jobs: tuple[JobKey, ...]) -> PortState:
    p = sample.port
    of = jobs if p.role == COMPUTE else ()
    return PortState(machine, p, sample.up, sample.rate, of, (machine, p.device, p.port), sample.links)
