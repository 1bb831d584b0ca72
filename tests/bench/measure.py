"""Measuring side by side: contestants take turns in one process, so that a busy machine slows all of them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

RUNS = 5


@dataclass(frozen=True)
class Figure:
    """One result. ``value`` is the median of ``runs``; ``goal`` is what it must reach (``better`` says which way)."""

    name: str
    value: float
    unit: str
    goal: float
    better: Literal["lower", "higher"]
    runs: tuple[float, ...]

    @property
    def reached(self) -> bool:
        """Whether the value is as good as its goal."""
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal

    def entry(self) -> dict[str, Any]:
        """What build/bench.json holds of it, under its name."""
        found = asdict(self)
        del found["name"]
        return found | {"median_of": len(self.runs)}


def race(
    contestants: Mapping[str, Callable[[], object]], runs: int = RUNS, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """CPU seconds of each contestant in each run, after one run that is not counted; or what another clock says."""
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, run in contestants.items():
            gc.collect()
            begun = clock()
            run()
            seconds[name].append(clock() - begun)
    return seconds


def figure(
    name: str, values: list[float], unit: str, goal: float, better: Literal["lower", "higher"] = "higher"
) -> Figure:
    """The figure of some runs."""
    rounded = tuple(round(value, 4) for value in values)
    return Figure(name, statistics.median(rounded), unit, goal, better, rounded)


def ratio(slow: list[float], fast: list[float]) -> list[float]:
    """How many times as long the one took as the other, run by run."""
    return [s / f for s, f in zip(slow, fast, strict=True)]
