"""What a machine is at a moment, claims aside: its pools, what its free cards are, and what a lender's are.

None of that is decided here: the scalar `accounting.reconcile.rule.reconcile` is asked about one second of an empty
machine, and about one with a lender, once for every situation that occurs. So the rules are written once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from accounting.arrays import Codes, Ints
from accounting.model import CAPACITY, DAY, CapacityStretch, CoverageStretch, NodeDay
from accounting.reconcile.rule import Rules, reconcile
from accounting.reconcile.sweep.site_columns import Columns
from accounting.reconcile.sweep.table import Codebook, account_code
from accounting.reconcile.sweep.time_cells import TimeCells, by_day
from exporters.join.links import lends
from exporters.join.occupancy import Leaf
from exporters.join.pools import Pool, allot
from exporters.model import Claim, Disposition, JobKey, LinkKey, LinkKind, NodeKey, Scheduler


@dataclass(frozen=True, slots=True)
class PoolTable:
    """The sets of pools that occur: pools ``first[c]:first[c] + count[c]`` are set ``c``, with model and size.

    ``choice[c, model]`` says which pool of set ``c``, counted from 0, a claim of that model (and profile) draws on; -1
    when that depends on who else is there.
    """

    first: Ints
    count: Ints
    model: Codes
    size: Ints
    choice: Ints


class _Told(NamedTuple):
    """What one scheduler tells of a machine at a moment: the fields of `CapacityStretch` without the time."""

    scheduler: Scheduler
    cluster: str
    node: str
    model: str
    milligpu: int
    up: bool
    reason: str
    proven: bool


class _Situation(NamedTuple):
    """Everything that is so at one moment of a machine, claims aside; nodes go by numbers."""

    told: tuple[_Told, ...]
    covered: frozenset[tuple[Scheduler, str]]


class _Known(NamedTuple):
    """When who can be read changes, and who can be then."""

    changes: list[int]
    covered: list[frozenset[tuple[Scheduler, str]]]


class _State(NamedTuple):
    """What follows from a situation: codes as in `TimeCells`, or of a lender's free cards."""

    pools: int
    account: int
    why: int


class _Seen(NamedTuple):
    """A situation of one machine: the number of the plain one that it is, and which number each node has in it."""

    plain: int
    nodes: dict[str, str]


