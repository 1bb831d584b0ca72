"""The node-days of a day that are to be reconciled, as `accounting.reconcile.sweep` takes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accounting.arrays import Ints
from accounting.evidence.claim_rows import Codes
from accounting.evidence.site_day import SiteDay
from accounting.reconcile.day_cards import cards_of
from accounting.reconcile.sweep import Columns, Keys, Names
from accounting.reconcile.sweep.site_columns import LINKS
from exporters.model import Claim, LinkKind, Scheduler

_KINDS = {kind.value: n for n, kind in enumerate(LINKS)}


class DayColumns:
    """``columns`` of some machines of a day (numbers into `SiteDay.machines`, ascending), for the sweep.

    ``rows`` are the day's rows behind those of the columns; ``jobs`` are the ledger's ids behind its codes of jobs, and
    ``holder`` one row of the day for each.
    """

    def __init__(self, day: SiteDay, which: Sequence[int]) -> None:
        self.day, self.which = day, which
        spans = [np.arange(day.first[m], day.first[m + 1]) for m in which]
        self.rows: Ints = np.concatenate([np.empty(0, dtype=np.int64), *spans])
        self.first = np.concatenate([[0], np.cumsum([len(span) for span in spans])]).astype(np.int64)
        self.units = day.rows.unit[self.rows].tolist()
        self.jobs, self.job = np.unique(day.rows.job[self.rows], return_inverse=True)
        self.unit = self._numbered()
        self._leave_out_twins()
        self.holder = np.zeros(len(self.jobs), dtype=np.int64)
        self.holder[self.job] = self.rows
        self.columns = self._columns()

    def _numbered(self) -> Ints:
        """The place of each row's unit in ``units``; those of one job and unit have one."""
        found = np.arange(len(self.rows))
        first: dict[tuple[int, str], int] = {}
        for n in np.flatnonzero(np.bincount(self.job)[self.job] > 1).tolist():
            found[n] = first.setdefault((int(self.job[n]), self.units[n]), n)
        return found

    def _leave_out_twins(self) -> None:
        """Claims that say the very same are one."""
        rows = self.day.rows
        machine = np.repeat(np.arange(len(self.which)), np.diff(self.first))
        place = (machine << 32) | self.unit  # few claims are of one unit on one machine
        order = np.argsort(place)
        like = place[order][1:] == place[order][:-1]
        for name in ("job", "node", "start", "end", "milligpu"):
            like &= np.diff(getattr(rows, name)[self.rows[order]]) == 0
        again: set[tuple[int, Claim]] = set()
        twins = []
        for n in np.unique(np.concatenate([order[1:][like], order[:-1][like]])).tolist():
            one = (int(machine[n]), self.day.claim(int(self.rows[n])))
            if one in again:
                twins.append(n)
            again.add(one)
        if twins:
            kept = np.ones(len(order), dtype=bool)
            kept[twins] = False
            self.first = np.concatenate([[0], np.cumsum(kept)])[self.first].astype(np.int64)
            self.rows, self.unit, self.job = self.rows[kept], self.unit[kept], self.job[kept]

    def _columns(self) -> Columns:
        day, rows = self.day, self.day.rows.after_each_other(self.rows)
        reader = day.world.reader
        machines = [day.machines[m] for m in self.which]
        places = sorted({(n.scheduler, n.cluster) for n in reader.nodes.values()})
        clusters = sorted({cluster for _, cluster in places})
        size = max(reader.nodes, default=0) + 1
        slurm, cluster = np.zeros(size, dtype=bool), np.zeros(size, dtype=np.int32)
        for number, node in reader.nodes.items():
            slurm[number], cluster[number] = node.scheduler is Scheduler.SLURM, clusters.index(node.cluster)
        named = Codes()
        nodes = named.of(reader.nodes[n].name for n in sorted(reader.nodes))
        name = np.full(size, -1, dtype=np.int32)
        name[sorted(reader.nodes)] = nodes
        natives = Codes()
        keys = self._keys(rows.keys.tolist(), clusters, named, natives)
        return Columns(
            [m.name for m in machines],
            self.first,
            self.job.astype(np.int32),
            self.unit.astype(np.int32),
            day.project[self.rows].astype(np.int32),
            reader.kind(rows).astype(np.int32),
            slurm[rows.node],
            cluster[rows.node],
            np.where(slurm[rows.node], name[rows.node], -1).astype(np.int32),
            natives.known(rows.native.tolist()).astype(np.int32),
            rows.milligpu,
            rows.start,
            rows.end,
            keys,
            [tuple(m.capacity) for m in machines],
            [tuple(m.coverage) for m in machines],
            Names(_Jobs(day, self.holder), self.units, day.projects, reader.kinds.items, clusters),
            _Claims(day, self.rows),
            {(scheduler, cluster): second for m in machines for scheduler, cluster, second in m.known_until},
            {n: tuple(m.rulings) for n, m in enumerate(machines) if m.rulings},
            *cards_of(day, self.which, self.rows, self.first),
        )

    def _keys(self, told: Sequence[str], clusters: Sequence[str], nodes: Codes, natives: Codes) -> Keys:
        """The link keys of rows: their JSON, read together."""
        having = [n for n, text in enumerate(told) if text]
        read = json.loads(f"[{','.join([told[n] for n in having])}]")
        flat = [(n, *key[:3]) for n, some in zip(having, read, strict=True) for key in some]
        row, kind, cluster, value = zip(*flat, strict=True) if flat else ((), (), (), ())
        kinds = np.array([_KINDS[k] for k in kind], dtype=np.int8)
        lends = kinds == _KINDS[LinkKind.LENDS.value]
        code = {name: n for n, name in enumerate(clusters)}
        return Keys(
            np.array(row, dtype=np.int64),
            kinds,
            np.array([code.get(name, -1) for name in cluster], dtype=np.int32),
            np.array([not name for name in cluster], dtype=bool),
            np.where(lends, nodes.known(value), natives.of(value)).astype(np.int32),
        )


@dataclass(frozen=True, slots=True)
class _Jobs(Sequence[Any]):
    """Keys of jobs by code, made when asked for."""

    day: SiteDay
    holder: Ints

    def __len__(self) -> int:
        return len(self.holder)

    def __getitem__(self, code: Any) -> Any:
        return self.day.job_key(int(self.holder[code]))


@dataclass(frozen=True, slots=True)
class _Claims:
    """The claims behind rows of the columns."""

    day: SiteDay
    rows: Ints

    def __call__(self, which: Ints) -> list[Claim]:
        return [self.day.claim(n) for n in self.rows[which].tolist()]
