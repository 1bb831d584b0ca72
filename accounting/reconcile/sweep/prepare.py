"""Parts out of chunks: all that needs the texts behind the codes is done here, before a part travels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from accounting.arrays import Flags, Ints, distinct
from accounting.reconcile.rule import REMAINDER
from accounting.reconcile.sweep.cards import card_windows
from accounting.reconcile.sweep.chunk import Chunk
from accounting.reconcile.sweep.constant_stretches import Timeline
from accounting.reconcile.sweep.counting.part import Holders, Part, Rows
from accounting.reconcile.sweep.links.link_stretches import Nested, nested
from accounting.reconcile.sweep.node_day_of import NodeDayCutter
from accounting.reconcile.sweep.site_columns import INSIDE, LENDS
from accounting.reconcile.sweep.time_cells import TimeCells, refined


def prepare(chunk: Chunk, cutter: NodeDayCutter, timeline: Timeline, grace: int) -> Part:
    """Follow a chunk's keys, cut its time into cells, and see which claims hold others."""
    cells = timeline.cells(chunk.first_machine, chunk.first_machine + chunk.machines)
    found = nested(chunk, cutter, grace, timeline.reasons)
    strange = distinct(found.strange, _strange_jobs(chunk, found))
    if len(strange):
        cells = _set_aside(chunk, cells, strange)
    windows = card_windows(chunk, found.stretches)
    if len(windows.machine):
        cells = refined(cells, windows, chunk.length)
    columns = (chunk.column(name) for name in ("job", "unit", "project", "model"))
    return Part(
        chunk.first_machine,
        chunk.machines,
        chunk.period[0],
        chunk.length,
        Rows(chunk.machine, chunk.ints("milligpu"), *columns),
        found.stretches,
        _holders(chunk, cutter, timeline, found, cells),
        cells,
        timeline.pool_table(),
        timeline.reasons.code(REMAINDER),
    )


def _strange_jobs(chunk: Chunk, found: Nested) -> Ints:
    """External jobs for which it takes the scalar rules to say who pays the remainder, or what it is."""
    pods, jobs = found.same
    stretches = found.stretches
    order = np.argsort(jobs, kind="stable")
    pods, jobs = pods[order], jobs[order]
    together = jobs[1:] == jobs[:-1]
    differ = np.zeros(len(jobs), dtype=bool)
    for name in ("project", "job"):
        told = chunk.column(name)[pods]
        differ[1:] |= together & (told[1:] != told[:-1])
    nameless = [n for n, project in enumerate(chunk.site.names.projects) if not project]
    differ |= np.isin(chunk.column("project")[pods], nameless)
    external = np.zeros(len(chunk.machine), dtype=bool)
    external[jobs] = external[found.external] = True
    both = [rows for lot in stretches for rows in (lot.row[lot.kind == LENDS], lot.outer[lot.kind == INSIDE])]
    kinds = [rows[external[rows]] for rows in both]
    strange = np.concatenate([jobs[differ], found.external, *kinds, _sharing(chunk, external)])
    living: Ints = strange[chunk.alive[strange]]
    return living


def _sharing(chunk: Chunk, external: Flags) -> Ints:
    """Rows whose job has several on their machine, of which one may be an external job: they have one payer."""
    job = chunk.column("job")
    some = np.zeros(int(job.max(initial=0)) + 1, dtype=bool)
    some[job[external]] = True
    like = np.flatnonzero(some[job] & (chunk.alive | external))
    key = (chunk.machine[like] << 32) | job[like]
    order = np.argsort(key, kind="stable")
    like, key = like[order], key[order]
    same = key[1:] == key[:-1]
    shared = np.zeros(len(like), dtype=bool)
    shared[1:] |= same
    shared[:-1] |= same
    return like[shared]


def _holders(chunk: Chunk, cutter: NodeDayCutter, timeline: Timeline, found: Nested, cells: TimeCells) -> Holders:
    """Lenders, external jobs, and jobs whose pods may be more than fit in."""
    pods, jobs = found.same
    need = np.zeros(len(chunk.machine), dtype=np.int64)
    milligpu = chunk.ints("milligpu")
    for lot in found.stretches:
        inside = np.flatnonzero(lot.kind == INSIDE)
        np.add.at(need, lot.outer[inside], milligpu[lot.row[inside]])
    holding = np.zeros((2, len(chunk.machine)), dtype=bool)
    holding[0, found.lenders] = holding[1, jobs] = True
    watched = (need > milligpu) & ~holding.any(axis=0)
    rows = np.flatnonzero((holding.any(axis=0) | watched) & chunk.alive)
    payer, pod_job = -np.ones(len(chunk.machine), np.int32), -np.ones(len(chunk.machine), np.int32)
    payer[jobs], pod_job[jobs] = chunk.column("project")[pods], chunk.column("job")[pods]
    lends, same = holding[:, rows]
    situation_key, lent, why = _lent(chunk, cutter, timeline, rows, np.flatnonzero(lends), cells)
    return Holders(
        rows,
        chunk.start[rows],
        chunk.end[rows],
        lends,
        same,
        payer[rows],
        pod_job[rows],
        situation_key,
        lent,
        why,
    )


def _lent(
    chunk: Chunk, cutter: NodeDayCutter, timeline: Timeline, rows: Ints, lenders: Ints, cells: TimeCells
) -> tuple[Ints, Ints, Ints]:
    """What the free cards of each lender are in each situation of its machine: fields of `Holders`."""
    situations: dict[int, list[int]] = defaultdict(list)
    for pair in distinct((cells.machine << 32) | cells.situation).tolist():
        situations[pair >> 32].append(pair & 0xFFFFFFFF)
    machine = chunk.machine[rows[lenders]].tolist()
    told = []
    for holder, m, claim in zip(lenders.tolist(), machine, cutter.read(rows[lenders]), strict=True):
        told += [((holder << 32) | situation, *timeline.lent(claim, situation)) for situation in situations[m]]
    key, account, why = np.array(told, dtype=np.int64).reshape(-1, 3).T
    return key, account, why


def _set_aside(chunk: Chunk, cells: TimeCells, rows: Ints) -> TimeCells:
    """Leave the node-days of some rows to the scalar rules."""
    days = int(cells.day.max()) + 1
    aside = np.zeros((chunk.machines, days), dtype=bool)
    for machine, first, last in zip(*(column.tolist() for column in chunk.days(rows)), strict=True):
        aside[machine, first : last + 1] = True
    return replace(cells, skip=cells.skip | aside[cells.machine, cells.day])
