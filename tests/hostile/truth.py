"""The truth of a hostile site, second by second: who has which cards of which machine. It is told by nobody.

What the sources of the site say of it (`tests.hostile.slurm_said`, `tests.hostile.kube_said`) is late, lost, or of
somebody else; `tests.hostile.verdict` holds what the books make of that against the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from exporters.model import JobKey, Scheduler

START = 1_793_448_000
"""2026-10-31 12:00:00 UTC: a month ends within a day."""

TICK = 300
"""Seconds between two rounds of the live side."""

GAP = 900
"""Seconds that may lie between two sightings of one thing (``ledger.gap``)."""


@dataclass(eq=False)
class Held:
    """Cards in somebody's hands over ``[start, end)``; ``end`` None while they are.

    ``milligpu`` is exact, and a fraction for a part of a card. Of whole cards ``cards`` says which.
    """

    job: JobKey
    machine: str
    milligpu: Fraction
    start: int
    end: int | None = None
    cards: tuple[int, ...] = ()

    def at(self, moment: int) -> bool:
        return self.start <= moment and (self.end is None or moment < self.end)


@dataclass
class Truth:
    """``machines`` is the number of cards of each; ``absent`` when it is no machine at all.

    ``known`` are the jobs of which any source has told anything, ``shown`` those whose cards on each node were told.
    ``listed`` is since when a source has shown a machine. ``believed`` are jobs that have ended, and of which the only
    source that answers says that they run.
    """

    now: int = START
    machines: dict[str, int] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    absent: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    known: set[JobKey] = field(default_factory=set)
    shown: set[JobKey] = field(default_factory=set)
    listed: dict[str, int] = field(default_factory=dict)
    believed: set[JobKey] = field(default_factory=set)
    count: int = 0

    def next(self) -> int:
        self.count += 1
        return self.count

    def shows(self, machines: Iterable[str]) -> None:
        """A source shows machines now."""
        for machine in machines:
            self.listed.setdefault(machine, self.now)

    def free(self, machine: str, at: int) -> list[int]:
        """The cards that nobody has from a moment on; none of them is ever promised twice."""
        taken = {c for h in self.held if h.machine == machine and (h.end is None or h.end > at) for c in h.cards}
        return [c for c in range(self.machines[machine]) if c not in taken]

    def take(self, job: JobKey, machine: str, cards: Sequence[int], at: int) -> Held:
        """Whole cards in somebody's hands from now on."""
        found = Held(job, machine, Fraction(1000 * len(cards)), at, None, tuple(cards))
        self.held.append(found)
        return found

    def borders(self, machine: str, a: int, b: int) -> list[int]:
        """The moments of ``[a, b]`` at which anything changes on a machine, both ends included."""
        moments = {a, b}
        for h in self.held:
            if h.machine == machine:
                moments.update(t for t in (h.start, h.end) if t is not None and a < t < b)
        moments.update(t for span in self.absent.get(machine, ()) for t in span if a < t < b)
        return sorted(moments)

    def at(self, machine: str, moment: int) -> tuple[int, dict[JobKey, Fraction]]:
        """What a machine has at a moment, in milliGPU, and what of it who has."""
        if any(a <= moment < b for a, b in self.absent.get(machine, ())):
            return 0, {}
        hands: dict[JobKey, Fraction] = {}
        for h in self.held:
            if h.machine == machine and h.at(moment):
                hands[h.job] = hands.get(h.job, Fraction(0)) + h.milligpu
        return 1000 * self.machines[machine], hands

    def guessed(self, job: JobKey) -> bool:
        """Whether a job was on several machines, and nobody told what it had of each."""
        return job not in self.shown and len({h.machine for h in self.held if h.job == job}) > 1

    def total(self, job: JobKey, until: int) -> Fraction:
        """MilliGPU-seconds that a job had."""
        return sum((h.milligpu * (_end(h, until) - h.start) for h in self.held if h.job == job), Fraction(0))


def _end(held: Held, until: int) -> int:
    return max(held.start, until if held.end is None else min(held.end, until))


def slurm_key(cluster: str, number: int, submit: int) -> JobKey:
    return JobKey(Scheduler.SLURM, cluster, f"{number}@{submit}")


def kube_key(uid: str) -> JobKey:
    return JobKey(Scheduler.KUBERNETES, "kube", uid)
