"""Marks of days: whether anything that a day's node-days are made from has changed, without reading it.

Whoever writes claims, jobs or holdings counts it for the days that it is about (`accounting.store.day_changes`), and
the day's counter is in the mark. All else (capacity, coverage, rulings, rules, settings) is small: of the machines a
sum of digests, and the rest as it is.

A day depends on other days, too: a link key may tie its claims to others. What is written near a midnight counts for
both days; what is tied to claims that go over a midnight, on whichever day, is in the mark (`partners`).

A mark only ever saves work: a day without one, or with another, is read. It is kept in the transaction that booked the
day as it is, and whatever is booked of the day otherwise forgets it (`accounting.store.day_changes.forget_marks`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from accounting.evidence.node_facts import Spans
from accounting.evidence.site_day import World
from accounting.evidence.ties.long_ties import tied_beyond
from accounting.intake.coverage import live_ends
from accounting.model import DAY, CapacityStretch
from accounting.store.columns import Columns
from accounting.store.day_changes import Changes
from accounting.store.tables import day_marks
from exporters.model import NodeKey


class Marks:
    """The marks of the days of ``[start, end)``. ``told`` is the text of the rules and of all settings that matter."""

    def __init__(self, tables: Columns, world: World, told: str, start: int, end: int) -> None:
        self.world, self.told = world, told
        self._latest = max([end, *world.facts.until.values()])
        self._tied = tied_beyond(tables, start, end)
        self._changes = Changes(tables.connection)
        self._rounds = {name: last for (name, cluster), last in live_ends(tables.connection).items() if not cluster}
        self._first, self._last = start, end
        first, last = self._reach(start, end)
        self._same, self._others = self._unchanging(first - DAY, last + DAY)

    def of(self, a: int, b: int) -> bytes:
        """The mark of the node-days over ``[a, b)``."""
        first, last = self._reach(a, b)
        parts = (
            self.told,
            self._facts(a, b, first - DAY, last + DAY),
            (first, last, self._tied.digest(a, b)),
            self._changes.of(a, b),
            sorted((recorder, min(end, b)) for recorder, end in self._rounds.items() if end > a),
        )
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()

    def _reach(self, a: int, b: int) -> tuple[int, int]:
        """The UTC days that may matter to a day: its own, and those of its claims that are tied and reach beyond it."""
        there = self._tied.there(a, b)
        first = min([a, *self._tied.start[there].tolist()])
        last = max([b, *np.minimum(self._tied.end[there], self._latest).tolist()])
        return first - first % DAY, last + -last % DAY

    def _facts(self, a: int, b: int, first: int, last: int) -> Any:
        """What is known of the machines: a sum over the nodes, and the rest as it is."""
        facts, nodes = self.world.facts, self._same
        for key in self._others:
            here = [s for s in self.world.capacity[key] if s.start < b and s.end > a]
            where, there = self.world.resolver(key, first, last), self.world.present(key, a, b)
            sizes = [(*_span(s.start, s.end, a, b), *_sizes(s)) for s in here]
            looked = self._looked_at(key, a, b)
            nodes ^= _digest((key, _cut(where, first, last), _cut(there, a, b), sizes, looked))
        return (
            nodes,
            sorted((place, min(b, until)) for place, until in facts.until.items()),
            sorted((place, _clipped(spans, a, b)) for place, spans in facts.covered.items()),
            sorted((key, clipped) for key, spans in facts.unsaid.items() if (clipped := _clipped(spans, a, b))),
            sorted(self.world.rulings.items()),
        )

    def _looked_at(self, key: NodeKey, a: int, b: int) -> bool | list[tuple[int, int]]:
        """When somebody looked at a node; True: all the time, False: never."""
        spans = _clipped(self.world.facts.seen.get(key, ()), a, b)
        return spans == [(a, b)] if spans in ([], [(a, b)]) else spans

    def _unchanging(self, first: int, last: int) -> tuple[int, list[NodeKey]]:
        """The sum over the nodes of which every day says the same, and the other nodes."""
        found, others = 0, []
        for key in self.world.reader.nodes.values():
            where, there = self.world.resolver(key, first, last), self.world.present(key, first, last)
            sizes = self.world.capacity[key]
            if (
                len(where) == len(there) == 1
                and all(s <= first and e >= last for _, s, e in (*where, *there))
                and all(s.start <= self._first and s.end >= self._last for s in sizes)
                and isinstance(looked := self._looked_at(key, self._first, self._last), bool)
            ):
                found ^= _digest((key, [where[0][0]], [there[0][0]], [_sizes(s) for s in sizes], looked))
            else:
                others.append(key)
        return found, others


def _sizes(s: CapacityStretch) -> tuple[Any, ...]:
    return s.model, s.milligpu, s.up, s.reason, s.proven


def _span(start: int, end: int, a: int, b: int) -> tuple[int, ...]:
    """A stretch within another one; nothing to be said where it is all of it."""
    return () if start <= a and end >= b else (max(start, a), min(end, b))


def _cut(stretches: Sequence[tuple[str, int, int]], a: int, b: int) -> list[Any]:
    found = [(machine, _span(s, e, a, b)) for machine, s, e in stretches if s < b and e > a]
    return [machine if not span else (machine, *span) for machine, span in found]


def _clipped(spans: Spans, a: int, b: int) -> list[tuple[int, int]]:
    return [(max(start, a), min(end, b)) for start, end in spans if start < b and end > a]


def _digest(said: Any) -> int:
    data = repr(said).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=16).digest())


def stored(connection: Connection, a: int, b: int) -> bytes:
    """The mark with which the node-days over ``[a, b)`` were last booked; nothing where they were not."""
    c = day_marks.c
    row = connection.execute(select(c.mark).where(c.start_at == a, c.end_at == b)).first()
    return bytes(row.mark) if row else b""
