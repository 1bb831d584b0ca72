"""A split of runs over their nodes in which all fit, where a record tells only what each run held in all. Pure.

A record of Slurm says how many cards a run held, of which types, and on which nodes; not how many on each. Equal parts
are a guess, and a guess is never a reason for a dispute between two jobs of one Slurm: it never gives a card twice, so
what really was is among the splits in which all fit. The rules, in order:

1. A guess stands wherever it fits: on no node is more held than it has, in all or of one model, each type is on nodes
   that have it, and no node gives cards of two types that is not known to have them.
2. Where it does not, the runs in doubt are split anew, as near to the guess and as evenly as may be: so that each node
   gives at least one card, since Slurm takes no node into a job of cards that gives none; where that is not possible,
   without that. What a node was seen to give, and what is known of other runs, stands.
3. Where that is not possible either, runs that share a node with them may move as well.
4. Where no split fits, as few of the nodes' limits are broken as possible: that is a contradiction between records, and
   a dispute.

A split holds for as long as its run does. Of a node of which nobody knows how many cards it has, any number fits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import combinations, pairwise
from typing import NamedTuple

from exporters.join.splits.whole_numbers import (
    Alone,
    Condition,
    Limit,
    Patience,
    Problem,
    Some,
    Sum,
    evened,
    solve,
    solve_most,
)

MOST_MOVED = 256
"""Runs that are split anew together."""

Shares = tuple[tuple[int, ...], ...]
"""Units of each kind on each node: ``shares[node][kind]``."""


class Kind(NamedTuple):
    """A type of cards: its model (empty where it is not told), and what one unit is in milliGPU."""

    model: str
    unit: Fraction


class Spread(NamedTuple):
    """A run over ``[start, end)`` whose split nobody saw, with the one that was guessed."""

    start: int
    end: int
    nodes: tuple[int, ...]
    kinds: tuple[Kind, ...]
    shares: Shares


class Taken(NamedTuple):
    """What is known to be held on a node over ``[start, end)``."""

    start: int
    end: int
    node: int
    model: str
    milligpu: int


class Room(NamedTuple):
    """What a node has over ``[start, end)``: milliGPU by model, None where it is not known how many."""

    start: int
    end: int
    models: Mapping[str, int | None]


class _Cell(NamedTuple):
    """A stretch of a node's time in which nothing changes: who is there, what is taken by model, and its room."""

    there: tuple[int, ...]
    taken: Mapping[str, int]
    room: Mapping[str, int | None]


def fit(spreads: Sequence[Spread], taken: Iterable[Taken], rooms: Mapping[int, Sequence[Room]]) -> dict[int, Shares]:
    """The shares of those runs that are split otherwise than guessed, by their places in ``spreads``."""
    site = _Site(spreads, taken, rooms)
    for some in site.connected(site.doubtful(range(len(spreads)))):
        site.settle(some)
    return {s: shares for s, shares in enumerate(site.shares) if shares != spreads[s].shares}


