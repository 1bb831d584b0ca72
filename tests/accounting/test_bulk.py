"""A whole range by columns, held to going node-day by node-day: the same inputs, the same hashes, the same books."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from accounting.bulk.run import Range, Site, reconcile_whole
from accounting.bulk.site import SiteDay
from accounting.bulk.working import Worker
from accounting.database import insert_many, read, write
from accounting.evidence import node_days as scalar_days
from accounting.holdings import close, take
from accounting.identities import LIVE, node_ids, put_jobs
from accounting.ledger import inputs_hash
from accounting.model import DAY, CapacityStretch, CoverageStretch, NodeDay
from accounting.periods import segments
from accounting.reconcile import Rules, reconcile
from accounting.reconciling import ReconcileReport, reconcile_range, rules_hash
from accounting.records import keep, version_of_claim, version_of_record
from accounting.rejects import UNPLACED
from accounting.rows import compact
from accounting.rulings import add_ruling
from accounting.tables import (
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
from accounting.touched import touch_jobs
from exporters.model import Claim, Job, NodeKey, Record, Scheduler
from exporters.recorder import Holding
from tests.accounting.conftest import NewLedger
from tests.accounting.node_days import END, GRACE, START
from tests.accounting.node_days import node_days as drawn_days
from tests.exporters.records import made_by, pod, run

FIRST = 20_454 * DAY
"""2026-01-01."""

BOOKS = (postings, transactions, node_days, rejects, periods)
RULES = Rules(grace=GRACE)
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


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
        node = replace(c.node, name=self.node(c.node.name))
        keys = tuple(replace(k, value=self.node(k.value)) for k in c.keys)
        return replace(self.moved(c), node=node, keys=keys, job=self.job(c), unit=f"{c.unit}.{self.number}")

    def job(self, c: Any) -> Any:
        return replace(c.job, id=f"{c.job.id}.{self.number}")


def tell(engine: Engine, told: Sequence[Told], end: int) -> None:
    """Write machines' days into an empty ledger."""
    with write(engine) as connection:
        for t in told:
            _tell(connection, t, end)


def _tell(connection: Any, t: Told, end: int) -> None:
    claims = [t.claim(c) for c in t.day.claims]
    slurm = [c for c in claims if c.job.scheduler is Scheduler.SLURM]
    pods = [c for c in claims if c.job.scheduler is not Scheduler.SLURM]
    accounts = {replace(job, id=f"{job.id}.{t.number}"): project for job, project in t.day.projects}

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
        (len(first) + n, ids[node], "live", s.model, s.milligpu, s.up, s.reason, "", t.at(s.start), t.at(s.end), "left")
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


def singly(engine: Engine, end: int, now: int) -> ReconcileReport:
    told = rules_hash(RULES.text())
    rule = partial(reconcile, rules=RULES)
    return reconcile_range(engine, FIRST, end, wandering, rule, projects=project, rules_hash=told, now=now)


def together(engine: Engine, end: int, now: int, settings: str = "", **more: Any) -> ReconcileReport:
    site = Site(wandering, project, borders=borders, settings=settings)
    return reconcile_whole(engine, FIRST, end, site, RULES, now=now, **more)


def forget(engine: Engine) -> None:
    """Empty the books."""
    with write(engine) as connection:
        connection.execute(rejects.delete().where(rejects.c.kind == UNPLACED))
        for table in (node_days, postings, transactions, periods):
            connection.execute(table.delete())


@st.composite
def sites(draw: st.DrawFn) -> list[Told]:
    unit = draw(st.sampled_from([600, 3 * 3600]))
    days = draw(st.lists(drawn_days(), min_size=1, max_size=2))
    return [Told(day, n, unit, draw(st.booleans()), draw(st.booleans())) for n, day in enumerate(days, start=1)]


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
@given(told=sites())
def test_the_books_are_those_of_going_node_day_by_node_day(new_ledger: NewLedger, told: list[Told]) -> None:
    engine = new_ledger()
    end = FIRST + DAY // 2 + (END - START) * told[0].unit + DAY
    tell(engine, told, end)
    one, now = singly(engine, end, end), dump(engine)
    again = together(engine, end, end)
    forget(engine)
    other = together(engine, end, end)

    assert (0, one.node_days) == (again.posted, again.unchanged)
    assert one == other
    assert now == dump(engine)


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
@given(told=sites(), rng=st.randoms(use_true_random=False))
def test_no_day_that_has_changed_is_taken_for_one_that_has_not(
    new_ledger: NewLedger, told: list[Told], rng: random.Random
) -> None:
    engine = new_ledger()
    end = FIRST + DAY // 2 + (END - START) * told[0].unit + DAY
    early = [replace(t, day=part_of(t.day, rng), split=False, ruled=False) for t in told]
    tell(engine, early, end)
    together(engine, end, end, settings="as they are")
    tell(engine, [rest_of(t, e) for t, e in zip(told, early, strict=True)], end + 1)
    together(engine, end, end, settings="as they are")
    again = singly(engine, end, end)

    assert (again.node_days, 0) == (again.unchanged, again.withdrawn)


