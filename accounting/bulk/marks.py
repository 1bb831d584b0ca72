"""Marks of days: whether anything that a day's node-days are made from has changed, without reading it.

The claims of a ledger are never rewritten, only the marks of which are current move. So a day's claims are known again
by their number and sums over their ids, which the database takes from its rows without handing them over; the same goes
for what was seen live, and for what tells who pays. All else (capacity, coverage, rulings, rules, settings) is small,
and its text is in the mark as it is.

A day depends on other days, too: a link key may tie its claims to those of a neighbour. So each mark covers the day
before and the day after, and as far as claims reach that are tied and go over a midnight; if in doubt, more.

A mark only ever saves work: a day without one, or with another, is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, or_, select

from accounting.bulk.pages import among_ids, every, listed_ids
from accounting.bulk.site import World
from accounting.bulk.ties import TIES
from accounting.facts import live_ends
from accounting.model import DAY
from accounting.sweep.columns import Ints
from accounting.tables import claim_keys, claims, day_marks, holdings, jobs, splits
from exporters.links import FOREVER
from exporters.model import Scheduler

_C, _J, _H, _S, _K = claims.c, jobs.c, holdings.c, splits.c, claim_keys.c
_PRIME = 1_000_003
_CLAIMS = select(
    func.count(),
    func.coalesce(func.sum(_C.id), 0),
    func.coalesce(func.sum((_C.id % _PRIME) * (_C.id % _PRIME)), 0),
    func.coalesce(func.sum(_J.seen_at + _J.origin), 0),
    func.coalesce(func.sum(func.length(_J.account) * 37 + func.length(_J.labels)), 0),
).select_from(claims.join(jobs, _J.id == _C.job_id))
"""Sums over claims: which they are, and how their jobs were last told."""

_SPLITS = select(func.count(), func.coalesce(func.sum(_S.id), 0), func.coalesce(func.sum(_S.seen_at), 0)).select_from(
    claims.join(splits, _S.job_id == _C.job_id)
)


class Marks:
    """The marks of the days of ``[start, end)``. ``told`` is the text of the rules and of all settings that matter."""

    def __init__(self, connection: Connection, world: World, told: str, start: int, end: int) -> None:
        self.world, self.told = world, told
        self._within: dict[int, tuple[int, ...]] = {}
        self._latest = max([end, *world.facts.until.values()])
        self._tied = _tied(connection, _long(connection, start - 2 * DAY, end + 2 * DAY))
        first, last = self._reach(start, end)
        self._long = _long(connection, first, last)

    def of(self, connection: Connection, a: int, b: int) -> bytes:
        """The mark of the node-days over ``[a, b)``."""
        first, last = self._reach(a, b)
        number, start, end = self._long
        long = np.sort(number[(start < last) & (end > first)])
        parts = (
            self.told,
            self._facts(a, b, first, last),
            [self._short(connection, day) for day in range(first // DAY, -(-last // DAY))],
            hashlib.sha256(long.tobytes()).hexdigest(),
            _sums(connection, _CLAIMS, long),
            _seen(connection, a, b),
            self._split(connection, first, last, long),
        )
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()

    def _reach(self, a: int, b: int) -> tuple[int, int]:
        """The days that may matter to one: its neighbours, and those of claims that are tied and reach beyond it."""
        _, start, end = self._tied
        there = (start < b + DAY) & (end > a - DAY)
        first = min([a, *start[there].tolist()]) - DAY
        last = max([b, *np.minimum(end[there], self._latest).tolist()]) + DAY
        return first - first % DAY, last + -last % DAY

    def _short(self, connection: Connection, day: int) -> tuple[int, ...]:
        """Sums over the claims that lie within a UTC day."""
        if day not in self._within:
            row = connection.execute(_CLAIMS.where(_C.current, *_within(day * DAY, (day + 1) * DAY))).one()
            self._within[day] = tuple(map(int, row))
        return self._within[day]

    def _split(self, connection: Connection, first: int, last: int, long: Ints) -> Sequence[Any]:
        """Sums over the exact splits of the jobs that are there."""
        if connection.execute(select(_S.id).limit(1)).first() is None:
            return ()
        short = connection.execute(_SPLITS.where(_C.current, *_within(first, last))).one()
        return [*map(int, short), *_sums(connection, _SPLITS, long)]

    def _facts(self, a: int, b: int, first: int, last: int) -> Any:
        """What is known of the machines: small, so it is told as it is."""
        world, capacity = self.world, self.world.capacity
        covered = world.facts.covered.items()
        return (
            [(key, [s for s in capacity[key] if s.start < b and s.end > a]) for key in sorted(capacity)],
            [
                (key, world.resolver(key, first, last), world.present(key, a, b))
                for key in sorted(world.reader.nodes.values())
            ],
            sorted((place, min(b, until)) for place, until in world.facts.until.items()),
            sorted((place, [s for s in spans if s[0] < b and s[1] > a]) for place, spans in covered),
            sorted(world.rulings.items()),
        )


def stored(connection: Connection, a: int, b: int) -> bytes:
    """The mark with which the node-days over ``[a, b)`` were last booked; nothing where they were not."""
    c = day_marks.c
    row = connection.execute(select(c.mark).where(c.start_at == a, c.end_at == b)).first()
    return bytes(row.mark) if row else b""


def store(connection: Connection, a: int, b: int, mark: bytes) -> None:
    """Keep the mark of what is booked now. Only a writer may ask."""
    connection.execute(delete(day_marks).where(day_marks.c.start_at == a))
    connection.execute(day_marks.insert().values(start_at=a, end_at=b, mark=mark))


def _within(a: int, b: int) -> tuple[ColumnElement[bool], ...]:
    """Claims that end in ``(a, b]`` and do not go over a midnight."""
    return _C.end_at > a, _C.end_at <= b, _C.start_at // DAY == (_C.end_at - 1) // DAY


def _long(connection: Connection, a: int, b: int) -> tuple[Ints, Ints, Ints]:
    """The claims that go over a midnight, of those that overlap ``[a, b)``: id, start and end."""
    over = or_(_C.end_at.is_(None), and_(_C.end_at > a, _C.start_at // DAY != (_C.end_at - 1) // DAY))
    query = select(_C.id, _C.start_at, func.coalesce(_C.end_at, FOREVER)).where(_C.current, over, _C.start_at < b)
    found = np.array(every(connection, query), dtype=np.int64).reshape(-1, 3)
    return found[:, 0], found[:, 1], found[:, 2]


def _tied(connection: Connection, long: tuple[Ints, Ints, Ints]) -> tuple[Ints, Ints, Ints]:
    """Those of some claims that a key ties to another one."""
    number, start, end = long
    dialect = connection.dialect.name
    keyed = select(_C.id).join(claim_keys, _K.claim_id == _C.id).where(_K.kind.in_(TIES))
    named = select(_C.id).join(jobs, _J.id == _C.job_id).join(claim_keys, _K.value == _J.native_id)
    named = named.where(_J.scheduler == Scheduler.SLURM.value, _K.kind.in_(TIES))
    parameters = listed_ids(number.tolist(), dialect)
    rows = [row for query in (keyed, named) for row in every(connection, query.where(_one_of(dialect)), parameters)]
    which = np.isin(number, np.array([n for (n,) in rows], dtype=np.int64))
    return number[which], start[which], end[which]


def _sums(connection: Connection, query: Select[Any], ids: Ints) -> list[int]:
    dialect = connection.dialect.name
    (row,) = every(connection, query.where(_C.current, _one_of(dialect)), listed_ids(ids.tolist(), dialect))
    return [*map(int, row)]


def _one_of(dialect: str) -> ColumnElement[bool]:
    return among_ids(_C.id, dialect)


def _seen(connection: Connection, a: int, b: int) -> Sequence[Any]:
    """Sums over what was seen of cards; of what goes on, to when it is known to."""
    sums = (func.count(), func.sum(_H.id), func.sum(func.coalesce(_H.end_at, 0)))
    query = select(_H.recorder, *sums).where(_H.start_at < b, or_(_H.end_at > a, _H.end_at.is_(None)))
    ends = {name: min(end, b) for (name, cluster), end in live_ends(connection).items() if not cluster}
    rows = connection.execute(query.group_by(_H.recorder).order_by(_H.recorder))
    return [(row[0], *map(int, row[1:]), ends.get(row[0])) for row in rows]
