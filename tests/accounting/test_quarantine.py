"""One fact that no ledger can keep is set aside, and the others of its round, and all later rounds, are recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError

from accounting.intake.faults import blames_content, sift
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.intake.rejects import rejects
from accounting.ledger.reconcile_range import Site, reconcile_range
from accounting.periods.check import check
from accounting.reconcile.rule import Rules
from accounting.store.tables import coverage, recorders, telemetry
from exporters.recorder import Round
from tests.accounting import views
from tests.accounting.readings import same_name
from tests.accounting.site import T0, kn, node, pod, pod_job, run
from tests.accounting.test_recording import card, piece, pod_spans, pods, round_

EVIL = replace(pod("evil", 1, T0 + 3), milligpu=1 << 70)
YEAR = 366 * 86_400


def test_a_claim_that_no_column_takes_is_a_reject_and_the_rest_is_recorded(engine: Engine) -> None:
    good, later = pod("good", 2, T0 + 3), pod("later", 4, T0 + 20)
    recorder = LedgerRecorder(engine, gap=60.0)
    recorder.record(round_(T0 + 10, pods(T0 + 10, [good, EVIL], nodes=[node(kn("gn01"), 8000)])))
    recorder.record(round_(T0 + 25, pods(T0 + 25, [good, EVIL, later])))
    recorder.record(round_(T0 + 40, pods(T0 + 40, [good, later])))

    assert [("uid-good", T0 + 3, None), ("uid-later", T0 + 20, None)] == [(s[0], s[3], s[4]) for s in pod_spans(engine)]
    assert [(T0 + 10, T0 + 40)] == views.rows(
        engine, select(coverage.c.start_at, coverage.c.end_at).where(coverage.c.kind == "live")
    )
    [reject] = rejects(engine)
    assert "the ledger cannot keep it" in reject.reason
    assert b"uid-evil" in bytes(reject.record) if isinstance(reject.record, bytes) else "uid-evil" in reject.record


def test_an_absurd_end_holding_or_node_is_set_aside_too(engine: Engine) -> None:
    good = pod("good", 2, T0 + 3)
    huge = replace(node(kn("gn02"), 8000), milligpu=1 << 80)
    bad = replace(card(0, run(1)), milligpu=1 << 65)
    reading = pods(
        T0 + 10, [good], gone=[replace(EVIL, end=1 << 66)], nodes=[huge, node(kn("gn01"), 8000)], jobs=[pod_job("good")]
    )
    LedgerRecorder(engine).record(round_(T0 + 10, reading, holdings=[bad, card(1, run(1))]))

    assert 3 == len(rejects(engine))
    assert ["uid-good"] == [s[0] for s in pod_spans(engine)]


def test_a_restart_meets_the_same_fact_again_and_goes_on(engine: Engine) -> None:
    for at in (T0 + 10, T0 + 25):
        LedgerRecorder(engine, gap=60.0).record(round_(at, pods(at, [pod("good", 2, T0 + 3), EVIL])))

    assert (["uid-good"], 1) == ([s[0] for s in pod_spans(engine)], len(rejects(engine)))


def test_a_ledger_that_is_away_is_no_fault_of_the_content() -> None:
    def away(_: Round) -> None:
        raise OperationalError("INSERT", {}, Exception("database is locked"))

    with pytest.raises(OperationalError):
        sift(round_(T0, pods(T0, [pod("a", 1, T0)])), away)
    assert not blames_content(OperationalError("", {}, Exception("disk full")))
    assert blames_content(OverflowError("too large"))


@given(st.lists(st.integers(0, 5), max_size=12))
def test_exactly_the_guilty_facts_are_found_whatever_their_number_and_place(sizes: list[int]) -> None:
    claims = [replace(pod(f"p{n}", 1, T0), milligpu=size) for n, size in enumerate(sizes)]

    def keep(some: Round) -> None:
        if any(c.milligpu > 3 for r in some.readings for c in r.claims):
            raise OverflowError("too large")

    found = sift(round_(T0, pods(T0, claims)), keep)

    assert [c for c in claims if c.milligpu > 3] == [fact for fact, _ in found.guilty]
    assert [c for c in claims if c.milligpu <= 3] == list(found.round.readings[0].claims)


def test_a_clock_that_was_a_year_ahead_stops_no_later_round(engine: Engine) -> None:
    a, b = pod("a", 1, T0 + 3), pod("b", 1, T0 + 45)
    recorder = LedgerRecorder(engine, gap=60.0, clock=lambda: T0 + 70)
    held = [card(0, run(1))]
    recorder.record(round_(T0 + 10, pods(T0 + 10, [a], nodes=[node(kn("gn01"), 8000)]), holdings=held))
    recorder.record(round_(T0 + YEAR, pods(T0 + YEAR, [a], nodes=[node(kn("gn01"), 8000)]), holdings=held))
    recorder.record(round_(T0 + 50, pods(T0 + 50, [a, b], nodes=[node(kn("gn01"), 8000)]), holdings=held))
    recorder.record(round_(T0 + 65, pods(T0 + 65, [b], nodes=[node(kn("gn01"), 8000)]), holdings=held))

    ends = views.rows(engine, select(coverage.c.end_at))
    assert T0 + 65 == max(end for (end,) in ends), "coverage never lies in the future"
    assert [("uid-a", T0 + 50), ("uid-b", None)] == sorted((s[0], s[4]) for s in pod_spans(engine))
    assert [((T0 + 65) * 1000,)] == views.rows(engine, select(recorders.c.last_at_ms))


def test_what_was_booked_by_a_clock_that_was_ahead_is_no_breach_when_the_clock_is_set_back(engine: Engine) -> None:
    """The recorder takes back what it stamped as of later: that is not somebody's hand."""
    a, ahead = pod("a", 1, T0 + 3), T0 + 510
    recorder = LedgerRecorder(engine, gap=60.0, clock=lambda: T0 + 70)
    for at in range(T0 + 10, ahead + 1, 50):
        recorder.record(round_(at, pods(at, [a], nodes=[node(kn("gn01"), 8000)], jobs=[pod_job("a")])))
    everywhere = Site(same_name, lambda *_: "llm", borders=lambda *_: (), settings="the same in every run")
    reconcile_range(engine, T0, ahead, everywhere, Rules(), now=ahead)
    for at in (T0 + 50, T0 + 65):
        recorder.record(round_(at, pods(at, [a], nodes=[node(kn("gn01"), 8000)], jobs=[pod_job("a")])))

    assert [] == check(engine)


def test_rounds_that_come_again_long_after_are_repeats_where_no_clock_was_wrong(engine: Engine) -> None:
    """A process that was killed does its work again from the beginning: nothing of it counts twice."""
    a = pod("a", 1, T0 + 3)
    rounds = [
        round_(
            at,
            pods(at, [a], nodes=[node(kn("gn01"), 8000)], jobs=[pod_job("a")]),
            telemetry=[piece(at - 30, at, job=a.job)],
        )
        for at in range(T0 + 10, T0 + 1000, 50)
    ]
    for _ in range(2):
        recorder = LedgerRecorder(engine, gap=60.0, flush_seconds=0, clock=lambda: T0 + 2000)
        for one in rounds:
            recorder.record(one)
        recorder.close()

    ((seen,),) = views.rows(engine, select(func.sum(telemetry.c.samples_seen)))
    assert 3 * len(rounds) == seen
