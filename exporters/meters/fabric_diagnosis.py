"""What the fabric says about a job that PromQL cannot: it needs the job's shape. Thresholds are starting values.

* Who holds up whom: a machine that pauses the network is a slow receiver; those that the network pauses are its
  victims. A job whose machines pause alike only exchanges data, which is nobody's fault.
* Silence: a collective that hangs sends nothing on any port while its kernels spin, so engines are busy and tensor
  cores are not. That is no proof, so it is told as a time, and only of jobs that did talk before.

No source publishes thresholds for either; calibrate them on your fabric (docs/fabric.md).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np

from exporters.fabric_model import PortCounter, PortQuantity
from exporters.join.site_picture import Picture
from exporters.meters.fabric_state import PortState, Suspect
from exporters.meters.port_counters import Floats, Increase
from exporters.model import Field, JobKey

SETTLE_S = 60.0
"""Shares of time and rates fade with this time constant: what lasts a minute shows, what lasts a second does not."""

PAUSING = 0.01
"""Share of time paused by a port that makes it a slow receiver."""

PAUSED = 0.05
"""Share of time paused by the network that makes a port a victim."""

FEW = 0.25
"""The largest part of a job's machines that can be slow receivers; more of them only exchange data."""

SILENT = 1e6
"""Bytes per second and port, both ways, below which a job is silent: keep-alives are less."""

TALKING = 1e7
"""Bytes per second and port that a job must once have reached to have communicated at all."""

BUSY, NO_TENSOR = 0.5, 0.02
"""Engines busier than this, tensor cores idler than that: kernels that spin."""


@dataclass(frozen=True, slots=True)
class Trend:
    """One port lately: shares of time paused by the network and pausing it, bytes per second now; NaN = not told."""

    paused: float
    pausing: float
    rate: float


@dataclass(frozen=True, slots=True)
class Activity:
    """What a job's cards do on average, and the machines whose cards told it."""

    engine: float
    tensor: float
    machines: frozenset[str]


class Trends:
    """Follows every port's pauses, fading, and its rate."""

    def __init__(self, gap: float) -> None:
        """``gap``: seconds after which an interval is too long to tell anything of a rate."""
        self._gap = gap
        self._last: dict[tuple[str, str, str], Trend] = {}

    def step(
        self, states: Sequence[PortState], counters: Sequence[PortCounter], increase: Increase
    ) -> dict[tuple[str, str, str], Trend]:
        """The trend of every port by its labels."""
        told = {q: [k for k, c in enumerate(counters) if c.quantity is q] for q in PortQuantity}
        seconds = np.where(increase.seconds <= self._gap, increase.seconds, np.nan)

        def per_second(*quantities: PortQuantity) -> list[float]:
            columns = [k for q in quantities for k in told[q]]
            if not columns:
                return [math.nan] * len(states)
            amounts: Floats = increase.amounts[:, columns].sum(axis=1)
            return list((amounts / seconds).tolist())

        paused = per_second(PortQuantity.PAUSE_RECEIVED_SECONDS)
        pausing = per_second(PortQuantity.PAUSE_TRANSMITTED_SECONDS)
        rate = per_second(PortQuantity.RECEIVE_BYTES, PortQuantity.TRANSMIT_BYTES)
        fades = np.exp(-seconds / SETTLE_S).tolist()
        found = {}
        for i, state in enumerate(states):
            last = self._last.get(state.labels)
            if math.isnan(fades[i]):
                found[state.labels] = last or Trend(math.nan, math.nan, math.nan)
                continue
            found[state.labels] = Trend(
                _faded(last.paused if last else math.nan, paused[i], fades[i]),
                _faded(last.pausing if last else math.nan, pausing[i], fades[i]),
                rate[i],
            )
        self._last = found
        return found


def _faded(before: float, now: float, fade: float) -> float:
    """A share of time that begins at nothing and follows ``now``."""
    if math.isnan(now):
        return math.nan
    return (0.0 if math.isnan(before) else before) * fade + min(now, 1.0) * (1.0 - fade)


