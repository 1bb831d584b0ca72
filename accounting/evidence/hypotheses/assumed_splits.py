"""Splits of runs over their nodes that history had to guess, put so that all runs of a Slurm fit.

The rule is that of `exporters.join.splits.fitting`; here is what it is asked: of each day by itself the runs whose
split nobody saw, what else Slurm's claims hold on their nodes, and what these nodes have. Where no guess is in doubt,
which is found out over columns, nothing is asked and nothing changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np

from accounting.arrays import Flags
from accounting.evidence.claim_reader import Reader
from accounting.evidence.claim_rows import Rows
from accounting.evidence.hypotheses.exact_splits import unit_of_kind
from accounting.model import CapacityStretch
from exporters.join.splits.fitting import Kind, Room, Shares, Spread, Taken, fit
from exporters.model import Claim, NodeKey

Capacity = Mapping[NodeKey, Sequence[CapacityStretch]]


def fitted(reader: Reader, rows: Rows, capacity: Capacity, a: int, b: int) -> Rows:
    """The claims of ``[a, b)`` with guessed splits in which all fit; guessed shares of nothing are left out."""
    guessed = reader.assumed(rows)
    if not guessed.any():
        return rows
    doubtful = _doubtful(reader, rows, guessed, capacity, a, b)
    if doubtful:
        rows = _Problem(reader, rows, guessed, capacity, (a, b)).solved(doubtful)
    return with_shares(reader, rows)


def with_shares(reader: Reader, rows: Rows) -> Rows:
    """Rows without guessed shares of nothing: they only say on which nodes a run was."""
    return rows.keep(~(reader.assumed(rows) & (rows.milligpu == 0)))


def _doubtful(reader: Reader, rows: Rows, guessed: Flags, capacity: Capacity, a: int, b: int) -> set[int]:
    """Nodes on which a guess may not fit, by number; in doubt, it may not."""
    nodes = np.unique(rows.node[guessed])
    size = {}
    for node in nodes.tolist():
        here = [s for s in capacity.get(reader.nodes[node], ()) if s.start < b and s.end > a]
        size[node] = _smallest(here, a, b)
    found = {node for node, (_, models) in size.items() if len(models) > 1}
    kinds = reader.kind(rows)
    for node, kind in np.unique(np.stack([rows.node[guessed], kinds[guessed]], axis=1), axis=0).tolist():
        models, model = size[node][1], reader.kinds.items[kind][0].casefold()
        if model and models and "" not in models and model not in models:
            found.add(node)
    held = guessed & (rows.milligpu > 0)
    place, count = np.unique(np.stack([rows.job[held], rows.node[held]], axis=1), axis=0, return_counts=True)
    found.update(place[count > 1, 1].tolist())
    which = np.flatnonzero(np.isin(rows.node, nodes) & (rows.milligpu > 0))
    start, end = np.maximum(rows.start[which], a), np.minimum(rows.end[which], b)
    which, start, end = (column[start < end] for column in (which, start, end))
    node = np.concatenate([rows.node[which]] * 2)
    time, change = np.concatenate([start, end]), np.concatenate([rows.milligpu[which], -rows.milligpu[which]])
    order = np.lexsort((change, time, node))
    node, total = node[order], np.cumsum(change[order])
    most = np.array([size[n][0] for n in nodes.tolist()], dtype=np.int64)[np.searchsorted(nodes, node)]
    found.update(np.unique(node[total > most]).tolist())
    return found


_UNKNOWN = 1 << 60


def _smallest(here: Sequence[CapacityStretch], a: int, b: int) -> tuple[int, set[str]]:
    """The least that a node has at any moment of ``[a, b)`` at which that is known, and its models."""
    sizes = [
        sum(size for size in room.models.values() if size is not None)
        for room in _rooms(here, a, b)
        if None not in room.models.values()
    ]
    return min(sizes, default=_UNKNOWN), {s.model.casefold() for s in here if s.milligpu}


def _rooms(here: Sequence[CapacityStretch], a: int, b: int) -> list[Room]:
    """What a node has, moment by moment, as far as that is known."""
    moments = sorted({a, b, *(min(max(t, a), b) for s in here for t in (s.start, s.end))})
    found = []
    for first, last in pairwise(moments):
        models: dict[str, int | None] = {}
        for s in here:
            if s.start <= first < s.end:
                model = s.model.casefold()
                models[model] = None if s.proven else (models.get(model) or 0) + s.milligpu
        if models:
            found.append(Room(first, last, models))
    return found


@dataclass(slots=True)
class _Run:
    """One run's guessed rows: the row of each node and kind."""

    nodes: tuple[int, ...]
    kinds: tuple[int, ...]
    rows: dict[tuple[int, int], int]


