"""Claims on their machines: each node is asked for once, and its claims are cut where it moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accounting.arrays import Flags, Ints
from accounting.evidence.claim_rows import Rows
from accounting.evidence.questions import Resolver
from exporters.join.links import FOREVER
from exporters.model import NodeKey


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows, and the machine each is on."""

    rows: Rows
    machine: Ints

    def take(self, which: Any) -> Placed:
        """Some of them."""
        return Placed(self.rows.take(which), self.machine[which])

    def keep(self, which: Flags) -> Placed:
        """Those of them for which it is true."""
        return self if which.all() else self.take(which)


def placed(rows: Rows, now: int, resolver: Resolver, nodes: Mapping[int, NodeKey], machines: Any) -> Placed:
    """Put every row on its machine, in a piece for each where its node moved. An open end stays open.

    The same as `accounting.evidence` does claim by claim. ``machines`` numbers machines' names.
    """
    if not len(rows):
        return Placed(rows, np.empty(0, dtype=np.int64))
    until = np.maximum(np.where(rows.end == FOREVER, now, rows.end), rows.start + 1)
    few = np.uint16 if int(rows.node.max()) < 1 << 16 else np.int64  # of numbers of 16 bits numpy only counts how many
    order = np.argsort(rows.node.astype(few), kind="stable")
    numbers, begins = np.unique(rows.node[order], return_index=True)
    first, last = np.minimum.reduceat(rows.start[order], begins), np.maximum.reduceat(until[order], begins)
    spans = zip(numbers.tolist(), first.tolist(), last.tolist(), strict=True)
    found = [resolver(nodes[number], a, max(z, now)) for number, a, z in spans]
    if all(len(stretches) == 1 for stretches in found):  # so it is at most sites on most days
        return Placed(rows, machines.of(name for ((name, _, _),) in found)[np.searchsorted(numbers, rows.node)])
    sources, where, starts, ends = [], [], [], []
    for which, stretches in zip(np.split(order, begins[1:]), found, strict=True):
        source, stretch, start, end = _cut(rows, which, until[which], stretches)
        sources.append(source)
        where.append(machines.of([name for name, _, _ in stretches])[stretch])
        starts.append(start)
        ends.append(end)
    pieces = rows.take(np.concatenate(sources))
    return Placed(replace(pieces, start=np.concatenate(starts), end=np.concatenate(ends)), np.concatenate(where))


def _cut(
    rows: Rows, which: Ints, until: Ints, stretches: Sequence[tuple[str, int, int]]
) -> tuple[Ints, Ints, Ints, Ints]:
    """Pieces of some rows of one node: row, stretch, start and end."""
    start, end = rows.start[which], rows.end[which]
    if len(stretches) == 1:
        return which, np.zeros(len(which), dtype=np.int64), start, end
    begin = np.array([s for _, s, _ in stretches], dtype=np.int64)
    finish = np.array([e for _, _, e in stretches], dtype=np.int64)
    first = np.searchsorted(finish, start, side="right")
    last = np.searchsorted(begin, until, side="left") - 1
    count = last - first + 1
    of = np.repeat(np.arange(len(which)), count)
    stretch = first[of] + np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    whole = stretch == last[of]
    return which[of], stretch, np.maximum(begin[stretch], start[of]), np.where(whole, end[of], finish[stretch])
