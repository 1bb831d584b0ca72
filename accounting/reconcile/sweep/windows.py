"""What the sweep leaves to the scalar rules: cut out as node-days, reconciled, and added to what the sweep knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accounting.arrays import Ints, distinct
from accounting.model import DAY, NodeDay, NodeDayResult, Posting
from accounting.reconcile.rule import Rules, reconcile
from accounting.reconcile.sweep.node_day_of import NodeDayCutter, day_of
from accounting.reconcile.sweep.table import (
    COLUMNS,
    Codebook,
    Reasons,
    Table,
    account_code,
    concat,
    empty,
    link_code,
    merged,
)
from accounting.reconcile.sweep.time_cells import Windows
from exporters.model import Claim, JobKey


@dataclass(frozen=True, slots=True)
class Codes:
    """The lists of texts that postings refer to, by number."""

    models: Codebook
    reasons: Reasons
    projects: dict[str, int]


def reconcile_all(days: Sequence[NodeDay], rules: Rules) -> list[NodeDayResult]:
    """The scalar rules, for some node-days."""
    return [reconcile(day, rules) for day in days]


class Aside:
    """The windows of one part on their way through the scalar rules.

    ``known`` is how many texts of reasons there were when the part had been prepared.
    """

    def __init__(self, cutter: NodeDayCutter, windows: Windows, codes: Codes, known: int) -> None:
        self.cutter, self.codes, self.known = cutter, codes, known
        self.places = [*zip(*(column.tolist() for column in windows), strict=True)]
        self.rows = [self._rows(*place) for place in self.places]
        if self.rows:
            cutter.read(distinct(*self.rows))

    def _rows(self, machine: int, start: int, end: int) -> Ints:
        day = day_of(self.cutter.chunk, (start + self.cutter.chunk.offset) // DAY)
        return self.cutter.around(machine, self.cutter.holding(machine, start, end), *day)

    def node_days(self) -> list[NodeDay]:
        """What the scalar rules are to decide."""
        return [self.cutter.node_day(m, a, b, rows) for (m, a, b), rows in zip(self.places, self.rows, strict=True)]

    def settle(self, unsettled: Table, results: Sequence[NodeDayResult]) -> Table:
        """The postings of the windows' days, by machine and day: what the sweep knows of them, and the windows' own."""
        decided = [self._table(*some) for some in zip(self.places, self.rows, results, strict=True)]
        return merged(concat([unsettled, *decided]))

    def unplaced(self, results: Sequence[NodeDayResult]) -> list[tuple[int, int, int, str]]:
        """Row, day, second and reason of claims that found no cards in a window."""
        found = []
        for (_, start, _), rows, result in zip(self.places, self.rows, results, strict=True):
            numbers: dict[Claim, list[int]] = defaultdict(list)
            for row, claim in zip(rows.tolist(), self.cutter.read(rows), strict=True):
                numbers[claim].append(row)
            day = (start + self.cutter.chunk.offset) // DAY
            found += [(numbers[claim].pop(0), day, start, reason) for claim, reason in result.unplaced]
        return found

    def _table(self, place: tuple[int, int, int], rows: Ints, result: NodeDayResult) -> Table:
        """One window's postings as rows."""
        chunk = self.cutter.chunk
        claims = self.cutter.read(rows)
        jobs = {c.job: code for c, code in zip(claims, chunk.column("job")[rows].tolist(), strict=True)}
        units = {(c.job, c.unit): code for c, code in zip(claims, chunk.column("unit")[rows].tolist(), strict=True)}
        machine, day = chunk.first_machine + place[0], (place[1] + chunk.period[0]) // DAY
        found = [self._row(machine, day, posting, jobs, units) for posting in result.postings]
        if not found:
            return empty()
        columns = zip(*found, strict=True)
        return {
            name: np.array(column, dtype=kind) for (name, kind), column in zip(COLUMNS.items(), columns, strict=True)
        }

    def _row(
        self,
        machine: int,
        day: int,
        posting: Posting,
        jobs: dict[JobKey, int],
        units: dict[tuple[JobKey, str], int],
    ) -> tuple[int, ...]:
        p, codes = posting, self.codes
        return (
            machine,
            day,
            account_code(p.account),
            codes.models.code(p.model),
            p.quantity,
            codes.projects[p.project] if p.job else -1,
            jobs[p.job] if p.job else -1,
            units[p.job, p.unit] if p.job else -1,
            p.start,
            p.end,
            p.held,
            link_code(p.link),
            jobs[p.linked] if p.linked else -1,
            codes.reasons.code(p.reason, self.known),
        )
