"""What sources told a ledger, in histories and live readings, and the node-days that are read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any

from sqlalchemy import Engine

from accounting.evidence.questions import Projects, Resolver
from accounting.evidence.site_day import SiteDay
from accounting.intake.history import ingest_history
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.ledger.day_worker import Range, Site, Worker
from accounting.model import NodeDay
from accounting.periods.check import check
from accounting.periods.proofs import Breach
from accounting.periods.rederive import rederived
from accounting.reconcile.rule import Rules
from accounting.store.calendar import segments
from accounting.store.database import read
from exporters.model import Claim, Job, Node, NodeEvent, NodeKey, Record, Reject, Scheduler
from exporters.recorder import Round, SourceReading
from tests.accounting.site import (
    DAY,
    T0,
    History,
)


def same_name(key: NodeKey, start: int, end: int) -> Sequence[tuple[str, int, int]]:
    return [(key.name, start, end)]


def unmapped(job: Job, at: float) -> str:
    return ""


def site_days(
    engine: Engine,
    start: int = T0,
    end: int = T0 + DAY,
    resolver: Resolver = same_name,
    *,
    zone: tzinfo = UTC,
    projects: Projects = unmapped,
    present: Resolver | None = None,
) -> list[SiteDay]:
    """What is known of each day that touches ``[start, end)``."""
    spans = [(a, min(b, end)) for a, b in segments(start, end, zone)]
    with read(engine) as connection:
        worker = Worker(connection, Range(Site(resolver, projects, present), Rules(), spans, zone))
        return [worker.site_day(connection, a, b) for a, b in spans]


def node_day(day: SiteDay, machine: int) -> NodeDay:
    """One node-day of a day, as the rule takes it."""
    here = day.machines[machine]
    rows = range(int(day.first[machine]), int(day.first[machine + 1]))
    projects = {day.job_key(n): day.projects[day.project[n]] for n in rows}
    claims = {day.claim(n) for n in rows}
    return NodeDay(
        here.name,
        day.start,
        day.end,
        tuple(sorted(claims, key=lambda c: (c.start, c.job, repr(c)))),
        tuple(sorted(here.capacity)),
        tuple(here.coverage),
        tuple(sorted((job, project) for job, project in projects.items() if project)),
        tuple(here.known_until),
        tuple(here.rulings),
        tuple(here.holdings),
    )


def days(engine: Engine, *span: int, **more: Any) -> list[NodeDay]:
    """Every node-day of `site_days`."""
    return [node_day(day, m) for day in site_days(engine, *span, **more) for m in range(len(day.machines))]


def proved(
    engine: Engine,
    resolver: Resolver = same_name,
    *,
    rules: Rules | None = None,
    zone: tzinfo = UTC,
    projects: Projects = unmapped,
    present: Resolver | None = None,
) -> list[Breach]:
    """All that a check of a site's books finds."""
    derived = rederived(engine, Site(resolver, projects, present), rules or Rules(), zone)
    return [*check(engine), *derived.breaches]


def history(engine: Engine, *rows: Record | Reject, events: Sequence[NodeEvent] = (), now: int = T0 + DAY) -> None:
    ingest_history(engine, History(rows, events), now=now, start=T0)


def live(
    engine: Engine,
    at: int,
    nodes: Sequence[Node] = (),
    claims: Sequence[Claim] = (),
    jobs: Sequence[Job] = (),
    **more: Any,
) -> None:
    kube = SourceReading(
        "pods",
        "kube",
        at,
        [j for j in jobs if j.key.scheduler is Scheduler.KUBERNETES],
        [c for c in claims if c.job.scheduler is Scheduler.KUBERNETES],
        more.get("gone", ()),
        [n for n in nodes if n.key.scheduler is Scheduler.KUBERNETES],
        scheduler="kubernetes",
    )
    slurm = SourceReading(
        "slurmctld",
        "lab",
        at,
        [j for j in jobs if j.key.scheduler is Scheduler.SLURM],
        [c for c in claims if c.job.scheduler is Scheduler.SLURM],
        (),
        [n for n in nodes if n.key.scheduler is Scheduler.SLURM],
        scheduler="slurm",
    )
    LedgerRecorder(engine, gap=more.get("gap", 3600)).record(Round(at, [kube, slurm], [], []))


def spans(day: NodeDay) -> list[tuple[str, str, int, int | None]]:
    return [(c.job.id, c.node.name, c.start, c.end) for c in day.claims]
