"""Claims whose links are not plain: they are followed one by one, by the scalar `exporters.join.links.find_links`."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np

from accounting.arrays import Ints, distinct
from accounting.reconcile.sweep.chunk import Chunk
from accounting.reconcile.sweep.links.nesting import Ties
from accounting.reconcile.sweep.node_day_of import NodeDayCutter, day_of
from accounting.reconcile.sweep.site_columns import LENDS, LINKS, SAME
from accounting.reconcile.sweep.table import Codebook
from exporters.join.links import FOREVER, Link, find_links
from exporters.model import Claim


class Singly:
    """Collects stretches, with the fields of `LinkStretches`, and rows that are strange even so.

    ``external`` are jobs that pods may be, according to a key that is not plain.
    """

    def __init__(self, chunk: Chunk, cutter: NodeDayCutter, grace: int, reasons: Codebook) -> None:
        self.chunk, self.cutter, self.grace, self.reasons = chunk, cutter, grace, reasons
        self.stretches: list[tuple[int, int, int, int, int, int]] = []
        self.strange: set[int] = set()
        self.external: set[int] = set()

    def lent(self, found: Ties) -> None:
        """Slurm claims that touch several lenders of their node, most often one after the other."""
        if not len(found.many):
            return
        chunk, keys = self.chunk, self.chunk.keys
        node, cluster = chunk.column("node"), chunk.column("cluster")
        lenders: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row, entry in zip(found.lenders.tolist(), found.lender_key.tolist(), strict=True):
            if chunk.alive[row]:
                lenders[int(chunk.machine[row]), int(keys.target[entry])].append(entry)
        for row in found.many.tolist():
            entries = lenders[int(chunk.machine[row]), int(node[row])]
            meant = [e for e in entries if keys.any_cluster[e] or keys.cluster[e] == cluster[row]]
            self._hold(row, int(chunk.start[row]), int(chunk.end[row]), [(LENDS, int(keys.row[e])) for e in meant])

    def decide(self, odd: Ints) -> None:
        """Rows whose keys the scalar function must follow, node-day by node-day as it sees them."""
        # in node-days other than those in which it holds something, such a row may say who pays for a job
        self._elsewhere(odd[~self.chunk.alive[odd] | (self.chunk.ints("end")[odd] == FOREVER)])
        days: dict[tuple[int, int], list[int]] = defaultdict(list)
        holding = odd[self.chunk.alive[odd]]
        machines, firsts, lasts = (column.tolist() for column in self.chunk.days(holding))
        for row, machine, first, last in zip(holding.tolist(), machines, firsts, lasts, strict=True):
            for day in range(first, last + 1):
                days[machine, day].append(row)
        asked = {
            (machine, day): self.cutter.around(machine, np.array(rows), *day_of(self.chunk, day))
            for (machine, day), rows in days.items()
        }
        if asked:
            self.cutter.read(distinct(*asked.values()))
        for (machine, day), rows in sorted(days.items()):
            self._decide(machine, day, rows, asked[machine, day])

    def _decide(self, machine: int, day: int, odd: list[int], rows: Ints) -> None:
        start, end = day_of(self.chunk, day)
        numbered = sorted(zip(self.cutter.read(rows), rows.tolist(), strict=True), key=lambda pair: _order(pair[0]))
        until = self.cutter.known_until(end)
        links: dict[int, list[Link]] = defaultdict(list)
        for link in find_links([claim for claim, _ in numbered], grace=self.grace, until=until):
            links[numbered[link.inner][1]].append(link)
        for row in odd:
            a, b = max(start, int(self.chunk.start[row])), min(end, int(self.chunk.end[row]))
            reason = next((n.reason for n in links[row] if not n.verified), "")
            if reason:
                self.stretches.append((row, a, b, -1, -1, self.reasons.code(reason)))
                if self.chunk.first_machine + machine in self.chunk.site.rulings:
                    self.strange.add(row)  # somebody may have ruled on its key
                continue
            outers = [(LINKS.index(n.kind), numbered[n.outer][1]) for n in links[row]]
            self.external.update(outer for kind, outer in outers if kind == SAME)
            self._hold(row, a, b, outers)

    def _hold(self, row: int, start: int, end: int, outers: list[tuple[int, int]]) -> None:
        """Stretches of one row over ``[start, end)``: of several outer claims it is in the one that began last."""
        chunk = self.chunk
        around = [(int(chunk.start[o]), int(chunk.end[o]), k, o) for k, o in outers if chunk.alive[o]]
        borders = sorted({start, end, *(t for a, b, _, _ in around for t in (a, b) if start < t < end)})
        for a, b in pairwise(borders):
            there = [(int(chunk.ints("start")[o]), k, o) for first, last, k, o in around if first <= a < last]
            began, kind, outer = max(there, default=(0, -1, -1))
            if sum(began == other for other, _, _ in there) > 1:
                self.strange.add(row)  # which of them is the later one is a matter of their names
            self.stretches.append((row, a, b, kind, outer, 0))

    def _elsewhere(self, odd: Ints) -> None:
        for row in odd.tolist():
            tied = self.cutter.naming.tied(int(self.chunk.machine[row]), np.array([row]), -FOREVER, FOREVER)
            self.external.update(tied.tolist())


def _order(claim: Claim) -> tuple[object, ...]:
    """The order in which `accounting.reconcile` looks at claims, as far as links depend on it."""
    return (claim.start, claim.job.scheduler, claim.native_id, claim.job)
