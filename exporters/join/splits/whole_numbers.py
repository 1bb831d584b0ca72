"""Whole numbers within limits: narrowed as far as that decides them, then tried, the wanted values first. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

BUDGET = 50_000
"""How often a condition is looked at before a search is given up."""


@dataclass(slots=True)
class Patience:
    """How often conditions may still be looked at in all the searches of one question."""

    left: int = 20 * BUDGET


@dataclass(slots=True)
class Sum:
    """Some numbers come to ``total``."""

    numbers: Sequence[int]
    total: int

    def narrow(self, lo: list[int], hi: list[int]) -> list[int] | None:
        """Move the numbers' bounds; those that were moved, or None where it cannot be met."""
        low, high = sum(lo[n] for n in self.numbers), sum(hi[n] for n in self.numbers)
        if not low <= self.total <= high:
            return None
        moved = []
        for n in self.numbers:
            least, most = self.total - (high - hi[n]), self.total - (low - lo[n])
            if least > lo[n] or most < hi[n]:
                least, most = max(least, lo[n]), min(most, hi[n])
                low, high = low + least - lo[n], high + most - hi[n]
                lo[n], hi[n] = least, most
                moved.append(n)
        return moved


@dataclass(slots=True)
class Limit:
    """Some numbers, each times its unit, come to no more than ``most``."""

    numbers: Sequence[int]
    units: Sequence[Fraction]
    most: int

    def narrow(self, lo: list[int], hi: list[int]) -> list[int] | None:
        """As `Sum.narrow`."""
        slack = self.most - sum(unit * lo[n] for n, unit in zip(self.numbers, self.units, strict=True))
        if slack < 0:
            return None
        moved = []
        for n, unit in zip(self.numbers, self.units, strict=True):
            most = lo[n] + slack // unit
            if most < hi[n]:
                hi[n] = most
                moved.append(n)
        return moved


@dataclass(slots=True)
class Some:
    """Not all of some numbers are 0."""

    numbers: Sequence[int]

    def narrow(self, lo: list[int], hi: list[int]) -> list[int] | None:
        """As `Sum.narrow`."""
        open_ = [n for n in self.numbers if hi[n] > 0]
        if not open_:
            return None
        if len(open_) == 1 and lo[open_[0]] == 0:
            lo[open_[0]] = 1
            return open_
        return []


@dataclass(slots=True)
class Alone:
    """Of two numbers one is 0."""

    numbers: tuple[int, int]

    def narrow(self, lo: list[int], hi: list[int]) -> list[int] | None:
        """As `Sum.narrow`."""
        moved = []
        for one, other in (self.numbers, self.numbers[::-1]):
            if lo[one] > 0 and hi[other] > 0:
                if lo[other] > 0:
                    return None
                hi[other] = 0
                moved.append(other)
        return moved


Condition = Sum | Limit | Some | Alone


@dataclass(slots=True)
class Problem:
    """Numbers from 0 to ``most`` each, as near as may be to ``wanted``, that meet all conditions."""

    most: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)


def solve(problem: Problem, more: Iterable[Condition], patience: Patience) -> list[int] | None:
    """Numbers that meet all conditions, and ``more`` of them; None where there are none, or none was found in time."""
    search = _Search(problem, [*problem.conditions, *more], min(BUDGET, patience.left))
    found = search.run()
    patience.left -= search.looked
    return found


