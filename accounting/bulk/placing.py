"""Claims on their machines: each node is asked for once, and its claims are cut where it moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accounting.bulk.rows import Rows
from accounting.evidence import Resolver
from accounting.sweep.columns import Ints
from exporters.links import FOREVER
from exporters.model import NodeKey


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows, and the machine each is on."""

    rows: Rows
    machine: Ints

    def take(self, which: Any) -> Placed:
        """Some of them."""
        return Placed(self.rows.take(which), self.machine[which])


def placed(rows: Rows, now: int, resolver: Resolver, nodes: Mapping[int, NodeKey], machines: Any) -> Placed:
    """Put every row on its machine, in a piece for each where its node moved. An open end stays open.

    The same as `accounting.evidence` does claim by claim. ``machines`` numbers machines' names.
    """
    if not len(rows):
        return Placed(rows, np.empty(0, dtype=np.int64))
    until = np.maximum(np.where(rows.end == FOREVER, now, rows.end), rows.start + 1)
    order = np.argsort(rows.node, kind="stable")
    numbers, begins = np.unique(rows.node[order], return_index=True)
    sources, where, starts, ends = [], [], [], []
    for number, a, b in zip(numbers.tolist(), begins.tolist(), [*begins.tolist()[1:], len(order)], strict=True):
        which = order[a:b]
        found = resolver(nodes[number], int(rows.start[which].min()), max(int(until[which].max()), now))
        source, stretch, start, end = _cut(rows, which, until[which], found)
        sources.append(source)
        where.append(machines.of([name for name, _, _ in found])[stretch])
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
