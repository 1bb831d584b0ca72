"""The oracle of usage: the postings that stand for a stretch of time, added up one by one.

These are what statement lines are made from. Telemetry of a job with several lines is shared among them by what each
held on that machine and day, so that a joule is shown once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Select, func, select

from accounting.ledger.booking import CORRECTION
from accounting.model import CAPACITY
from accounting.store.database import chunks, read
from accounting.store.rows import JOB_COLUMNS, job_of
from accounting.store.tables import jobs as jobs_table
from accounting.store.tables import node_days, periods, postings, telemetry, transactions
from exporters.model import Disposition, Job
from tests.accounting.plain_lines import Usage

MOST_REASONS = 4
"""Distinct reasons told on one usage; of more, their number."""


class Group(NamedTuple):
    """What makes postings one usage. ``account`` is a disposition's word, empty for a record that is only shown."""

    project: str
    job_id: int | None
    model: str
    account: str
    linked_id: int | None


@dataclass(slots=True)
class _Sum:
    quantity: int
    held: int
    start: int
    end: int


_D, _P, _T, _M = node_days.c, postings.c, transactions.c, telemetry.c
_GROUP = (_P.project, _P.job_id, _P.model, _P.account, _P.linked_id)
MEASURES = ("gpu_seconds", "active_seconds", "energy_joules", "samples_seen", "samples_expected")
"""The columns of ``telemetry`` that lines show."""


def usage(engine: Engine, start: int, end: int) -> list[Usage]:
    """What stands for the node-days that begin in ``[start, end)``, in a stable order.

    The sum of ``charged`` over the six dispositions is the capacity. Corrections booked elsewhere are not in it, so a
    closed month's usage never changes: see `corrections`.
    """
    standing = (_D.start_at >= start, _D.start_at < end)
    with read(engine) as connection:
        query = select(*_GROUP).join(node_days, _D.transaction_id == _P.transaction_id).where(*standing)
        groups, reasons = _sums(connection, query)
        jobs = _jobs(connection, groups)
        measured = _telemetry(connection, groups, start, end)
    found = [_usage(g, s, reasons.get(g, ()), jobs, measured.get(g, ())) for g, s in groups.items()]
    return sorted(found, key=usage_order)


class Correction(NamedTuple):
    """What is booked about a closed month: a difference, which may be negative, and the line of it that it corrects.

    ``line`` is a usage of the closed month, of which only what a line is named by is known
    (`tests.accounting.plain_rating.line_id`); None where that month has no line of the job and model.
    """

    month: str
    usage: Usage
    line: Usage | None


def corrections(engine: Engine, period: str) -> list[Correction]:
    """Corrections booked in a period, each with the closed period that it corrects. Quantities may be negative."""
    with read(engine) as connection:
        names = connection.execute(select(periods.c.name, periods.c.start_at, periods.c.end_at)).all()
        found: list[Correction] = []
        for name, start, end in sorted(names, key=lambda n: n[1]):
            query = (
                select(*_GROUP)
                .join(transactions, _T.id == _P.transaction_id)
                .where(_T.kind == CORRECTION, _T.period == period, _T.start_at >= start, _T.start_at < end)
            )
            groups, reasons = _sums(connection, query)
            groups = {g: s for g, s in groups.items() if s.quantity or s.held}
            there = _lines_there(connection, groups, start, end)
            jobs = _jobs(connection, [*groups, *(g for lines in there.values() for g in lines)])
            lines = {
                place: [_usage(g, _Sum(0, 0, start, start), (), jobs, ()) for g in some]
                for place, some in there.items()
            }
            usages = [
                (_usage(g, s, reasons.get(g, ()), jobs, ()), lines.get((g.job_id, g.model), ()))
                for g, s in groups.items()
            ]
            found += [Correction(name, u, _line_of(u, some)) for u, some in sorted(usages, key=_by_usage)]
    return found


def _by_usage(found: tuple[Usage, Sequence[Usage]]) -> tuple[str, ...]:
    return usage_order(found[0])


def _lines_there(
    connection: Connection, groups: Iterable[Group], start: int, end: int
) -> dict[tuple[int | None, str], list[Group]]:
    """What stands for the node-days that begin in ``[start, end)`` of the jobs and models of some groups."""
    found: dict[tuple[int | None, str], list[Group]] = defaultdict(list)
    stands = (_D.start_at >= start, _D.start_at < end)
    query = select(*_GROUP).join(node_days, _D.transaction_id == _P.transaction_id).where(*stands)
    for part in chunks(sorted({g.job_id for g in groups if g.job_id is not None})):
        for row in connection.execute(query.where(_P.job_id.in_(part)).distinct()):
            found[row[1], row[2]].append(Group(*row))
    for g in groups:
        if g.job_id is None:  # there are as many postings of these as node-days: it is enough to see one
            like = (_P.project == g.project, _P.model == g.model, _P.account == g.account, _P.job_id.is_(None))
            if connection.execute(query.where(*like).limit(1)).first() is not None:
                found[None, g.model].append(g)
    return found


def _line_of(u: Usage, lines: Iterable[Usage]) -> Usage | None:
    """The line of a closed month that a correction corrects: the very same one, else the nearest of that job and model.

    A ruling or a late record may charge what was on another account, for another project or beside another job.
    """
    if u.job is None:
        lines = [line for line in lines if line.disposition is u.disposition]

    def distance(line: Usage) -> tuple[Any, ...]:
        return line.disposition != u.disposition, line.project != u.project, line.linked != u.linked, usage_order(line)

    return min(lines, key=distance, default=None)