def solve_most(problem: Problem, limits: Sequence[Condition], patience: Patience) -> list[int] | None:
    """Numbers that meet all conditions, and as many of ``limits`` as can be met together, the first ones first."""
    kept: list[Condition] = []
    best = solve(problem, (), patience)

    def add(some: Sequence[Condition]) -> None:
        nonlocal best
        found = solve(problem, [*kept, *some], patience)
        if found is not None:
            kept.extend(some)
            best = found
        elif len(some) > 1:
            add(some[: len(some) // 2])
            add(some[len(some) // 2 :])

    if best is not None and limits:
        add(limits)
    return best


def evened(numbers: Sequence[int], groups: Iterable[Sequence[int]], conditions: Sequence[Condition]) -> list[int]:
    """Numbers that meet ``conditions``, with those of each group, as far as they are not 0, as equal as may be."""
    found = [*numbers]
    about: dict[int, list[Condition]] = {}
    for condition in conditions:
        for n in condition.numbers:
            about.setdefault(n, []).append(condition)
    for group in groups:
        some = [n for n in group if found[n]]
        while (move := _move(found, some, about)) is not None:
            found[move[0]] -= 1
            found[move[1]] += 1
    return found


def _move(numbers: list[int], group: Sequence[int], about: Mapping[int, Sequence[Condition]]) -> tuple[int, int] | None:
    """Two numbers that differ by more than one and may come nearer to each other: the larger and the smaller."""
    for more in sorted(group, key=lambda n: -numbers[n]):
        for fewer in sorted(group, key=lambda n: numbers[n]):
            if numbers[more] - numbers[fewer] < 2:
                break
            tried = [*numbers]
            tried[more] -= 1
            tried[fewer] += 1
            if all(c.narrow([*tried], [*tried]) is not None for c in (*about.get(more, ()), *about.get(fewer, ()))):
                return more, fewer
    return None


class _Search:
    """Depth first; nothing is left of a wrong turn but the time it took."""

    def __init__(self, problem: Problem, conditions: Sequence[Condition], most: int) -> None:
        self.problem, self.conditions, self.most, self.looked = problem, conditions, most, 0
        self.about: list[list[int]] = [[] for _ in problem.most]
        for c, condition in enumerate(conditions):
            for n in condition.numbers:
                self.about[n].append(c)

    def run(self) -> list[int] | None:
        lo, hi = [0] * len(self.problem.most), [*self.problem.most]
        if not self._narrow(lo, hi, range(len(self.conditions))):
            return None
        turns: list[tuple[list[int], list[int], int, list[int]]] = []
        while (n := self._next(lo, hi)) is not None:
            turns.append((lo, hi, n, self._values(n, lo[n], hi[n])))
            found = self._turn(turns)
            if found is None:
                return None
            lo, hi = found
        return lo

    def _values(self, n: int, low: int, high: int) -> list[int]:
        """What a number may be, the nearest to what is wanted last."""
        wanted = self.problem.wanted[n]
        return sorted(range(low, high + 1), key=lambda value: (-abs(value - wanted), -value))

    def _turn(self, turns: list[tuple[list[int], list[int], int, list[int]]]) -> tuple[list[int], list[int]] | None:
        """Take the next value of the last number that has one left."""
        while turns and self.looked < self.most:
            lo, hi, n, values = turns[-1]
            if not values:
                turns.pop()
                continue
            value = values.pop()
            low, high = [*lo], [*hi]
            low[n] = high[n] = value
            if self._narrow(low, high, self.about[n]):
                return low, high
        return None

    def _next(self, lo: Sequence[int], hi: Sequence[int]) -> int | None:
        """The number with the fewest values left, of those that have several."""
        best, fewest = None, 0
        for n, (low, high) in enumerate(zip(lo, hi, strict=True)):
            if high > low and (best is None or high - low < fewest):
                best, fewest = n, high - low
        return best

    def _narrow(self, lo: list[int], hi: list[int], first: Iterable[int]) -> bool:
        """Narrow until nothing moves any more; False where some condition cannot be met, or there is no time left."""
        queue = deque(first)
        waiting = set(queue)
        while queue:
            if self.looked >= self.most:
                return False
            self.looked += 1
            c = queue.popleft()
            waiting.discard(c)
            moved = self.conditions[c].narrow(lo, hi)
            if moved is None:
                return False
            for n in moved:
                if lo[n] > hi[n]:
                    return False
                for other in self.about[n]:
                    if other not in waiting:
                        waiting.add(other)
                        queue.append(other)
        return True
