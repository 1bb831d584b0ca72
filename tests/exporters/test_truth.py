"""A site whose true integrals are known, second by second: what the exporter adds up is that, to one interval.

Cards' counters are reset, machines go unread, owners are told late, cards change hands and the exporter is restarted in
mid-job; what it then cannot know, its coverage says.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

import pytest

from exporters.join.projects import ProjectMap
from exporters.model import Field, Sample, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.sources.base import SourceError
from tests.exporters import world as w

INTERVAL = 15
START, END = 10_000, 11_500
CARDS = 4
IDLE = 70.0
NUMBERS = ("gpu_seconds", "observed_seconds", "energy_joules")


@dataclass(frozen=True)
class Run:
    """A job on one machine: its cards, its seconds, the watts of each of its cards."""

    number: int
    node: str
    cards: tuple[int, ...]
    start: int
    end: int
    watts: float


def schedule(dice: random.Random) -> list[Run]:
    """Jobs one after the other on the halves of three machines."""
    runs = []
    for node in ("gn01", "gn02", "gn03"):
        for cards in ((0, 1), (2, 3)):
            at = START - dice.randrange(200)
            while at < END:
                end = at + dice.randrange(60, 500)
                runs.append(Run(len(runs), node, cards, at, end, float(dice.randrange(200, 700))))
                at = end + dice.choice((0, 0, 7, 40))
    return runs


class Card:
    """A card's own meter: joules since its driver was loaded."""

    def __init__(self, node: str, index: int, runs: list[Run]) -> None:
        self.node, self.index = node, index
        self._runs = [r for r in runs if r.node == node and index in r.cards]
        self._since, self._joules = START, 5e6

    def watts(self, second: int) -> float:
        return next((r.watts for r in self._runs if r.start <= second < r.end), IDLE)

    def read(self, now: int, reset: bool) -> Sample:
        self._joules += sum(self.watts(s) for s in range(self._since, now))
        self._since = now
        self._joules = 0.0 if reset else self._joules
        values = {Field.ENERGY: self._joules, Field.POWER: self.watts(now - 1), Field.ENGINE_ACTIVE: 0.5}
        return Sample(self.node, f"GPU-{self.node}-{self.index}", self.index, "h100", values, float(now))


class Story:
    """What happens while the exporter watches; ``told[job]`` is what a Prometheus would add up from its counters."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)
        self.runs = schedule(dice)
        self.cards = [Card(node, i, self.runs) for node in ("gn01", "gn02", "gn03") for i in range(CARDS)]
        rounds = range(START, END, INTERVAL)
        self.resets = {(dice.choice(rounds), dice.randrange(len(self.cards))) for _ in range(12)}
        gap = dice.choice(rounds[20:60])
        self.unread = {("gn02", at) for at in range(gap, gap + 120, INTERVAL)}
        late = dice.choice(rounds[10:60])
        self.untold = set(range(late, late + 60, INTERVAL))
        self.restart = dice.choice(rounds[30:70])
        self.told: dict[int, dict[str, float]] = defaultdict(lambda: dict.fromkeys(NUMBERS, 0.0))
        self._before: dict[int, dict[str, float]] = {}
        for at in rounds:
            if at in (START, self.restart):
                self._begin()
                if at == self.restart:
                    continue  # it takes one interval to come up again
            self._round(at)

    def _begin(self) -> None:
        self.slurm, self.dcgm = w.StubSource("slurmctld", "lab", w.SLURM), w.StubSource("dcgm", "", None)
        self.collector = Collector(
            [self.slurm, self.dcgm], JoinSettings(ProjectMap.of([])), clock=lambda: float(self.now)
        )

    def _round(self, at: int) -> None:
        self.now = at
        running = [r for r in self.runs if r.start <= at < r.end and not (self._is_late(r, at))]
        jobs = {r.number: w.slurm_job(r.number) for r in running}
        claims = [w.slurm_claim(jobs[r.number], r.node, 1000 * len(r.cards), r.cards, r.start) for r in running]
        nodes = tuple(w.slurm_node(node, 1000 * CARDS) for node in ("gn01", "gn02", "gn03"))
        self.slurm.says = Snapshot(0, jobs=tuple(jobs.values()), claims=tuple(claims), nodes=nodes)
        read = [c.read(at, (at, n) in self.resets) for n, c in enumerate(self.cards)]
        kept = tuple(s for s in read if (s.host, at) not in self.unread)
        self.dcgm.says = Snapshot(0, samples=kept) if kept else SourceError("nothing answers")
        self.collector.poll_all()
        self.collector.join()
        for key, use in self.collector.meter.jobs.items():
            number = int(key.id.partition("@")[0])
            now = {name: float(getattr(use, name)) for name in NUMBERS}
            before = self._before.get(number, dict.fromkeys(NUMBERS, 0.0))
            for name, value in now.items():  # a counter that fell began anew, as rate() takes it
                self.told[number][name] += value - before[name] if value >= before[name] else value
            self._before[number] = now

    def _is_late(self, run: Run, at: int) -> bool:
        """Of a job that began while the scheduler was silent nothing is known until it speaks again."""
        return at in self.untold and run.start >= min(self.untold) - INTERVAL

    def truth(self, run: Run) -> tuple[float, float]:
        """Card-seconds and joules while the exporter could know of the job: up to its end, or that of the story."""
        seconds = len(run.cards) * (min(run.end, self.now) - run.start)
        return float(seconds), seconds * run.watts


@pytest.mark.parametrize("seed", range(6))
def test_what_is_told_is_the_truth_to_one_interval_and_what_is_missing_is_said(seed: int) -> None:
    story = Story(seed)
    checked = 0
    for run in story.runs:
        told = story.told.get(run.number)
        if told is None or run.start < START:
            continue  # shorter than the exporter's silence, or begun before there was an exporter
        seconds, joules = story.truth(run)
        missing = told["gpu_seconds"] - told["observed_seconds"]
        edge = len(run.cards) * INTERVAL
        checked += 1

        assert seconds - edge <= told["gpu_seconds"] <= seconds
        assert joules - (edge + missing) * run.watts - 1e-3 <= told["energy_joules"] <= joules + edge * run.watts
        assert told["observed_seconds"] <= told["gpu_seconds"] + 1e-6

    assert checked > 12


def test_without_troubles_nothing_is_missing() -> None:
    story = Story(1)
    unread = [r for r in story.runs if r.node == "gn02" and any(r.start < at < r.end for _, at in story.unread)]
    spared = [
        r
        for r in story.runs
        if r.node != "gn02" and r.start > max(story.restart, *story.untold) and r.number in story.told
    ]

    assert spared
    assert all(story.told[r.number]["gpu_seconds"] == story.told[r.number]["observed_seconds"] for r in spared)
    assert any(
        story.told[r.number]["observed_seconds"] < story.told[r.number]["gpu_seconds"] - 60
        for r in unread
        if r.number in story.told
    )