class _Site:
    def __init__(self, spreads: Sequence[Spread], taken: Iterable[Taken], rooms: Mapping[int, Sequence[Room]]) -> None:
        self.spreads, self.rooms = spreads, rooms
        self.shares: list[Shares] = [s.shares for s in spreads]
        self.on: dict[int, list[int]] = defaultdict(list)
        for s, spread in enumerate(spreads):
            for node in spread.nodes:
                self.on[node].append(s)
        self.taken: dict[int, list[Taken]] = defaultdict(list)
        for t in taken:
            if t.node in self.on:
                self.taken[t.node].append(t)
        self._cells: dict[int, list[_Cell]] = {}
        self.patience = Patience()

    def cells(self, node: int) -> list[_Cell]:
        """The time of a node in which a run is there whose split nobody saw."""
        if node not in self._cells:
            self._cells[node] = [*self._cut(node)]
        return self._cells[node]

    def _cut(self, node: int) -> Iterator[_Cell]:
        spans = [(self.spreads[s].start, self.spreads[s].end) for s in self.on[node]]
        rooms, taken = self.rooms.get(node, ()), self.taken[node]
        moments = {t for span in spans for t in span}
        first, last = min(moments), max(moments)
        moments |= {t for r in rooms for t in (r.start, r.end) if first < t < last}
        moments |= {t for item in taken for t in (item.start, item.end) if first < t < last}
        known: set[tuple[object, ...]] = set()
        for moment, _ in pairwise(sorted(moments)):
            there = tuple(s for s, (start, end) in zip(self.on[node], spans, strict=True) if start <= moment < end)
            if not there:
                continue
            sums: dict[str, int] = defaultdict(int)
            for t in taken:
                if t.start <= moment < t.end:
                    sums[t.model] += t.milligpu
            room = next((r.models for r in rooms if r.start <= moment < r.end), {})
            cell = there, tuple(sorted(sums.items())), tuple(sorted(room.items(), key=repr))
            if cell not in known:
                known.add(cell)
                yield _Cell(there, sums, room)

    @cached_property
    def models(self) -> Mapping[int, frozenset[str]]:
        """The models that each node is known to have, by what it has or what is taken there; none: nobody tells."""
        found = {}
        for node in self.on:
            room = {model for r in self.rooms.get(node, ()) for model in r.models}
            told = room or {t.model for t in self.taken[node]}
            found[node] = frozenset() if "" in told else frozenset(told)
        return found

    def without_cards(self, node: int) -> bool:
        """Whether a node is known to have no cards at all."""
        rooms = self.rooms.get(node, ())
        return bool(rooms) and all(milligpu == 0 for r in rooms for milligpu in r.models.values())

    def fits_type(self, spread: Spread, node: int, kind: Kind) -> bool:
        """Whether a node may give a type. A type that no node of the run is known to have tells nothing."""
        if not kind.model or not self.models[node] or kind.model in self.models[node]:
            return True
        return not any(not self.models[n] or kind.model in self.models[n] for n in spread.nodes)

    def several(self, node: int) -> bool:
        """Whether a node is known to have cards of several types."""
        return len(self.models[node]) > 1

    def doubtful(self, some: Iterable[int]) -> set[int]:
        """The runs on the nodes of some whose shares cannot be as they are."""
        found = {s for s in some if self._mixed(s)}
        for node in {node for s in some for node in self.spreads[s].nodes}:
            for cell in self.cells(node):
                for models in self._pools(cell):
                    held = {s: self._held(s, node, models) for s in cell.there}
                    if self._taken(cell, models) + sum(held.values()) > self._size(cell, models):
                        found.update(s for s, milligpu in held.items() if milligpu)
        return found

    def _mixed(self, s: int) -> bool:
        """Whether a run has a type on a node that does not have it, or two types on one that has one."""
        spread, shares = self.spreads[s], self.shares[s]
        for n, node in enumerate(spread.nodes):
            kinds = [kind for k, kind in enumerate(spread.kinds) if shares[n][k]]
            if not all(self.fits_type(spread, node, kind) for kind in kinds):
                return True
            if len({kind.model for kind in kinds}) > 1 and self._one_type(spread, node):
                return True
        return False

    def _one_type(self, spread: Spread, node: int) -> bool:
        """Whether a node is to give a run cards of one type: there are nodes enough for that."""
        return not self.several(node) and len({kind.model for kind in spread.kinds}) <= len(spread.nodes)

    def _pools(self, cell: _Cell) -> Iterator[frozenset[str] | None]:
        """What has a limit: all cards of a node (None), and those of each model where it has several."""
        if None in cell.room.values() or not cell.room:
            return
        yield None
        if len(cell.room) > 1:
            yield from (frozenset({model}) for model in cell.room if model)

    def _size(self, cell: _Cell, models: frozenset[str] | None) -> int:
        return sum(size or 0 for model, size in cell.room.items() if models is None or model in models)

    def _taken(self, cell: _Cell, models: frozenset[str] | None) -> int:
        return sum(size for model, size in cell.taken.items() if models is None or model in models)

    def _held(self, s: int, node: int, models: frozenset[str] | None) -> Fraction:
        spread = self.spreads[s]
        counts = self.shares[s][spread.nodes.index(node)]
        return sum(
            (count * kind.unit for kind, count in zip(spread.kinds, counts, strict=True)
             if models is None or kind.model in models),
            Fraction(0),
        )  # fmt: skip

    def connected(self, some: set[int]) -> list[set[int]]:
        """Those of some runs that share nodes, together."""
        left, found = set(some), []
        while left:
            group, new = set(), {min(left)}
            while new:
                group |= new
                nodes = {node for s in new for node in self.spreads[s].nodes}
                new = {s for node in nodes for s in self.on[node] if s in left} - group
            found.append(group)
            left -= group
        return found

    def settle(self, movable: set[int]) -> None:
        """Split some runs anew so that all fit, and the runs beside them where that is needed."""
        if not movable & self.doubtful(movable):
            return  # others have made room
        first = movable
        while True:
            for least, apart in ((True, True), (False, True), (True, False), (False, False)):
                if self._take(movable, *self._problem(movable, least=least, apart=apart)):
                    return
            beside = {
                other
                for s in movable
                for node in self.spreads[s].nodes
                for other in self.on[node]
                if self.spreads[other].start < self.spreads[s].end and self.spreads[s].start < self.spreads[other].end
            }
            if beside <= movable or len(beside | movable) > MOST_MOVED:
                break
            movable = movable | beside
        problem, limits = self._problem(first, least=False, apart=False)
        self._put(first, solve_most(problem, limits, self.patience))

    def _take(self, movable: set[int], problem: Problem, limits: Sequence[Condition]) -> bool:
        found = solve(problem, limits, self.patience)
        if found is not None:
            sums = [c.numbers for c in problem.conditions if isinstance(c, Sum)]
            found = evened(found, sums, [*problem.conditions, *limits])
        return self._put(movable, found)

    def _put(self, movable: set[int], found: Sequence[int] | None) -> bool:
        if found is None:
            return False
        at = 0
        for s in sorted(movable):
            wide, high = len(self.spreads[s].kinds), len(self.spreads[s].nodes)
            self.shares[s] = tuple(tuple(found[at + n * wide : at + (n + 1) * wide]) for n in range(high))
            at += wide * high
        return True

    def _problem(self, movable: set[int], *, least: bool, apart: bool) -> tuple[Problem, list[Condition]]:
        """The runs' shares as numbers, node by node and kind by kind, and the limits of their nodes."""
        problem = Problem()
        number: dict[tuple[int, int, int], int] = {}
        for s in sorted(movable):
            spread = self.spreads[s]
            totals = [sum(column) for column in zip(*spread.shares, strict=True)]
            for n, node in enumerate(spread.nodes):
                for k, kind in enumerate(spread.kinds):
                    number[s, node, k] = len(problem.most)
                    problem.most.append(totals[k] if self.fits_type(spread, node, kind) else 0)
                    problem.wanted.append(spread.shares[n][k])
            for k, total in enumerate(totals):
                problem.conditions.append(Sum([number[s, node, k] for node in spread.nodes], total))
            giving = [node for node in spread.nodes if not self.without_cards(node)]
            for node in giving if least and sum(totals) >= len(giving) else ():
                problem.conditions.append(Some([number[s, node, k] for k in range(len(spread.kinds))]))
            for node in spread.nodes if apart else ():
                if self._one_type(spread, node):
                    problem.conditions += [
                        Alone((number[s, node, one], number[s, node, other]))
                        for one, other in combinations(range(len(spread.kinds)), 2)
                        if spread.kinds[one].model != spread.kinds[other].model
                    ]
        return problem, self._limits(movable, number)

    def _limits(self, movable: set[int], number: Mapping[tuple[int, int, int], int]) -> list[Condition]:
        least: dict[tuple[tuple[int, Fraction], ...], int] = {}
        for node in sorted({node for s in movable for node in self.spreads[s].nodes}):
            for cell in self.cells(node):
                for models in self._pools(cell):
                    drawn = tuple(
                        (number[s, node, k], kind.unit)
                        for s in cell.there
                        if s in movable
                        for k, kind in enumerate(self.spreads[s].kinds)
                        if models is None or kind.model in models
                    )
                    others = sum(self._held(s, node, models) for s in cell.there if s not in movable)
                    free = max(0, int(self._size(cell, models) - self._taken(cell, models) - others))
                    if drawn:
                        least[drawn] = min(free, least.get(drawn, free))
        return [Limit([n for n, _ in drawn], [unit for _, unit in drawn], free) for drawn, free in least.items()]
