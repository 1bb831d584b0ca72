"""Between the sweep's columns and nouns: a site's claims into columns, a node-day out of them, and postings back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from accounting.evidence.known_cards import unit_of
from accounting.model import CapacityStretch, CoverageStretch, HoldingStretch, NodeDay, Posting, Ruling
from accounting.reconcile.sweep.cards import Claimed, Told, seen
from accounting.reconcile.sweep.chunk import chunk
from accounting.reconcile.sweep.node_day_of import NodeDayCutter
from accounting.reconcile.sweep.run import Batch, Sweep
from accounting.reconcile.sweep.site_columns import LINKS, Columns, Keys, Names
from accounting.reconcile.sweep.table import ACCOUNTS
from exporters.join.cards import named
from exporters.join.links import end_of
from exporters.join.projects import UNMAPPED
from exporters.model import Claim, JobKey, LinkKind, Scheduler


def columns_of(
    claims: Mapping[str, Iterable[Claim]],
    capacity: Mapping[str, Sequence[CapacityStretch]],
    coverage: Mapping[str, Sequence[CoverageStretch]],
    projects: Mapping[JobKey, str],
    known_until: Mapping[tuple[Scheduler, str], int] | None = None,
    rulings: Mapping[str, Sequence[Ruling]] | None = None,
    holdings: Mapping[str, Sequence[HoldingStretch]] | None = None,
) -> Columns:
    """Columns of a site's claims, by machine. The same claims give the same columns, in whatever order they come.

    Raises `ValueError` for a claim whose node is of another scheduler or cluster than its job.
    """
    machines = sorted({*claims, *capacity})
    every = [(m, c) for m, name in enumerate(machines) for c in sorted(claims.get(name, ()), key=_order)]
    for _, c in every:
        if (c.job.scheduler, c.job.cluster) != (c.node.scheduler, c.node.cluster):
            raise ValueError(
                f"claim of job {c.job} is on node {c.node}: a job's claims are on nodes of its own cluster"
            )
    rows = [c for _, c in every]
    slurm = np.array([c.job.scheduler is Scheduler.SLURM for c in rows], dtype=bool)
    jobs, units = _Coder(c.job for c in rows), _Coder(c.unit for c in rows)
    names = _Coder(projects.get(c.job, UNMAPPED) for c in rows)
    models = _Coder((c.model, c.profile) for c in rows)
    clusters = _Coder(c.job.cluster for c in rows)
    nodes = _Coder(c.node.name for c in rows if c.job.scheduler is Scheduler.SLURM)
    natives = _Coder(c.native_id for c in rows)
    keys = [(row, key) for row, c in enumerate(rows) for key in c.keys]
    first = np.searchsorted([m for m, _ in every], np.arange(len(machines) + 1)).astype(np.int64)
    unit = units.codes(c.unit for c in rows)
    milligpu = np.array([c.milligpu for c in rows], dtype=np.int64)
    start = np.array([c.start for c in rows], dtype=np.int64)
    end = np.array([end_of(c) for c in rows], dtype=np.int64)
    held = [tuple(sorted((holdings or {}).get(name, ()))) for name in machines]
    return Columns(
        machines,
        first,
        jobs.codes(c.job for c in rows),
        unit,
        names.codes(projects.get(c.job, UNMAPPED) for c in rows),
        models.codes((c.model, c.profile) for c in rows),
        slurm,
        clusters.codes(c.job.cluster for c in rows),
        nodes.codes(c.node.name if c.job.scheduler is Scheduler.SLURM else None for c in rows),
        natives.codes(c.native_id for c in rows),
        milligpu,
        start,
        end,
        Keys(
            np.array([row for row, _ in keys], dtype=np.int64),
            np.array([LINKS.index(key.kind) for _, key in keys], dtype=np.int8),
            clusters.codes(key.cluster for _, key in keys),
            np.array([not key.cluster for _, key in keys], dtype=bool),
            np.where(
                [key.kind is LinkKind.LENDS for _, key in keys],
                nodes.codes(key.value for _, key in keys),
                natives.codes(key.value for _, key in keys),
            ).astype(np.int32),
        ),
        [tuple(capacity.get(name, ())) for name in machines],
        [tuple(coverage.get(name, ())) for name in machines],
        Names(jobs.values, units.values, names.values, models.values, clusters.values),
        lambda which: [rows[n] for n in which.tolist()],
        dict(known_until or {}),
        {m: tuple(rulings[name]) for m, name in enumerate(machines) if rulings and name in rulings},
        seen(Claimed(first, unit, start, end, milligpu), _told(every, held)),
        lambda machine, a, b: [
            replace(h, start=max(a, h.start), end=min(b, h.end)) for h in held[machine] if h.start < b and h.end > a
        ],
    )


def _told(every: Sequence[tuple[int, Claim]], held: Sequence[Sequence[HoldingStretch]]) -> Told:
    """What is told of the cards of rows (machine and claim), by themselves and by what was seen on each machine."""
    of: dict[Any, list[int]] = defaultdict(list)
    for row, (machine, c) in enumerate(every):
        of[machine, unit_of(c.job, c.unit)].append(row)
    found: list[tuple[Any, ...]] = [
        (row, h.start, h.end, h.index, h.uuid, h.milligpu, False)
        for machine, stretches in enumerate(held)
        for h in stretches
        for row in of.get((machine, unit_of(h.job, h.unit)), ())
    ]
    for number, (_, c) in enumerate(every):
        found += [(number, c.start, end_of(c), t.index, t.uuid, t.milligpu, True) for t in named(c)[0]]
    uuids = _Coder(uuid for *_, uuid, _, _ in found if uuid)
    rows, starts, ends, numbers, amounts = (np.array([f[n] for f in found], dtype=np.int64) for n in (0, 1, 2, 3, 5))
    codes = uuids.codes(f[4] for f in found).astype(np.int64)
    return Told(rows, starts, ends, numbers, codes, amounts, np.array([f[6] for f in found], dtype=bool))


def node_day(site: Columns, machine: int, start: int, end: int) -> NodeDay:
    """One node-day out of a site's columns, as the scalar `accounting.reconcile.rule.reconcile` takes it."""
    cutter = NodeDayCutter(chunk(site, (start, end), machine, machine + 1))
    rows = cutter.around(0, cutter.holding(0, 0, end - start), 0, end - start)
    return cutter.node_day(0, 0, end - start, rows)


