"""What sources told a ledger, in histories and live readings, and the node-days that are read back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine

from accounting.evidence.node_days import node_days
from accounting.intake.history import ingest_history
from accounting.intake.live_recorder import LedgerRecorder
from accounting.model import NodeDay
from exporters.model import Claim, Job, Node, NodeEvent, NodeKey, Record, Reject, Scheduler
from exporters.recorder import Round, SourceReading
from tests.accounting.site import (
    DAY,
    T0,
    History,
)


def same_name(key: NodeKey, start: int, end: int) -> Sequence[tuple[str, int, int]]:
    return [(key.name, start, end)]


def days(engine: Engine, start: int = T0, end: int = T0 + DAY, resolver: Any = same_name, **more: Any) -> list[NodeDay]:
    return list(node_days(engine, start, end, resolver, **more))


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
