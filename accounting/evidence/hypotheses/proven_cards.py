"""A claim proves cards: what a machine had at least, where nobody looked at it. Pure, but for what is read of claims.

No claim falls outside of the six words because nobody saw its node. In time in which no source saw any node of a
machine, and of which nothing else tells its cards, it has what the claims of one scheduler hold on its node there at
that moment, since no scheduler gives a card twice: of the models that they name, in whole cards. Where something is
known of its cards, but not as many as one claim holds alone, it has as many as that one; unless its share was guessed.
Where a source did look, its word stands, and claims beyond it contradict it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from sqlalchemy import Connection, func, select

from accounting.evidence.claim_rows import Codes
from accounting.model import CapacityStretch
from accounting.store.columns import among, columns
from accounting.store.tables import claim_keys
from accounting.store.tables import claims as claims_table
from exporters.join.links import FOREVER
from exporters.model import MILLI_PER_GPU, Claim, LinkKind, NodeKey, Scheduler

Spans = Sequence[tuple[int, int]]


def most_held(connection: Connection, node_ids: Sequence[int]) -> dict[int, list[tuple[str, int]]]:
    """The most that claims whose share was not guessed held on nodes at one moment, by model, in whole cards."""
    c = claims_table.c
    end = func.coalesce(c.end_at, FOREVER)
    stands_in = select(claim_keys.c.claim_id).where(claim_keys.c.kind == LinkKind.STAND_IN.value)
    query = select(c.node_id, c.start_at, end.label("end"), c.milligpu, c.model).where(
        c.current,
        ~c.split_assumed,
        c.milligpu > 0,
        c.id.not_in(stands_in),
        among(c.node_id, list(node_ids), connection.dialect.name),
    )
    if not node_ids:
        return {}
    with columns(connection) as tables:
        found = tables.table(query)
    *numbers, model = found.columns
    node, start, end_, milligpu = (column.to_numpy() for column in numbers)
    models = Codes()
    code = models.of(model.to_pylist())
    node, code, change = np.tile(node, 2), np.tile(code, 2), np.concatenate([milligpu, -milligpu])
    order = np.lexsort((change, np.concatenate([start, end_]), code, node))
    held = np.cumsum(change[order])  # of each node and model it ends at 0
    most: dict[tuple[int, int], int] = {}
    if len(order):
        place = np.stack([node[order], code[order]], axis=1)
        first = np.flatnonzero(np.append(True, (place[1:] != place[:-1]).any(axis=1)))
        peaks = np.maximum.reduceat(held, first).tolist()
        most = {(n, m): peak for (n, m), peak in zip(place[first].tolist(), peaks, strict=True)}
    by_node: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for (number, name), peak in most.items():
        by_node[number].append((models.items[name], whole(peak)))
    return {number: sorted(some) for number, some in by_node.items()}


def whole(milligpu: int) -> int:
    """As many cards as a part of them proves, in milliGPU."""
    return -(-milligpu // MILLI_PER_GPU) * MILLI_PER_GPU


def proven(
    claims: Iterable[Claim], capacity: Sequence[CapacityStretch], seen: Spans, a: int, b: int
) -> list[CapacityStretch]:
    """What claims on one machine prove over ``[a, b)`` beyond its ``capacity``; ``seen`` is when a node of it was."""
    held = [c for c in dict.fromkeys(claims) if c.milligpu > 0 and not _stands_in(c)]
    moments = {a, b, *(t for span in seen for t in span), *(t for s in capacity for t in (s.start, s.end))}
    moments |= {t for c in held for t in (c.start, b if c.end is None else c.end)}
    found: list[CapacityStretch] = []
    for start, end in pairwise(sorted(t for t in moments if a <= t <= b)):
        if not any(first <= start < last for first, last in seen):
            here = [c for c in held if c.start <= start and (c.end is None or start < c.end)]
            found += _beyond(here, [s for s in capacity if s.start <= start < s.end], start, end)
    return _joined(found)


def _stands_in(claim: Claim) -> bool:
    return any(key.kind is LinkKind.STAND_IN for key in claim.keys)


def _beyond(
    claims: Sequence[Claim], there: Sequence[CapacityStretch], start: int, end: int
) -> Iterator[CapacityStretch]:
    known = total(there)
    by_node: dict[NodeKey, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    if known:
        alone = max(
            (c for c in claims if not c.split_assumed), key=lambda c: (c.milligpu, c.node, c.model), default=None
        )
        if alone is not None and alone.milligpu > known:
            largest = max(there, key=lambda s: (s.milligpu, s.model)).model
            by_node[alone.node][largest] = alone.milligpu - known + max(s.milligpu for s in there if s.model == largest)
    else:
        for claim in claims:
            by_node[claim.node][claim.model] += claim.milligpu
    for node, sums in sorted(by_node.items()):
        for model, milligpu in sorted(sums.items()):
            yield CapacityStretch(start, end, *node, model, whole(milligpu), up=True, proven=True)


def total(there: Iterable[CapacityStretch]) -> int:
    """What a machine has at a moment at which all of this is so: its schedulers tell the same cards."""
    views: dict[tuple[Scheduler, str], dict[tuple[str, str], int]] = defaultdict(dict)
    for s in there:
        view = views[s.scheduler, s.cluster]
        view[s.node, s.model] = max(view.get((s.node, s.model), 0), s.milligpu)
    return max((sum(view.values()) for view in views.values()), default=0)


def least(capacity: Sequence[CapacityStretch], a: int, b: int) -> int:
    """The least that a machine is known to have at any moment of ``[a, b)``."""
    if len(capacity) == 1 and capacity[0].start <= a and capacity[0].end >= b:  # most machines
        return capacity[0].milligpu
    moments = sorted({a, b, *(t for s in capacity for t in (s.start, s.end) if a < t < b)})
    return min(total(s for s in capacity if s.start <= t < s.end) for t in moments[:-1])


def _joined(found: Iterable[CapacityStretch]) -> list[CapacityStretch]:
    """Neighbours that say the same become one."""
    done: list[CapacityStretch] = []
    for s in sorted(found, key=lambda s: (s.scheduler, s.cluster, s.node, s.model, s.start)):
        if done and replace(done[-1], start=s.start, end=s.end) == s and done[-1].end == s.start:
            done[-1] = replace(done[-1], end=s.end)
        else:
            done.append(s)
    return sorted(done)