class Timeline:
    """Cuts machines' time into cells, and numbers the situations, pools, models and reasons that it meets."""

    def __init__(self, site: Columns, rules: Rules, period: tuple[int, int], reasons: Codebook) -> None:
        self.site, self.rules, self.period, self.reasons = site, rules, period, reasons
        self.models = Codebook()
        self.sets: dict[tuple[tuple[str, int], ...], int] = {(): 0}
        self.plain: dict[_Situation, int] = {}
        self.situations: list[_Situation] = []  # by number
        self.states: list[_State] = []
        self.seen: list[_Seen] = []
        self.lenders: dict[tuple[int, str, str], _State] = {}
        self.readable: dict[tuple[CoverageStretch, ...], _Known] = {}

    def cells(self, first: int, last: int) -> TimeCells:
        """The cells of machines ``first`` to ``last - 1``, which are counted from 0."""
        rows: list[tuple[int, int, int, int]] = []
        for m in range(first, last):
            for a, b, situation in self._stretches(self.site.capacity[m], self._known(self.site.coverage[m])):
                if rows and rows[-1][0] == m - first and rows[-1][3] == situation:
                    rows[-1] = (m - first, rows[-1][1], b, situation)
                else:
                    rows.append((m - first, a, b, situation))
        states = np.array([self.states[self.seen[situation].plain] for *_, situation in rows], dtype=np.int64).reshape(
            -1, 3
        )
        table = np.array(rows, dtype=np.int64).reshape(-1, 4)
        start = self.period[0]
        return by_day(table[:, 0], table[:, 1] - start, table[:, 2] - start, table[:, 3], states, start % DAY)

    def _known(self, coverage: Sequence[CoverageStretch]) -> _Known:
        """Who could be read of a machine, and when; most machines of a cluster have the same."""
        told = tuple(coverage)
        found = self.readable.get(told)
        if found is None:
            borders = {t for s in told for t in (s.start, s.end)}
            changes = [-1, *sorted(_inside(borders, self.period))]
            found = self.readable[told] = _Known(
                changes,
                [
                    frozenset((s.scheduler, s.cluster) for s in told if s.start <= max(t, self.period[0]) < s.end)
                    for t in changes
                ],
            )
        return found

    def _stretches(self, capacity: Sequence[CapacityStretch], known: _Known) -> list[tuple[int, int, int]]:
        """A machine's time, cut wherever what is told or readable changes, with the numbers of the situations.

        Of nodes' names only matters which are the same, so situations of different machines are equal but for names.
        """
        nodes: dict[str, str] = {}
        told = [
            (s.start, s.end, _Told(s.scheduler, s.cluster, nodes.setdefault(s.node, str(len(nodes))), *_shape(s)))
            for s in sorted(capacity)
        ]
        borders = _inside((t for s in capacity for t in (s.start, s.end)), self.period)
        numbers: dict[int, int] = {}
        found = []
        for a, b in pairwise(sorted(borders.union(known.changes[1:], self.period))):
            here = tuple(t for start, end, t in told if start <= a < end)
            plain = self._number(_Situation(here, known.covered[bisect_right(known.changes, a) - 1]))
            if plain not in numbers:
                numbers[plain] = len(self.seen)
                self.seen.append(_Seen(plain, nodes))
            found.append((a, b, numbers[plain]))
        return found

    def _number(self, situation: _Situation) -> int:
        number = self.plain.get(situation)
        if number is None:
            number = self.plain[situation] = len(self.situations)
            self.situations.append(situation)
            self.states.append(self._reconciled(situation, None))
        return number

    def lent(self, lender: Claim, situation: int) -> tuple[int, int]:
        """The account of a lender's free cards in a situation, and the code of the reason."""
        key = lends(lender)
        if key is None:
            raise ValueError(f"claim of job {lender.job} lends nothing")
        plain, nodes = self.seen[situation]
        asked = plain, key.cluster, nodes.get(key.value, "")
        state = self.lenders.get(asked)
        if state is None:
            key = LinkKey(LinkKind.LENDS, key.cluster, nodes.get(key.value, ""))
            state = self.lenders[asked] = self._reconciled(self.situations[plain], key)
        return state.account, state.why

    def _reconciled(self, situation: _Situation, key: LinkKey | None) -> _State:
        """Ask the scalar rules what the free cards are: the machine's, or those of a lender with that key."""
        older = len(
            situation.told
        )  # what was told is sorted: of two that contradict each other the order tells which counts
        here = tuple(CapacityStretch(n - older, 1, *t) for n, t in enumerate(situation.told))
        coverage = tuple(CoverageStretch(0, 1, scheduler, cluster) for scheduler, cluster in sorted(situation.covered))
        empty = NodeDay("", 0, 1, (), here, coverage)
        occupied = reconcile(replace(empty, claims=(_claim(keys=(key,) if key else ()),)), self.rules)
        postings = reconcile(empty, self.rules).postings
        pools = tuple((p.model, -p.quantity) for p in postings if p.account == CAPACITY)
        if not pools:
            return _State(0, -1, self.reasons.code(occupied.unplaced[0][1]))
        lent, rest = (p for p in occupied.postings if p.job), (p for p in postings if p.account != CAPACITY)
        free = next(lent if key else rest)
        pools_code = self.sets.setdefault(pools, len(self.sets))
        return _State(pools_code, account_code(free.account), self.reasons.code(free.reason))

    def pool_table(self) -> PoolTable:
        """All sets of pools met so far."""
        count = np.array([len(pools) for pools in self.sets], dtype=np.int64)
        flat = [*(pool for pools in self.sets for pool in pools), ("", 0)]  # the last one stands for none
        names = self.site.names.models
        choice = [[self._choice(pools, *name) for name in names] for pools in self.sets]
        return PoolTable(
            np.cumsum(count) - count,
            count,
            np.array([self.models.code(model) for model, _ in flat], dtype=np.int32),
            np.array([size for _, size in flat], dtype=np.int64),
            np.array(choice, dtype=np.int64).reshape(len(self.sets), len(names)),
        )

    def _choice(self, pools: tuple[tuple[str, int], ...], model: str, profile: str) -> int:
        """Ask for more than there is: who names a pool gets all of it there, who names none is spread over several."""
        if len(pools) < 2:
            return 0
        whole = 1 + sum(size for _, size in pools)
        leaf = Leaf(0, Scheduler.KUBERNETES, whole, Disposition.CHARGED)
        spread = allot([Pool(*p) for p in pools], [leaf], [_claim(whole, model, profile)], self.rules.models)
        drawn = [n for n, leaves in enumerate(spread) if leaves]
        return drawn[0] if len(drawn) == 1 else -1


def _shape(s: CapacityStretch) -> tuple[str, int, bool, str, bool]:
    return s.model, s.milligpu, s.up, s.reason, s.proven


def _claim(milligpu: int = 1, model: str = "", profile: str = "", keys: tuple[LinkKey, ...] = ()) -> Claim:
    """Something that holds cards for the second that a situation is asked about."""
    node = NodeKey(Scheduler.KUBERNETES, "", "")
    return Claim(JobKey(Scheduler.KUBERNETES, "", ""), "", node, milligpu, 0, 1, model, profile, keys=keys)


def _inside(moments: Iterable[int], period: tuple[int, int]) -> set[int]:
    return {t for t in moments if period[0] < t < period[1]}
