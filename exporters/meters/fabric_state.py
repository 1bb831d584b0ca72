"""The fabric at one moment: every port with its jobs, what each counted, and what it says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from exporters.fabric_model import Port, PortCounter, PortQuantity
from exporters.model import JobKey

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PortState:
    """A port that was read lately, on its ``machine``, with the jobs that share it, in order; none of a port that is
    not for compute. ``links`` are the links of its bond, and those that carry traffic.
    """

    machine: str
    port: Port
    up: bool | None
    rate: float | None
    jobs: tuple[JobKey, ...]
    labels: tuple[str, str, str]
    links: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Suspect:
    """A port whose pauses say that it holds the job up (``slow_receiver``) or is held up (``victim``)."""

    job: JobKey
    state: PortState
    role: str


def _no_totals() -> Matrix:
    return np.empty((0, 0))


@dataclass(frozen=True)
class Fabric:
    """All that is known of the fabric at one join.

    ``totals[i, k]`` is what ``ports[i]`` counted of ``counters[k]`` since it was first read, NaN where it tells none:
    it grows, whatever the device's own counter did. ``jobs`` and ``projects`` are the same summed over the ports of a
    job's machines while it held cards there, apart for ports that it had alone and that it shared (the key's last
    part). ``machines`` are those of every job that holds cards, ``lossless`` the priorities that the site calls so.
    """

    ports: Sequence[PortState] = ()
    counters: Sequence[PortCounter] = ()
    totals: Matrix = field(default_factory=_no_totals)
    jobs: Mapping[tuple[JobKey, bool], Mapping[PortQuantity, float]] = field(default_factory=dict)
    projects: Mapping[tuple[str, str, str, bool], Mapping[PortQuantity, float]] = field(default_factory=dict)
    machines: Mapping[JobKey, frozenset[str]] = field(default_factory=dict)
    suspects: Sequence[Suspect] = ()
    lossless: tuple[int, ...] = ()