class _Problem:
    """The runs of one day whose split was guessed."""

    def __init__(self, reader: Reader, rows: Rows, guessed: Flags, capacity: Capacity, span: tuple[int, int]) -> None:
        self.reader, self.rows, self.capacity, self.span = reader, rows, capacity, span
        self.guessed, self.kind = guessed, reader.kind(rows)
        # nodes by the order of their names, so that nothing depends on how the ledger numbers them
        self.place = {n: at for at, n in enumerate(sorted(reader.nodes, key=lambda n: reader.nodes[n]))}
        self.units = [unit_of_kind(*kind) for kind in reader.kinds.items]

    def solved(self, doubtful: set[int]) -> Rows:
        """The rows, with the runs split anew that are connected with doubtful nodes."""
        runs = [*self._runs(doubtful)]
        nodes = {node for run in runs for node in run.nodes}
        spreads = [self._spread(run) for run in runs]
        mine = {row for run in runs for row in run.rows.values()}
        found = fit(spreads, [*self._taken(nodes, mine)], {self.place[node]: self._room(node) for node in nodes})
        changed: dict[int, Claim] = {}
        more: list[tuple[int, int, Claim]] = []
        for number, shares in found.items():
            self._put(runs[number], shares, changed, more)
        return self.reader.replaced(self.rows, changed, more)

    def _runs(self, doubtful: set[int]) -> Iterator[_Run]:
        of: dict[int, list[int]] = defaultdict(list)
        for row in np.flatnonzero(self.guessed).tolist():
            of[int(self.rows.job[row])].append(row)
        on: dict[int, set[int]] = defaultdict(set)
        for job, some in of.items():
            for row in some:
                on[int(self.rows.node[row])].add(job)
        jobs: set[int] = set()
        new = set(doubtful)
        nodes: set[int] = set()
        while new:
            nodes |= new
            here = {job for node in new for job in on[node]} - jobs
            jobs |= here
            new = {int(self.rows.node[row]) for job in here for row in of[job]} - nodes
        for job in sorted(jobs, key=lambda job: (int(self.rows.start[of[job][0]]), self.rows.run[of[job][0]])):
            yield from self._run(of[job])

    def _run(self, rows: list[int]) -> Iterator[_Run]:
        """A run whose kinds are known to be so much each; of any other the guess stands."""
        place = {(int(self.rows.node[row]), int(self.kind[row])): row for row in rows}
        units = {kind: self.units[kind] for _, kind in place}
        if len(place) == len(rows) and all(units.values()):
            nodes = sorted({node for node, _ in place}, key=self.place.__getitem__)
            kinds = sorted(units, key=lambda kind: self.reader.kinds.items[kind])
            if len(nodes) > 1 and self._whole(place, units):
                yield _Run(tuple(nodes), tuple(kinds), place)

    def _whole(self, place: Mapping[tuple[int, int], int], units: Mapping[int, Fraction]) -> bool:
        counts = ((int(self.rows.milligpu[row]), units[kind]) for (_, kind), row in place.items())
        return all(int(ceil(milligpu / unit) * unit) == milligpu for milligpu, unit in counts)

    def _spread(self, run: _Run) -> Spread:
        first = next(iter(run.rows.values()))
        start, end = max(int(self.rows.start[first]), self.span[0]), min(int(self.rows.end[first]), self.span[1])
        models = [self.reader.kinds.items[kind][0].casefold() for kind in run.kinds]
        shares = tuple(tuple(self._count(run, node, kind) for kind in run.kinds) for node in run.nodes)
        kinds = tuple(Kind(model, self.units[kind]) for model, kind in zip(models, run.kinds, strict=True))
        return Spread(start, end, tuple(self.place[node] for node in run.nodes), kinds, shares)

    def _count(self, run: _Run, node: int, kind: int) -> int:
        row = run.rows.get((node, kind))
        return 0 if row is None else ceil(int(self.rows.milligpu[row]) / self.units[kind])

    def _taken(self, nodes: set[int], mine: set[int]) -> Iterator[Taken]:
        a, b = self.span
        for row in np.flatnonzero(np.isin(self.rows.node, np.array([*nodes], dtype=np.int64))).tolist():
            start, end = max(int(self.rows.start[row]), a), min(int(self.rows.end[row]), b)
            if row not in mine and start < end and self.rows.milligpu[row]:
                model = self.reader.kinds.items[self.kind[row]][0].casefold()
                yield Taken(start, end, self.place[int(self.rows.node[row])], model, int(self.rows.milligpu[row]))

    def _room(self, node: int) -> list[Room]:
        a, b = self.span
        return _rooms([s for s in self.capacity.get(self.reader.nodes[node], ()) if s.start < b and s.end > a], a, b)

    def _put(self, run: _Run, shares: Shares, changed: dict[int, Claim], more: list[tuple[int, int, Claim]]) -> None:
        for node, counts in zip(run.nodes, shares, strict=True):
            for kind, count in zip(run.kinds, counts, strict=True):
                milligpu, row = int(count * self.units[kind]), run.rows.get((node, kind))
                if row is not None and milligpu != self.rows.milligpu[row]:
                    changed[row] = replace(self.reader.claim(self.rows, row), milligpu=milligpu)
                elif row is None and milligpu:
                    like = next(at for (_, other), at in run.rows.items() if other == kind)
                    claim = self.reader.claim(self.rows, like)
                    more.append((like, node, replace(claim, node=self.reader.nodes[node], milligpu=milligpu)))