def postings_of(batch: Batch, sweep: Sweep) -> dict[tuple[str, int], list[Posting]]:
    """Postings by machine and UTC day (days since 1970), each node-day's in the order in which `reconcile` has them."""
    site, names = sweep.site, sweep.site.names
    found: dict[tuple[str, int], list[Posting]] = defaultdict(list)
    for row in zip(*(batch.columns[name].tolist() for name in _Row._fields), strict=True):
        p = _Row._make(row)
        owned = p.job >= 0
        found[site.machines[p.machine], p.day].append(
            Posting(
                account=ACCOUNTS[p.account],
                model=sweep.models[p.model],
                quantity=p.quantity,
                project=names.projects[p.project] if owned else "",
                job=names.jobs[p.job] if owned else None,
                unit=names.units[p.unit] if owned else "",
                start=p.start,
                end=p.end,
                held=p.held,
                link=LINKS[p.link] if p.link >= 0 else None,
                linked=names.jobs[p.linked] if p.linked >= 0 else None,
                reason=sweep.reasons[p.reason],
            )
        )
    return {place: sorted(postings, key=_posting_order) for place, postings in found.items()}


class _Row(NamedTuple):
    """One row of a batch."""

    machine: int
    day: int
    account: int
    model: int
    quantity: int
    project: int
    job: int
    unit: int
    start: int
    end: int
    held: int
    link: int
    linked: int
    reason: int


class _Coder:
    """Numbers things in their own order, so that the numbers do not depend on the order of the input."""

    def __init__(self, values: Iterable[Any]) -> None:
        self.values = sorted(set(values))
        self.numbers = {value: n for n, value in enumerate(self.values)}

    def codes(self, values: Iterable[Any]) -> np.typing.NDArray[np.int32]:
        """The number of each, -1 for what is not known."""
        return np.array([self.numbers.get(value, -1) for value in values], dtype=np.int32)


def _order(claim: Claim) -> tuple[object, ...]:
    head = (claim.start, claim.job, claim.unit, claim.node, end_of(claim), claim.milligpu, claim.model, claim.profile)
    rest = (claim.native_id, claim.indices, claim.uuids, claim.keys, claim.split_assumed, claim.end_basis)
    return (*head, *rest)


def _posting_order(p: Posting) -> tuple[str, ...]:
    return (p.account, p.model, p.project, str(p.job), p.unit, p.link or "", str(p.linked), p.reason)
