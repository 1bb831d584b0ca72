"""Claims as link stretches: over each of them a claim lives inside one and the same other claim, or in none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accounting.arrays import Codes, Flags, Ints
from accounting.reconcile.sweep.chunk import Chunk
from accounting.reconcile.sweep.links.nesting import ties
from accounting.reconcile.sweep.links.singly import Singly
from accounting.reconcile.sweep.node_day_of import NodeDayCutter
from accounting.reconcile.sweep.site_columns import SAME
from accounting.reconcile.sweep.table import Codebook


class LinkStretches(NamedTuple):
    """Stretches ``[start, end)`` of rows, in seconds of the period.

    ``kind``/``outer`` say by which link a stretch lives inside which row (-1: in none). ``reason`` is why its cards are
    disputed, 0 when they are not. Those of a row do not overlap; together they are the row.
    """

    row: Ints
    start: Ints
    end: Ints
    kind: NDArray[np.int8]
    outer: Ints
    reason: Codes

    def take(self, which: Ints | Flags) -> LinkStretches:
        """Some of the stretches."""
        return LinkStretches._make(column[which] for column in self)


class Nested(NamedTuple):
    """The stretches of a chunk, and what else its keys tell.

    Of the two lots of stretches the first is by ascending row. ``lenders`` are rows that lend, ``lender_key`` the entry
    of `Chunk.keys` that says so. ``same`` are pods and the external Slurm jobs that they are, pair by pair, whenever
    the pod was; ``external`` are jobs that may be pods as well, by keys that are not plain. ``strange`` are rows whose
    node-days the scalar rules must decide as a whole.
    """

    stretches: tuple[LinkStretches, LinkStretches]
    lenders: Ints
    lender_key: Ints
    same: tuple[Ints, Ints]
    external: Ints
    strange: Ints


def nested(chunk: Chunk, cutter: NodeDayCutter, grace: int, reasons: Codebook) -> Nested:
    """Cut a chunk's claims into stretches."""
    found = ties(chunk, cutter.naming, grace)
    singly = Singly(chunk, cutter, grace, reasons)
    singly.lent(found)
    singly.decide(found.odd)
    left = chunk.alive.copy()
    left[found.odd] = left[found.many] = False
    plain = LinkStretches(
        np.arange(len(left)), chunk.start, chunk.end, found.kind, found.outer, np.zeros(len(left), dtype=np.int32)
    )
    plain, *pieces = _cut(chunk, plain if left.all() else plain.take(np.flatnonzero(left)))
    rows = np.array(singly.stretches, dtype=np.int64).reshape(-1, 6).T
    pieces.append(LinkStretches(rows[0], rows[1], rows[2], rows[3].astype(np.int8), rows[4], rows[5].astype(np.int32)))
    pods = np.flatnonzero(found.kind == SAME)
    pods = pods[found.outer[pods] >= 0]
    return Nested(
        (plain, LinkStretches._make(np.concatenate(columns) for columns in zip(*pieces, strict=True))),
        found.lenders,
        found.lender_key,
        (pods, found.outer[pods]),
        np.array(sorted(singly.external), dtype=np.int64),
        np.concatenate([found.strange, np.array(sorted(singly.strange), dtype=np.int64)]),
    )


def _cut(chunk: Chunk, stretches: LinkStretches) -> list[LinkStretches]:
    """Stretches, cut where the claim that they live in begins and ends: outside of it a claim is its own.

    First come what is inside, or was never anywhere else, then what is before and after.
    """
    inner = np.flatnonzero(stretches.outer >= 0)
    outer = stretches.outer[inner]
    begun, over = chunk.start[outer], chunk.end[outer]
    if not chunk.alive[outer].all():
        begun, over = (np.where(chunk.alive[outer], times, chunk.length) for times in (begun, over))
    start, end = stretches.start[inner], stretches.end[inner]
    early, late = np.flatnonzero(start < begun), np.flatnonzero(end > over)
    before, after = stretches.take(inner[early]), stretches.take(inner[late])
    found = [
        _alone(before._replace(end=np.minimum(before.end, begun[early]))),
        _alone(after._replace(start=np.maximum(after.start, over[late]))),
    ]
    if len(early) or len(late):
        starts, ends = stretches.start.copy(), stretches.end.copy()
        starts[inner], ends[inner] = np.maximum(start, begun), np.minimum(end, over)
        stretches = stretches._replace(start=starts, end=ends)
        stretches = stretches if (starts < ends).all() else stretches.take(starts < ends)
    return [stretches, *found]


def _alone(stretches: LinkStretches) -> LinkStretches:
    none = np.full(len(stretches.row), -1)
    return stretches._replace(kind=none.astype(np.int8), outer=none)
