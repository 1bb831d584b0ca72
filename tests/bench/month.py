"""A month of a site with both schedulers, made up: as many claims as asked for, with everything that nests.

Nodes have eight cards, cut into lanes for some days at a time; in a lane one job follows the other. By their place in
the site nodes are Slurm nodes inside NodeSet pods, nodes of slurm-bridge (every allocation is a Slurm job and its
pods), plain Slurm nodes, nodes of plain pods, or of both kinds of work at once; in some Slurm jobs run a PyTorchJob's
pods.
A few pods name jobs that are not there, a few claims are more than a node has left, some nodes are drained, and for a
while each scheduler could not be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accounting.model import DAY, CapacityStretch, CoverageStretch
from accounting.reconcile.sweep import Columns, Keys, Names
from accounting.reconcile.sweep.site_columns import INSIDE, LENDS, LINKS, SAME
from exporters.model import Claim, JobKey, LinkKey, NodeKey, Scheduler

START = 20_454 * DAY
"""2026-01-01."""

PERIOD = (START, START + 31 * DAY)
LENGTH = PERIOD[1] - PERIOD[0]
CLUSTERS = ("hpc1", "prod")  # Slurm's and Kubernetes'
PROJECTS = 64

_PATTERNS = ((8,), (8,), (8,), (4, 4), (4, 4), (4, 4), (4, 2, 2), (6, 2), (2, 2, 2, 2), (4, 2, 1, 1))
_ROLES = ("nodeset",) * 9 + ("bridge",) * 4 + ("slurm",) * 4 + ("pods",) * 2 + ("mixed",)
_SECONDS = {"nodeset": 1400.0, "bridge": 2500.0, "slurm": 1400.0, "pods": 1300.0, "mixed": 1300.0}

Ints = NDArray[np.int64]


class Made(NamedTuple):
    """Claims of one machine. ``job`` numbers jobs, ``named`` what a key names: a row of this machine, or -2 (none).

    ``kind`` is the key's, -1 without; ``time`` are seconds of the month.
    """

    slurm: Ints
    milligpu: Ints
    start: Ints
    end: Ints
    job: Ints
    kind: Ints
    named: Ints


def month(nodes: int, seed: int = 1) -> Columns:
    """The claims of so many nodes over the month, about 5,000 on each."""
    made = [_node(n, np.random.default_rng((seed, n))) for n in range(nodes)]
    counts = np.array([len(m.job) for m in made])
    first = np.concatenate([[0], np.cumsum(counts)])
    jobs = np.cumsum([0, *(int(m.job.max()) + 1 for m in made)])
    rows = Made(*(np.concatenate(columns) for columns in zip(*made, strict=True)))
    del made
    machine = np.repeat(np.arange(nodes), counts)
    job = rows.job + jobs[machine]
    slurm = rows.slurm.astype(bool)
    every = np.arange(len(job))
    keyed = np.flatnonzero(rows.kind >= 0)
    named = rows.named[keyed]
    target = np.where(named >= 0, named + first[machine[keyed]], -1)
    target[rows.kind[keyed] == LENDS] = machine[keyed][rows.kind[keyed] == LENDS]
    holder = np.zeros(int(jobs[-1]), dtype=np.int32)
    holder[job] = every
    texts = _Texts(slurm, machine.astype(np.int32), first, job.astype(np.int32), rows)
    cluster = np.where(slurm, 0, 1).astype(np.int32)
    return Columns(
        [f"gn{n:04}" for n in range(nodes)],
        first,
        texts.job,
        every.astype(np.int32),
        (job * 7919 % PROJECTS).astype(np.int32),
        cluster,  # of two models, too, each scheduler has its spelling
        slurm,
        cluster,
        np.where(slurm, machine, -1).astype(np.int32),
        np.where(slurm, every, -1).astype(np.int32),
        rows.milligpu,
        rows.start + START,
        rows.end + START,
        Keys(
            keyed,
            rows.kind[keyed].astype(np.int8),
            np.zeros(len(keyed), dtype=np.int32),
            np.zeros(len(keyed), dtype=bool),
            target.astype(np.int32),
        ),
        [_capacity(n) for n in range(nodes)],
        [_coverage()] * nodes,
        Names(
            _Lazy(len(holder), lambda code: texts.job_key(int(holder[code]))),
            _Lazy(len(job), texts.unit),
            [f"project-{n:02}" for n in range(PROJECTS)],
            _MODELS,
            CLUSTERS,
        ),
        texts.claims,
    )


_MODELS = (("h100", ""), ("NVIDIA-H100-80GB-HBM3", ""))


def _node(number: int, rng: np.random.Generator) -> Made:
    """One node's month."""
    role = _ROLES[number % len(_ROLES)]
    cards, start, end = _lanes(rng, _SECONDS[role])
    rows = len(cards)
    row = np.arange(rows)
    slurm = np.full(rows, role != "pods")
    if role == "mixed":
        slurm = rng.random(rows) < 0.5
    base = Made(slurm.astype(np.int64), cards * 1000, start, end, row, np.full(rows, -1), np.full(rows, -1))
    parts = [base]
    if role == "bridge":
        part = np.where(rng.random(rows) < 0.9, 1, 2)  # some pods ask for less than the whole of what Slurm gives
        parts.append(_pods(base, row, base.milligpu // part, SAME, row + rows))
    elif role in ("nodeset", "slurm"):
        of = np.flatnonzero(rng.random(rows) < 0.06)
        of = np.repeat(of, np.where(cards[of] > 1, 2, 1))  # a PyTorchJob's master and worker
        pods = _pods(base, of, base.milligpu[of] // np.where(cards[of] > 1, 2, 1), INSIDE, of + rows)
        false = rng.random(len(of)) < 0.0002
        parts.append(pods._replace(named=np.where(false, -2, pods.named)))
    if role == "nodeset":
        borders = [0, LENGTH] if number % 7 else [0, LENGTH // 2 + number, LENGTH]
        parts.append(_lenders(np.array(borders), 2 * rows))
    if number % 50 == 19:
        at = np.array([rng.integers(LENGTH - 600)])
        parts.append(Made(at * 0, at * 0 + 4000, at, at + 600, at * 0 + 2 * rows + 9, at * 0 - 1, at * 0 - 1))
    found = Made(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return _as_told(found)


def _lanes(rng: np.random.Generator, seconds: float) -> tuple[Ints, Ints, Ints]:
    """Cards, start and end of claims that never together hold more than eight cards."""
    borders = np.append(np.sort(rng.integers(0, LENGTH, 9)), LENGTH)
    found: list[tuple[Ints, Ints, Ints]] = []
    begun = 0
    for over in borders.tolist():
        for width in _PATTERNS[int(rng.integers(len(_PATTERNS)))]:
            number = int((over - begun) / seconds * 1.3) + 30
            held = rng.exponential(seconds * 0.72, number)
            held[rng.random(number) < 0.008] *= 20
            end = begun + np.cumsum(held + rng.exponential(seconds * 0.1, number)).astype(np.int64)
            start = np.maximum(end - held.astype(np.int64), begun)
            there = (start < np.minimum(end, over)) & (start < over)
            found.append((np.full(int(there.sum()), width), start[there], np.minimum(end[there], over)))
        begun = over
    cards, start, end = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return cards, start, end


def _pods(base: Made, of: Ints, milligpu: Ints, kind: int, job: Ints) -> Made:
    """Pods inside rows of ``base``, a few seconds shorter than those."""
    start = np.minimum(base.start[of] + 4, base.end[of] - 1)
    end = np.maximum(base.end[of] - 2, start + 1)
    return Made(of * 0, milligpu, start, end, job, np.full(len(of), kind), of)


def _lenders(borders: Ints, job: int) -> Made:
    """NodeSet pods, one after the other."""
    start, end = borders[:-1], borders[1:] - 20
    end[-1] = LENGTH
    zero = np.zeros(len(start), dtype=np.int64)
    return Made(zero, zero + 8000, start, end, job + np.arange(len(start)), zero + LENDS, zero - 1)


def _as_told(made: Made) -> Made:
    """In the order in which records come: by end."""
    order = np.argsort(made.end, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    told = Made(*(column[order] for column in made))
    return told._replace(named=np.where(told.named >= 0, place[told.named], told.named))


def _capacity(number: int) -> tuple[CapacityStretch, ...]:
    """Both schedulers know every node; some were drained for a day."""
    name = f"gn{number:04}"
    kube = CapacityStretch(*PERIOD, Scheduler.KUBERNETES, CLUSTERS[1], name, _MODELS[1][0], 8000, up=True)
    borders = [PERIOD[0], PERIOD[1]]
    if number % 16 == 5:
        drained = PERIOD[0] + (number * 3571) % (LENGTH - 2 * DAY)
        borders[1:1] = [drained, drained + DAY]
    slurm = [
        CapacityStretch(a, b, Scheduler.SLURM, CLUSTERS[0], name, "h100", 8000, n != 1, "bad fan" if n == 1 else "")
        for n, (a, b) in enumerate(pairwise(borders))
    ]
    return (*slurm, kube)


def _coverage() -> tuple[CoverageStretch, ...]:
    """Each scheduler could not be read for a while."""
    holes = ((Scheduler.SLURM, CLUSTERS[0], 9 * DAY + 3600, 2400), (Scheduler.KUBERNETES, CLUSTERS[1], 20 * DAY, 900))
    return tuple(
        CoverageStretch(a, b, scheduler, cluster)
        for scheduler, cluster, hole, seconds in holes
        for a, b in ((PERIOD[0], PERIOD[0] + hole), (PERIOD[0] + hole + seconds, PERIOD[1]))
    )


@dataclass(frozen=True)
class _Texts:
    """The texts of a month, made when asked for: those of five million claims are not kept."""

    slurm: NDArray[np.bool_]
    machine: NDArray[np.int32]
    first: Ints
    job: NDArray[np.int32]
    rows: Made

    def claims(self, which: Ints) -> list[Claim]:
        """The claims behind rows."""
        return [self._claim(row) for row in which.tolist()]

    def job_key(self, row: int) -> JobKey:
        """The job of a row."""
        if self.slurm[row]:
            return JobKey(Scheduler.SLURM, CLUSTERS[0], f"{self.job[row]}@0")
        return JobKey(Scheduler.KUBERNETES, CLUSTERS[1], f"uid-{self.job[row]}")

    def unit(self, row: int) -> str:
        """What holds the cards of a row."""
        return self.job_key(row).id if self.slurm[row] else f"pod-{row}"

    def _claim(self, row: int) -> Claim:
        slurm, job = bool(self.slurm[row]), self.job_key(row)
        return Claim(
            job,
            self.unit(row),
            NodeKey(job.scheduler, job.cluster, f"gn{self.machine[row]:04}"),
            int(self.rows.milligpu[row]),
            int(self.rows.start[row]) + START,
            int(self.rows.end[row]) + START,
            _MODELS[0 if slurm else 1][0],
            keys=self._keys(row),
            native_id=str(row) if slurm else f"work/pod-{row}",
        )

    def _keys(self, row: int) -> tuple[LinkKey, ...]:
        kind, named = int(self.rows.kind[row]), int(self.rows.named[row])
        if kind < 0:
            return ()
        machine = int(self.machine[row])
        job = str(int(self.first[machine]) + named) if named >= 0 else "0815"
        return (LinkKey(LINKS[kind], CLUSTERS[0], f"gn{machine:04}" if kind == LENDS else job),)


class _Lazy(Sequence[Any]):
    """A sequence whose items are made when asked for."""

    def __init__(self, length: int, make: Callable[[int], Any]) -> None:
        self.length, self.make = length, make

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        return self.make(index)
