"""Ledgers told of drawn or made-up days of a few machines, reconciled, and held to the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Engine, select

from accounting.evidence.rulings import add_ruling
from accounting.intake.identities import LIVE, node_ids, put_jobs
from accounting.intake.live.holdings import close, take
from accounting.intake.records import keep
from accounting.intake.rejects import UNPLACED
from accounting.intake.versions import version_of_claim, version_of_record
from accounting.ledger.reconcile_range import ReconcileReport, Site, reconcile_range
from accounting.model import DAY, NodeDay
from accounting.reconcile.rule import Rules
from accounting.store.database import insert_many, read, write
from accounting.store.day_changes import touch_jobs
from accounting.store.rows import compact
from accounting.store.tables import (
    capacity,
    coverage,
    jobs,
    node_days,
    periods,
    postings,
    rejects,
    splits,
    transactions,
)
from exporters.model import Claim, Job, NodeKey, Record, Scheduler
from exporters.recorder import Holding
from tests.accounting import naive
from tests.accounting.node_days import GRACE

FIRST = 20_454 * DAY
"""2026-01-01."""

BOOKS = (postings, transactions, node_days, rejects, periods)
RULES = Rules(grace=GRACE)


@dataclass(frozen=True)
class Told:
    """What a ledger is told of one machine: the node-day as it is drawn, its seconds drawn out over hours or days."""

    day: NodeDay
    number: int
    unit: int
    split: bool
    ruled: bool
    zero: int = FIRST + DAY // 2

    def at(self, moment: int | None) -> int | None:
        return None if moment is None else self.zero + (moment - self.day.start) * self.unit

    def moved(self, item: Any) -> Any:
        return replace(item, start=self.at(item.start), end=self.at(item.end))

    def node(self, name: str) -> str:
        return name.replace("gn09", "n1").replace("n1", f"n{self.number}")

    def claim(self, c: Claim) -> Claim:
        node = c.node._replace(name=self.node(c.node.name))
        keys = tuple(replace(k, value=self.node(k.value)) for k in c.keys)
        return replace(self.moved(c), node=node, keys=keys, job=self.job(c), unit=f"{c.unit}.{self.number}")

    def job(self, c: Any) -> Any:
        return c.job._replace(id=f"{c.job.id}.{self.number}")


def tell(engine: Engine, told: Sequence[Told], end: int) -> None:
    """Write machines' days into an empty ledger."""
    with write(engine) as connection:
        for t in told:
            _tell(connection, t, end)


def _tell(connection: Any, t: Told, end: int) -> None:
    claims = [t.claim(c) for c in t.day.claims]
    slurm = [c for c in claims if c.job.scheduler is Scheduler.SLURM]
    pods = [c for c in claims if c.job.scheduler is not Scheduler.SLURM]
    accounts = {job._replace(id=f"{job.id}.{t.number}"): project for job, project in t.day.projects}

    def job(c: Claim) -> Job:
        return Job(c.job, c.native_id, "", "", "", accounts.get(c.job, ""), "", start=c.start, end=c.end)

    records = [Record("sacct", repr(c), job(c), (c,), pending=c.end is None) for c in slurm]
    put_jobs(connection, [job(c) for c in pods], LIVE, 0)
    keep(connection, [version_of_record(r, "hpc1") for r in records], end)
    keep(connection, [version_of_claim(c, "pods", "prod") for c in pods], end)
    nodes = [NodeKey(s.scheduler, s.cluster, t.node(s.node)) for s in t.day.capacity]
    ids = node_ids(connection, set(nodes))
    first = connection.execute(select(capacity.c.id)).all()
    rows = [
        (
            len(first) + n,
            ids[node],
            "live",
            s.model,
            s.milligpu,
            s.up,
            s.reason,
            "",
            t.at(s.start),
            t.at(s.end),
            "left",
            "",
        )
        for n, (node, s) in enumerate(zip(nodes, t.day.capacity, strict=True), start=1)
    ]
    insert_many(connection, capacity, [c.name for c in capacity.columns], rows)
    first = connection.execute(select(coverage.c.id)).all()
    spans = [
        (len(first) + n, f"s{t.number}", s.scheduler.value, s.cluster, "history", t.at(s.start), t.at(s.end))
        for n, s in enumerate(t.day.coverage, start=1)
    ]
    insert_many(connection, coverage, [c.name for c in coverage.columns], spans)
    for h in t.day.holdings:
        machine, job, unit = f"n{t.number}", t.job(h), f"{h.unit}.{t.number}"
        card = {(machine, h.index, h.uuid, job, unit): (0, 0)}
        opened = take(
            connection, "exporter", [Holding(machine, h.index, h.uuid, job, unit, h.milligpu)], card, t.at(h.start)
        )
        close(connection, [row[0] for row in opened.values()], t.at(h.end))
    if t.split and slurm:
        one = slurm[0]
        told = [[one.node.name, "h100", "", one.milligpu, [1] if one.milligpu == 1000 else [], []]]
        number = connection.execute(select(jobs.c.id).where(jobs.c.run == one.job.id)).scalar_one()
        insert_many(connection, splits, ("id", "job_id", "split", "seen_at"), [(t.number, number, compact(told), 0)])
        touch_jobs(connection, [number])
    if t.ruled and claims:
        one, other = claims[0], claims[-1]
        who = sorted({one.job, other.job})
        add_ruling(connection, f"n{t.number}", who, who[0], author="ann", why="asked both", at=0)


def dump(engine: Engine) -> dict[str, list[Any]]:
    """The books, row by row."""
    with read(engine) as connection:
        return {t.name: [tuple(r) for r in connection.execute(select(t).order_by(*t.primary_key))] for t in BOOKS}


def wandering(key: NodeKey, start: int, end: int) -> Sequence[tuple[str, int, int]]:
    """A node is the machine of its name; Slurm's of the second machine was the first for a day."""
    name = key.name.removesuffix("-slurm")
    move = FIRST + DAY
    if key.name != "n2-slurm" or end <= move:
        return [("n1" if key.name == "n2-slurm" else name, start, end)]
    return [("n1", start, move), ("n2", move, end)] if start < move else [("n2", start, end)]


def project(job: Job, at: float) -> str:
    """The account, and another project from a moment on that is no midnight."""
    return (job.account or "unmapped") + ("-new" if at >= FIRST + DAY + 3600 else "")


def borders(start: int, end: int) -> list[int]:
    return [t for t in (FIRST + DAY + 3600,) if start < t < end]


def agree(engine: Engine, end: int, rules: Rules = RULES) -> None:
    """AssertionError unless the books are those of going node-day by node-day."""
    naive.agree(engine, FIRST, end, wandering, rules, projects=project)


def together(
    engine: Engine, end: int, now: int, settings: str = "", rules: Rules = RULES, **more: Any
) -> ReconcileReport:
    site = Site(wandering, project, borders=borders, settings=settings)
    return reconcile_range(engine, FIRST, end, site, rules, now=now, **more)


def forget(engine: Engine) -> None:
    """Empty the books."""
    with write(engine) as connection:
        connection.execute(rejects.delete().where(rejects.c.kind == UNPLACED))
        for table in (node_days, postings, transactions, periods):
            connection.execute(table.delete())