def usage_order(u: Usage) -> tuple[str, ...]:
    """Sort key: project, job, model, disposition, linked record."""
    return (u.project, str(u.job or ""), u.gpu_model, u.disposition.value if u.disposition else "", str(u.linked or ""))


def _sums(connection: Connection, query: Select[Any]) -> tuple[dict[Group, _Sum], Mapping[Group, Sequence[str]]]:
    """Sums and distinct reasons of the postings of ``query``, by group."""
    query = query.where(_P.account != CAPACITY)
    sums = query.add_columns(
        func.sum(_P.quantity), func.sum(_P.held), func.min(_P.start_at), func.max(_P.end_at)
    ).group_by(*_GROUP)
    groups = {Group(*row[:5]): _Sum(int(row[5]), int(row[6]), row[7], row[8]) for row in connection.execute(sums)}
    reasons: dict[Group, list[str]] = defaultdict(list)
    told = query.add_columns(_P.reason).where(_P.reason != "").distinct()
    for *group, reason in connection.execute(told):
        reasons[Group(*group)].append(reason)
    return groups, {g: sorted(r) for g, r in reasons.items()}


def _jobs(connection: Connection, groups: Iterable[Group]) -> dict[int, Job]:
    ids = sorted({n for g in groups for n in (g.job_id, g.linked_id) if n is not None})
    columns = [jobs_table.c[name] for name in JOB_COLUMNS]
    found: dict[int, Job] = {}
    for part in chunks(ids):
        for number, *values in connection.execute(select(jobs_table.c.id, *columns).where(jobs_table.c.id.in_(part))):
            found[number] = job_of(values)
    return found


def _usage(group: Group, s: _Sum, reasons: Sequence[str], jobs: Mapping[int, Job], measured: Sequence[float]) -> Usage:
    told = list(reasons[:MOST_REASONS])
    if len(reasons) > MOST_REASONS:
        told.append(f"and {len(reasons) - MOST_REASONS} more reasons")
    job = jobs[group.job_id] if group.job_id is not None else None
    observed, active, joules, seen, expected = measured or (0.0, 0.0, 0.0, 0, 0)
    return Usage(
        project=group.project,
        job=job.key if job else None,
        gpu_model=group.model,
        disposition=Disposition(group.account) if group.account else None,
        held=s.held,
        charged=s.quantity,
        start=s.start,
        end=s.end,
        job_name=job.name if job else "",
        user=job.user if job else "",
        account=job.account if job else "",
        partition=job.partition if job else "",
        qos=job.qos if job else "",
        linked=jobs[group.linked_id].key if group.linked_id is not None else None,
        reason="; ".join(told),
        observed_gpu_seconds=observed,
        active_seconds=active,
        energy_joules=joules,
        samples_seen=round(seen),
        samples_expected=round(expected),
    )


def _telemetry(connection: Connection, groups: Iterable[Group], start: int, end: int) -> dict[Group, list[float]]:
    """What was measured, by group, in the order of `MEASURES`."""
    by_job: dict[int, list[Group]] = defaultdict(list)
    for g in groups:
        if g.job_id is not None:
            by_job[g.job_id].append(g)
    inside = (_M.start_at >= start, _M.start_at < end)
    sums = [func.sum(_M[name]) for name in MEASURES]
    found: dict[Group, list[float]] = {}
    for number, *values in connection.execute(select(_M.job_id, *sums).where(*inside).group_by(_M.job_id)):
        if len(by_job.get(number, ())) == 1:
            found[by_job[number][0]] = [float(v) for v in values]
    share(connection, sorted(number for number, lines in by_job.items() if len(lines) > 1), (start, end), found)
    return found


def share(
    connection: Connection, job_ids: Sequence[int], span: tuple[int, int], found: dict[Group, list[float]]
) -> None:
    """Share the telemetry of jobs with several lines among them, by what each held on that machine and day."""
    for part in chunks(job_ids):
        _share(connection, part, span, found)


def _share(
    connection: Connection, job_ids: Sequence[int], span: tuple[int, int], found: dict[Group, list[float]]
) -> None:
    start, end = span
    held: dict[tuple[int, str, str, int], dict[Group, int]] = defaultdict(dict)
    query = (
        select(*_GROUP, _P.unit, _D.machine, _D.start_at, func.sum(_P.quantity), func.sum(_P.held))
        .join(node_days, _D.transaction_id == _P.transaction_id)
        .where(_D.start_at >= start, _D.start_at < end, _P.job_id.in_(job_ids))
        .group_by(*_GROUP, _P.unit, _D.machine, _D.start_at)
        .order_by(*_GROUP)
    )
    lines: dict[int, Group] = {}
    for *group, unit, machine, day, quantity, holds in connection.execute(query):
        g = Group(*group)
        held[g.job_id or 0, unit, machine, day][g] = max(int(quantity), int(holds))
        lines.setdefault(g.job_id or 0, g)
    rows = select(_M.job_id, _M.unit, _M.machine, _M.start_at, *(_M[n] for n in MEASURES))
    for number, unit, machine, day, *values in connection.execute(
        rows.where(_M.job_id.in_(job_ids), _M.start_at >= start, _M.start_at < end)
    ):
        weights = held.get((number, unit, machine, day)) or {lines[number]: 1}
        total = sum(weights.values()) or 1
        for g, weight in weights.items():
            sums = found.setdefault(g, [0.0] * len(MEASURES))
            for n, value in enumerate(values):
                sums[n] += float(value) * weight / total
