"""Node-days as the scalar rules take them, cut out of the columns: whole, or the part of one that they must decide.

A part of a node-day may be reconciled by itself: a posting is a sum over moments, and what is so at a moment depends on
the claims of that moment, on those that keys tie to them, and on nothing else.
"""

from __future__ import annotations

import numpy as np

from accounting.arrays import Ints, distinct
from accounting.model import DAY, NodeDay
from accounting.reconcile.sweep.chunk import Chunk
from accounting.reconcile.sweep.links.naming import Naming
from accounting.reconcile.sweep.site_columns import LENDS
from exporters.model import Claim, Scheduler


class NodeDayCutter:
    """Which claims of a chunk matter to a stretch of a machine's time, beside those that hold something in it."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self.naming = Naming(chunk)
        self.lenders = distinct(chunk.keys.row[chunk.keys.kind == LENDS])
        self.claims: dict[int, Claim] = {}

    def around(self, machine: int, rows: Ints, start: int, end: int) -> Ints:
        """Rows, and all others of their machine that matter to them in the node-day ``[start, end)``.

        These are lenders, and whatever keys tie to one of the rows.
        """
        first, last = np.searchsorted(self.chunk.machine[self.lenders], [machine, machine + 1])
        lenders = self.lenders[first:last]
        lenders = lenders[self.chunk.touch(lenders, start, end)]
        return distinct(rows, lenders, self.naming.tied(machine, rows, start, end))

    def holding(self, machine: int, start: int, end: int) -> Ints:
        """Rows that touch ``[start, end)`` of a machine."""
        site, chunk = self.chunk.site, self.chunk
        first, last = site.first[chunk.first_machine + machine : chunk.first_machine + machine + 2] - chunk.first_row
        rows = np.arange(first, last)
        return rows[chunk.touch(rows, start, end)]

    def read(self, rows: Ints) -> list[Claim]:
        """The claims behind rows; each is fetched once."""
        missing = np.array([r for r in rows.tolist() if r not in self.claims], dtype=np.int64)
        if len(missing):
            fetched = self.chunk.site.claims(missing + self.chunk.first_row)
            self.claims.update(zip(missing.tolist(), fetched, strict=True))
        return [self.claims[r] for r in rows.tolist()]

    def known_until(self, end: int) -> dict[tuple[Scheduler, str], int]:
        """Up to when claims without end are held, in epoch seconds, for a node-day that ends at ``end``."""
        last = end + self.chunk.period[0]
        return {place: min(last, second) for place, second in self.chunk.site.known_until.items()}

    def node_day(self, machine: int, start: int, end: int, rows: Ints) -> NodeDay:
        """The node-day, or part of one, over ``[start, end)`` seconds of the period, with the claims of ``rows``."""
        chunk, site = self.chunk, self.chunk.site
        a, b = start + chunk.period[0], end + chunk.period[0]
        number = chunk.first_machine + machine
        claims = self.read(rows)
        codes = chunk.column("project")[rows].tolist()
        projects = {c.job: site.names.projects[code] for c, code in zip(claims, codes, strict=True)}
        return NodeDay(
            site.machines[number],
            a,
            b,
            tuple(claims),
            tuple(s for s in site.capacity[number] if s.start < b and s.end > a),
            tuple(s for s in site.coverage[number] if s.start < b and s.end > a),
            tuple(projects.items()),
            tuple((*place, second) for place, second in sorted(self.known_until(end).items())),
            tuple(r for r in site.rulings.get(number, ()) if projects.keys() >= set(r.parties)),
            tuple(site.holdings(number, a, b)) if site.holdings else (),
        )


def day_of(chunk: Chunk, day: int) -> tuple[int, int]:
    """The node-days of one day, counted from the period's first: ``[start, end)`` in seconds of the period."""
    return max(0, day * DAY - chunk.offset), min(chunk.length, (day + 1) * DAY - chunk.offset)
