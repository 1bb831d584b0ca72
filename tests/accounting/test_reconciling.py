from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from accounting.intake.history import ingest_history
from accounting.intake.rejects import rejects
from accounting.ledger.reconcile_range import ReconcileReport, Site, reconcile_range
from accounting.periods.check import check
from accounting.reconcile.rule import Rules
from accounting.reconcile.sweep import Batch, Sweep
from accounting.store.calendar import close, period_named
from accounting.store.database import read
from accounting.store.tables import node_days, postings, transactions
from exporters.model import Job, NodeKey
from tests.accounting import views
from tests.accounting.plain_usage import corrections, usage
from tests.accounting.posting import balances
from tests.accounting.readings import live, proved, same_name
from tests.accounting.site import DAY, T0, History, ended, gn, kn, node, pod, run

RULES = Rules()


def project(job: Job, at: float) -> str:
    return job.account or "unmapped"


def settle(engine: Engine, now: int, end: int = T0 + 31 * DAY, **more: Any) -> ReconcileReport:
    known = Site(more.pop("resolver", same_name), more.pop("projects", project))
    return reconcile_range(engine, T0, end, known, RULES, now=now, **more)


def site(engine: Engine) -> None:
    """gn01 with eight cards, seen over three days; a job of four cards over the second midnight, and a pod of two."""
    a = pod("a", 1, T0 + 100, T0 + DAY, 2)
    for half_day in range(7):
        now = T0 + half_day * 43_200
        held_now = [replace(a, end=None)] if a.start <= now < T0 + DAY else []
        gone = [a] if now == T0 + DAY else []
        live(engine, now, nodes=[node(gn(1)), node(kn(1))], claims=held_now, gone=gone, gap=50_000)
    ingest_history(engine, History([ended(1, T0 + DAY - 50, T0 + DAY + 50, cards=4)]), now=T0 + 3 * DAY, start=T0)


def test_three_days_are_booked_and_add_up_to_capacity(engine: Engine) -> None:
    site(engine)
    report = settle(engine, T0 + 3 * DAY)

    assert (3, 3, 0) == (report.node_days, report.posted, report.unplaced)
    assert {
        ("capacity", "h100"): -8000 * 3 * DAY,
        ("charged", "h100"): 4000 * 100 + 2000 * (DAY - 100),
        ("idle", "h100"): 8000 * 3 * DAY - 4000 * 100 - 2000 * (DAY - 100),
    } == balances(engine, T0, T0 + 3 * DAY)
    assert {("vision", run(1)): 400_000} == {
        (u.project, u.job): u.charged for u in usage(engine, T0, T0 + 3 * DAY) if u.job == run(1)
    }
    assert [] == proved(engine, projects=project)


def test_reconciling_again_books_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    site(engine)
    settle(engine, T0 + 3 * DAY)
    reconciled: list[int] = []

    class Watched(Sweep):
        def __iter__(self) -> Iterator[Batch]:
            reconciled.append(len(self.site.machines))
            return super().__iter__()

    monkeypatch.setattr("accounting.ledger.day_worker.Sweep", Watched)
    again = settle(engine, T0 + 3 * DAY, end=T0 + 3 * DAY)

    assert (3, 0) == (again.unchanged, again.posted)
    assert [] == reconciled


def test_a_late_record_books_only_its_own_day_anew(engine: Engine) -> None:
    site(engine)
    settle(engine, T0 + 3 * DAY)
    late = ended(2, T0 + 2 * DAY + 10, T0 + 2 * DAY + 20)
    ingest_history(engine, History([late]), now=T0 + 3 * DAY, start=T0, overlap=DAY)
    report = settle(engine, T0 + 3 * DAY)

    assert (2, 1) == (report.unchanged, report.reposted)
    assert [("post", 4), ("reversal", 1)] == views.rows(
        engine, select(transactions.c.kind, func.count()).group_by(transactions.c.kind)
    )


def test_a_late_record_after_the_close_is_a_correction(engine: Engine) -> None:
    site(engine)
    november = period_named("2026-11").start
    settle(engine, november, end=T0 + 3 * DAY)
    close(engine, "2026-10", now=november)
    before = usage(engine, T0, november)
    late = ended(2, T0 + 2 * DAY + 10, T0 + 2 * DAY + 20)
    ingest_history(engine, History([late]), now=november + 60, start=T0, overlap=60 * DAY, step=60 * DAY)
    report = settle(engine, november + 60, end=T0 + 3 * DAY)

    assert 1 == report.corrected
    assert before == usage(engine, T0, november)
    assert {(run(2), 10_000), (None, -10_000)} == {(u.job, u.charged) for _, u, _ in corrections(engine, "2026-11")}
    assert [] == check(engine)


def test_a_machine_that_goes_by_another_name_is_not_counted_twice(engine: Engine) -> None:
    site(engine)
    settle(engine, T0 + 3 * DAY)

    def renamed(key: NodeKey, start: int, end: int) -> Sequence[tuple[str, int, int]]:
        return [(f"rack1-{key.name}", start, end)]

    report = settle(engine, T0 + 3 * DAY, resolver=renamed)

    assert (3, 3, 3) == (report.posted, report.reposted, report.withdrawn)
    assert -8000 * 3 * DAY == balances(engine, T0, T0 + 3 * DAY)["capacity", "h100"]
    assert [] == check(engine)
    assert 0 == settle(engine, T0 + 3 * DAY, resolver=renamed).withdrawn


def test_the_day_that_is_not_over_is_booked_up_to_now_or_left_out(engine: Engine) -> None:
    site(engine)
    noon = T0 + 2 * DAY + DAY // 2
    without = settle(engine, noon, unfinished=False)
    booked = settle(engine, noon)

    assert (2, T0 + 2 * DAY) == (without.posted, without.end)
    assert (1, noon) == (booked.posted, booked.end)
    assert -8000 * 2.5 * DAY == balances(engine, T0, noon)["capacity", "h100"]


def test_nothing_is_booked_of_the_future(engine: Engine) -> None:
    site(engine)

    assert 0 == settle(engine, T0).node_days


def test_a_job_on_an_unknown_node_is_charged(engine: Engine) -> None:
    site(engine)
    ingest_history(
        engine,
        History([ended(3, T0 + 10, T0 + 20, nodes=(99,))]),
        now=T0 + 3 * DAY,
        start=T0,
        overlap=3 * DAY,
        step=9 * DAY,
    )
    report = settle(engine, T0 + 3 * DAY)

    assert 0 == report.unplaced
    assert [] == rejects(engine)
    with read(engine) as connection:
        booked = select(postings.c.quantity).join(node_days, node_days.c.transaction_id == postings.c.transaction_id)
        found = connection.scalars(booked.where(node_days.c.machine == "gn99", postings.c.account == "charged")).all()
    assert [1000 * 10] == found


def test_progress_tells_seconds_and_node_days(engine: Engine) -> None:
    site(engine)
    told: list[tuple[int, int, int]] = []
    settle(engine, T0 + 3 * DAY, end=T0 + 2 * DAY, progress=lambda *a: told.append(a))

    assert [(DAY, 2 * DAY, 1), (2 * DAY, 2 * DAY, 2)] == told
