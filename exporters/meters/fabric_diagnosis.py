"""What the fabric says about a job that PromQL cannot: it needs the job's shape. Thresholds are starting values.

* Who holds up whom: a machine that pauses the network is a slow receiver; those that the network pauses are its
  victims. A job whose machines pause alike only exchanges data, which is nobody's fault.
No source publishes thresholds for it; calibrate them on your fabric (docs/fabric.md). Whether a job stands still is not
judged here: it needs what was before, which an exporter forgets in a restart (alerts/groups/recording.yaml).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np

from exporters.fabric_model import PortCounter, PortQuantity
from exporters.meters.fabric_state import PortState, Suspect
from exporters.meters.port_counters import Floats, Increase
from exporters.model import JobKey

SETTLE_S = 60.0
"""Shares of time and rates fade with this time constant: what lasts a minute shows, what lasts a second does not."""

PAUSING = 0.01
"""Share of time paused by a port that makes it a slow receiver."""

PAUSED = 0.05
"""Share of time paused by the network that makes a port a victim."""

FEW = 0.25
"""The largest part of a job's machines that can be slow receivers; more of them only exchange data."""


@dataclass(frozen=True, slots=True)
class Trend:
    """One port lately: shares of time paused by the network and pausing it; NaN = not told."""

    paused: float
    pausing: float


class Trends:
    """Follows every port's pauses, fading."""

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
        fades = np.exp(-seconds / SETTLE_S).tolist()
        found = {}
        for i, state in enumerate(states):
            last = self._last.get(state.labels)
            if math.isnan(fades[i]):
                found[state.labels] = last or Trend(math.nan, math.nan)
                continue
            found[state.labels] = Trend(
                _faded(last.paused if last else math.nan, paused[i], fades[i]),
                _faded(last.pausing if last else math.nan, pausing[i], fades[i]),
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
