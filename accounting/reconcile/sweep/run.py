"""A whole site's period, chunk by chunk, on whatever engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from accounting.model import DAY, NodeDayResult
from accounting.reconcile.rule import Rules
from accounting.reconcile.sweep.chunk import MOST_CELLS, chunks
from accounting.reconcile.sweep.constant_stretches import Timeline
from accounting.reconcile.sweep.counting.core import sweep_part
from accounting.reconcile.sweep.counting.part import Part, Swept
from accounting.reconcile.sweep.engines import Engine, EngineName, engine
from accounting.reconcile.sweep.node_day_of import NodeDayCutter
from accounting.reconcile.sweep.prepare import prepare
from accounting.reconcile.sweep.site_columns import Columns
from accounting.reconcile.sweep.table import Reasons, Table
from accounting.reconcile.sweep.windows import Aside, Codes, reconcile_all

if TYPE_CHECKING:
    import pandas as pd

_TOGETHER = 32
"""Windows that travel to a worker at once."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A claim (a row of the columns) that found no cards on a UTC day (days since 1970), and why."""

    row: int
    day: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The postings of some whole node-days, by machine and day; ``unplaced`` is by row and day."""

    columns: Table
    unplaced: Sequence[Unplaced] = ()

    def frame(self) -> pd.DataFrame:
        """The postings, with columns as in `accounting.reconcile.sweep.table.COLUMNS`."""
        import pandas as pd  # noqa: PLC0415 - a third of what starting a process takes, and few ask for it

        return pd.DataFrame(self.columns, copy=False)


class Sweep:
    """Iterate it for the postings of all node-days of a period, equal to what `accounting.reconcile` makes of each.

    ``period`` is ``[start, end)`` in epoch seconds; node-days are UTC days, cut at its borders. ``engine`` is where the
    work is done: ``one`` process, a ``pool`` of ``workers`` (0: as many as processors), or ``dask`` at the address
    ``scheduler``; ``run`` is one that is started already. The answer is the same to the byte. ``models`` and
    ``reasons`` are the texts behind the codes in the batches; during an iteration they only grow. Raises `ValueError`
    for a period or sizes that do not fit into 64 bits.
    """

    def __init__(
        self,
        site: Columns,
        rules: Rules,
        period: tuple[int, int],
        *,
        engine: EngineName = "one",
        workers: int = 0,
        scheduler: str = "",
        run: Engine | None = None,
    ) -> None:
        if period[0] >= period[1]:
            raise ValueError(f"the period [{period[0]}, {period[1]}) is empty")
        if period[1] - period[0] > MOST_CELLS * DAY // 2:
            raise ValueError(f"the period [{period[0]}, {period[1]}) is too long: sweep it month by month")
        self.site, self.rules, self.period = site, rules, period
        self.engine, self.workers, self.scheduler, self.run = engine, workers, scheduler, run
        self._begin()

    def _begin(self) -> None:
        self.reasons = Reasons()
        self._timeline = Timeline(self.site, self.rules, self.period, self.reasons.prepared)
        projects = {name: code for code, name in enumerate(self.site.names.projects)}
        self._codes = Codes(self._timeline.models, self.reasons, projects)

    @property
    def models(self) -> Sequence[str]:
        """GPU models by code."""
        return self._timeline.models.texts

    def __iter__(self) -> Iterator[Batch]:
        self._begin()
        started = engine(self.engine, workers=self.workers, scheduler=self.scheduler)
        with nullcontext(self.run) if self.run else started as run:
            prepared: deque[tuple[NodeDayCutter, int]] = deque()
            for swept in run.map(sweep_part, self._parts(prepared)):
                yield from self._batches(*prepared.popleft(), swept, run)

    def _parts(self, prepared: deque[tuple[NodeDayCutter, int]]) -> Iterator[Part]:
        for chunk in chunks(self.site, self.period):
            cutter = NodeDayCutter(chunk)
            part = prepare(chunk, cutter, self._timeline, self.rules.grace)
            prepared.append((cutter, len(self.reasons.prepared.texts)))
            yield part

    def _batches(self, cutter: NodeDayCutter, known: int, swept: Swept, run: Engine) -> Iterator[Batch]:
        aside = Aside(cutter, swept.windows, self._codes, known)
        days = aside.node_days()
        together = [days[n : n + _TOGETHER] for n in range(0, len(days), _TOGETHER)]
        results = [r for some in run.map(partial(reconcile_all, rules=self.rules), together) for r in some]
        yield Batch(swept.settled, self._unplaced(cutter, swept, aside, results))
        if days:
            yield Batch(aside.settle(swept.unsettled, results))

    def _unplaced(
        self, cutter: NodeDayCutter, swept: Swept, aside: Aside, results: Sequence[NodeDayResult]
    ) -> list[Unplaced]:
        chunk, names = cutter.chunk, self.site.machines
        found = aside.unplaced(results)
        for row, day, second, why in swept.unplaced.tolist():
            machine = names[chunk.first_machine + int(chunk.machine[row])]
            found.append((row, day, second, machine + self.reasons[why]))
        first: dict[tuple[int, int], str] = {}
        for row, day, _, reason in sorted(found, key=lambda lost: lost[:3]):
            first.setdefault((row, day), reason)
        zero = chunk.period[0] // DAY
        return [Unplaced(chunk.first_row + row, zero + day, reason) for (row, day), reason in first.items()]