def suspects(
    states: Sequence[PortState],
    trends: Mapping[tuple[str, str, str], Trend],
    machines: Mapping[JobKey, Sized],
) -> list[Suspect]:
    """The slow receivers and victims of every job on several machines, in order. Of ``machines`` only how many counts.

    Slow receivers are told only where some other machine of the job is paused, and where few machines pause. Victims
    are told also without one: then whoever holds the job up is not in it.
    """
    ports: dict[JobKey, list[PortState]] = defaultdict(list)
    for state in states:
        trend = trends[state.labels]
        if trend.paused >= PAUSED or trend.pausing >= PAUSING:
            for key in state.jobs:
                ports[key].append(state)
    found = []
    for key, mine in sorted(ports.items()):
        if len(machines[key]) < 2:
            continue
        pausing = [s for s in mine if trends[s.labels].pausing >= PAUSING]
        slow = {s.machine for s in pausing}
        victims = [s for s in mine if s.machine not in slow]
        if len(slow) > max(1.0, FEW * len(machines[key])):
            continue
        if victims:
            found += [Suspect(key, s, "slow_receiver") for s in pausing]
        found += [Suspect(key, s, "victim") for s in victims]
    return found


def activity(picture: Picture) -> dict[JobKey, Activity]:
    """What the cards of each job do, of jobs whose cards all tell both engines and tensor cores."""
    engine: dict[JobKey, list[float]] = defaultdict(list)
    tensor: dict[JobKey, list[float]] = defaultdict(list)
    machines: dict[JobKey, set[str]] = defaultdict(set)
    for card in picture.cards:
        values = card.sample.values
        busy = values.get(Field.ENGINE_ACTIVE, values.get(Field.UTILIZATION))
        cores = values.get(Field.TENSOR_ACTIVE)
        if busy is None or cores is None:
            continue
        for claim, _ in card.shares:
            engine[claim.job].append(busy)
            tensor[claim.job].append(cores)
            machines[claim.job].add(card.machine)
    return {
        key: Activity(sum(values) / len(values), sum(tensor[key]) / len(values), frozenset(machines[key]))
        for key, values in engine.items()
    }


class Stalls:
    """Follows how long each job has been silent with busy engines."""

    def __init__(self, gap: float) -> None:
        """``gap``: the longest time between two joins that counts; more than that nobody watched."""
        self._gap = gap
        self._at: float | None = None
        self._talked: set[JobKey] = set()
        self._silent: dict[JobKey, float] = {}

    def step(
        self,
        at: float,
        states: Sequence[PortState],
        trends: Mapping[tuple[str, str, str], Trend],
        machines: Mapping[JobKey, frozenset[str]],
        working: Mapping[JobKey, Activity],
        elsewhere: Collection[JobKey] = (),
    ) -> dict[JobKey, float]:
        """Seconds of silence by job, of jobs on several machines that talked before and that can be told now.

        Jobs that are ``elsewhere``, too, are on several machines even if ``machines`` has but one of them.
        """
        passed = 0.0 if self._at is None else at - self._at
        passed = passed if 0.0 <= passed <= self._gap else 0.0  # a clock that was set, or nobody watched
        self._at = at
        rates: dict[JobKey, list[float]] = defaultdict(list)
        read: dict[JobKey, set[str]] = defaultdict(set)
        for state in states:
            rate = trends[state.labels].rate
            if not math.isnan(rate):
                for key in state.jobs:
                    rates[key].append(rate)
                    read[key].add(state.machine)
        found = {}
        for key, places in machines.items():
            alone = len(places) < 2 and key not in elsewhere
            if alone or not places <= read[key]:
                continue
            if sum(rates[key]) >= TALKING * len(rates[key]):
                self._talked.add(key)
            does = working.get(key)
            if key not in self._talked or does is None or not places <= does.machines:
                continue
            silent = max(rates[key]) < SILENT and does.engine >= BUSY and does.tensor <= NO_TENSOR
            self._silent[key] = self._silent.get(key, 0.0) + passed if silent else 0.0
            found[key] = self._silent[key]
        self._talked &= machines.keys()
        self._silent = {key: seconds for key, seconds in self._silent.items() if key in machines}
        return found