def part_of(day: NodeDay, rng: random.Random) -> NodeDay:
    """What is known of a day before the rest is."""
    known = (day.claims, day.capacity, day.coverage, day.holdings)
    claims, sizes, covered, seen = (tuple(x for x in some if rng.random() < 0.8) for some in known)
    return replace(day, claims=claims, capacity=sizes, coverage=covered, holdings=seen)


def rest_of(told: Told, early: Told) -> Told:
    """What comes later."""
    names = ("claims", "capacity", "coverage", "holdings")
    rest = {name: tuple(x for x in getattr(told.day, name) if x not in getattr(early.day, name)) for name in names}
    return replace(told, day=replace(told.day, **rest))


def test_a_day_of_which_nothing_has_changed_is_not_read_again(
    new_ledger: NewLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = new_ledger()
    end = FIRST + 9 * DAY
    runs = tuple(run(n, 1000, n * DAY - DAY + 60, n * DAY - DAY + 600, node="n1-slurm") for n in range(1, 10))
    sizes = (CapacityStretch(0, 9 * DAY, Scheduler.SLURM, "hpc1", "n1-slurm", "h100", 1000, up=True),)
    covered = (CoverageStretch(0, 9 * DAY, Scheduler.SLURM, "hpc1"),)
    told = Told(NodeDay("n1", 0, 9 * DAY, runs, sizes, covered), 1, 1, split=False, ruled=False, zero=FIRST)
    tell(engine, [told], end)
    first = together(engine, end, end, settings="these")
    days: list[int] = []
    whole = Worker.site_day

    def counting(worker: Worker, connection: Any, a: int, b: int) -> SiteDay:
        days.append(a)
        return whole(worker, connection, a, b)

    monkeypatch.setattr(Worker, "site_day", counting)
    second = together(engine, end, end, settings="these")
    unread = [*days]
    tell_late(engine, told, run(10, 1000, 4 * DAY + 7000, 4 * DAY + 9000, node="n1-slurm"))
    third = together(engine, end, end, settings="these")
    changed = [*days]
    tell_late(engine, told, run(11, 1000, 6 * DAY + 700, 6 * DAY + 900, node="n1-slurm"))
    together(engine, end, end, settings="these")
    near = days[len(changed) :]
    together(engine, end, end, settings="others")

    assert (9, 9, []) == (first.posted, second.unchanged, unread)
    assert (1, 8) == (third.reposted, third.unchanged)
    assert [FIRST + 4 * DAY] == changed
    assert [FIRST + 5 * DAY, FIRST + 6 * DAY] == near  # a key may tie it to what ended shortly before midnight
    assert 9 == len(days) - len(changed) - len(near)


def tell_late(engine: Engine, told: Told, claim: Claim) -> None:
    """One more record of a machine."""
    tell(engine, [replace(told, day=NodeDay("n1", 0, told.day.end, (claim,), (), ()))], FIRST + told.day.end)


def test_a_day_whose_claims_are_tied_to_what_has_changed_is_read_again(new_ledger: NewLedger) -> None:
    engine = new_ledger()
    end = FIRST + 3 * DAY
    named = pod("late", 1000, DAY + 600, DAY + 3000, made_by(7))
    sizes = (CapacityStretch(0, 3 * DAY, Scheduler.SLURM, "hpc1", "n1-slurm", "h100", 1000, up=True),)
    told = Told(NodeDay("n1", 0, 3 * DAY, (named,), sizes, ()), 1, 1, split=False, ruled=False, zero=FIRST)
    tell(engine, [told], end)
    together(engine, end, end, settings="these")
    yesterday = NodeDay("n1", 0, 3 * DAY, (run(7, 1000, DAY - 7000, DAY - 60, node="n1-slurm"),), (), ())
    tell(engine, [replace(told, day=yesterday)], end)
    together(engine, end, end, settings="these")
    again = singly(engine, end, end)

    assert (3, 0) == (again.unchanged, again.reposted)


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
@given(told=sites())
def test_the_inputs_are_those_of_going_node_day_by_node_day(new_ledger: NewLedger, told: list[Told]) -> None:
    engine = new_ledger()
    end = FIRST + DAY // 2 + (END - START) * told[0].unit + DAY
    tell(engine, told, end)
    expected = list(scalar_days(engine, FIRST, end, wandering, projects=project))
    days = site_days(engine, end)

    assert [inputs_hash(day) for day in expected] == [digest for day in days for digest in day.hashes]
    assert [content(day) for day in expected] == [
        content(day.node_day(m)) for day in days for m in range(len(day.machines))
    ]


def site_days(engine: Engine, end: int) -> list[SiteDay]:
    segments_ = [(a, min(b, end)) for a, b in segments(FIRST, end)]
    with read(engine) as connection:
        worker = Worker(connection, Range(Site(wandering, project), RULES, segments_, UTC))
        return [worker.site_day(connection, a, b) for a, b in segments_]


def content(day: NodeDay) -> NodeDay:
    """A node-day in a stable order."""
    return replace(day, claims=tuple(sorted(day.claims, key=repr)), projects=tuple(sorted(day.projects)), prints=())
