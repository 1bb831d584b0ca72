from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select

from accounting.intake.history import ingest_history
from accounting.intake.live.holdings import between
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.intake.live.telemetry import add
from accounting.intake.rejects import rejects
from accounting.store.database import read
from accounting.store.tables import coverage, records, splits, telemetry
from exporters.model import Claim, Job, JobKey, Node, Reject
from exporters.recorder import Holding, Round, SourceReading, Telemetry
from tests.accounting import views
from tests.accounting.conftest import NewLedger
from tests.accounting.readings import days
from tests.accounting.site import DAY, T0, History, ended, gn, held, kn, node, pod, pod_job, run, slurm_job, workload


def pods(
    at: float,
    claims: Sequence[Claim] = (),
    gone: Sequence[Claim] = (),
    nodes: Sequence[Node] = (),
    jobs: Sequence[Job] = (),
    rejected: Sequence[Reject] = (),
) -> SourceReading:
    return SourceReading("pods", "kube", at, jobs, claims, gone, nodes, rejected, "kubernetes")


def slurm(
    at: float, claims: Sequence[Claim] = (), nodes: Sequence[Node] = (), jobs: Sequence[Job] = ()
) -> SourceReading:
    return SourceReading("slurmctld", "lab", at, jobs, claims, (), nodes, (), "slurm")


def round_(
    at: float, *readings: SourceReading, holdings: Iterable[Holding] = (), telemetry: Iterable[Telemetry] = ()
) -> Round:
    return Round(at, readings, tuple(holdings), tuple(telemetry))


def card(index: int, job: JobKey, milligpu: int = 1000, machine: str = "gn01") -> Holding:
    return Holding(machine, index, f"GPU-{index}", job, job.id, milligpu)


def piece(start: float, end: float, seconds: float = 10.0, job: JobKey | None = None) -> Telemetry:
    job = job or run(1)
    return Telemetry(job, job.id, "gn01", start, end, seconds, seconds / 2, 1.0, 100.0, 5.0, 6.0, 3, 4)


def record(engine: Engine, *rounds: Round, **more: Any) -> LedgerRecorder:
    recorder = LedgerRecorder(engine, **({"gap": 60.0} | more))
    for r in rounds:
        recorder.record(r)
    return recorder


def pod_spans(engine: Engine) -> list[tuple[Any, ...]]:
    """(run, node, milligpu, start, end, basis)."""
    return [(r[0], r[1], r[3], r[4], r[5], r[12]) for r in views.current_claims(engine)]


def test_a_pod_seen_then_told_as_ended_is_one_claim_with_its_end(engine: Engine) -> None:
    a = pod("a", 1, T0 + 3)
    record(
        engine,
        round_(T0 + 10, pods(T0 + 10, [a])),
        round_(T0 + 25, pods(T0 + 25, [a])),
        round_(T0 + 40, pods(T0 + 40, gone=[replace(a, end=T0 + 33, end_basis="finished")])),
    )

    assert [("uid-a", "gn01", 1000, T0 + 3, T0 + 33, "finished")] == pod_spans(engine)
    assert 2 == len(views.rows(engine, select(records.c.raw)))
    assert [] == rejects(engine)


def test_a_pod_that_is_gone_without_a_word_ends_at_its_last_sighting(engine: Engine) -> None:
    a = pod("a", 1, T0 + 3)
    record(engine, round_(T0 + 10, pods(T0 + 10, [a])), round_(T0 + 25, pods(T0 + 25, [a])))
    record(engine, round_(T0 + 500, pods(T0 + 500)))  # another process, after the exporter was down

    assert [("uid-a", "gn01", 1000, T0 + 3, T0 + 25, "vanished")] == pod_spans(engine)


def test_an_end_told_after_the_fact_replaces_the_assumed_one_and_is_shown(engine: Engine) -> None:
    a = pod("a", 1, T0 + 3)
    record(
        engine,
        round_(T0 + 10, pods(T0 + 10, [a])),
        round_(T0 + 25, pods(T0 + 25)),
        round_(T0 + 40, pods(T0 + 40, gone=[replace(a, end=T0 + 12, end_basis="deleted")])),
    )

    assert [("uid-a", "gn01", 1000, T0 + 3, T0 + 12, "deleted")] == pod_spans(engine)
    assert ["changed"] == [r.kind for r in rejects(engine)]


def test_a_pod_whose_owner_becomes_known_later_stays_one_pod(engine: Engine) -> None:
    a = pod("a", 1, T0 + 3)
    known = replace(a, job=workload("root"))
    record(engine, round_(T0 + 10, pods(T0 + 10, [a])), round_(T0 + 25, pods(T0 + 25, [known])))

    assert [("uid-root", "gn01", 1000, T0 + 3, None, "")] == pod_spans(engine)


def test_a_reading_that_was_recorded_already_adds_only_what_is_told_once(engine: Engine) -> None:
    a = pod("a", 1, T0 + 3)
    reading = pods(T0 + 10, [a], nodes=[node(kn(1))])
    recorder = record(engine, round_(T0 + 10, reading))
    before = views.everything(engine)
    recorder.record(round_(T0 + 10, reading))
    record(engine, round_(T0 + 10, reading))

    assert before == views.everything(engine)

    recorder.record(round_(T0 + 25, pods(T0 + 10, gone=[replace(a, end=T0 + 9)])))

    assert [("uid-a", "gn01", 1000, T0 + 3, T0 + 9, "")] == pod_spans(engine)


def test_a_reading_older_than_the_last_one_moves_nothing(engine: Engine) -> None:
    recorder = record(engine, *(round_(T0 + t, pods(T0 + t, nodes=[node(kn(1))])) for t in (10, 25)))
    before = views.everything(engine)
    recorder.record(round_(T0 + 40, pods(T0 + 10, nodes=[node(kn(1), up=False), node(kn(2))])))

    assert before["capacity"] == views.capacities(engine)
    assert before["live"] == views.covered(engine, "live")


def test_equal_sightings_of_a_node_are_one_interval_and_a_change_begins_another(engine: Engine) -> None:
    up, down = node(kn(1)), node(kn(1), up=False, reason="cordoned")
    record(
        engine,
        round_(T0, pods(T0, nodes=[up, node(kn(2))])),
        round_(T0 + 30, pods(T0 + 30, nodes=[up, node(kn(2))])),
        round_(T0 + 60, pods(T0 + 60, nodes=[down])),
    )

    assert [
        ("gn01", "h100", 8000, False, T0 + 60, None, ""),
        ("gn01", "h100", 8000, True, T0, T0 + 60, "changed"),
        ("gn02", "h100", 8000, True, T0, T0 + 60, "left"),
    ] == [(*c[:3], bool(c[3]), *c[4:]) for c in views.capacities(engine)]
    assert [("pods", "kube", T0, T0 + 60)] == views.covered(engine, "live")


@pytest.mark.parametrize("restarted", [False, True])
def test_a_longer_gap_leaves_a_hole(engine: Engine, restarted: bool) -> None:
    up, holding = node(gn(1)), card(0, run(1))
    recorder = record(engine, *(round_(t, slurm(t, nodes=[up]), holdings=[holding]) for t in (T0, T0 + 50, T0 + 90)))
    if restarted:
        recorder = LedgerRecorder(engine, gap=60)
    recorder.record(round_(T0 + 151, slurm(T0 + 151, nodes=[up]), holdings=[holding]))

    assert [("slurmctld", "lab", T0, T0 + 90), ("slurmctld", "lab", T0 + 151, T0 + 151)] == views.covered(
        engine, "live"
    )
    assert [(T0, T0 + 90, "silent"), (T0 + 151, None, "")] == [c[4:] for c in views.capacities(engine)]
    assert [(T0, T0 + 90), (T0 + 151, None)] == [c[4:] for c in views.cards(engine)]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_node_that_left_while_nobody_looked_has_left_when_somebody_looks_again(
    engine: Engine, restarted: bool
) -> None:
    recorder = record(engine, *(round_(t, pods(t, nodes=[node(kn(1)), node(kn(2))])) for t in (T0, T0 + 50)))
    if restarted:
        recorder = LedgerRecorder(engine, gap=60)
    recorder.record(round_(T0 + 500, pods(T0 + 500, nodes=[node(kn(1))])))
    found = {d.machine: [(s.start, s.end) for s in d.capacity] for d in days(engine, end=T0 + 600)}

    assert {"gn01": [(T0, T0 + 600)], "gn02": [(T0, T0 + 500)]} == found


def test_a_restart_within_the_gap_leaves_no_trace(engine: Engine) -> None:
    a, up, holding = pod("a", 1, T0), node(kn(1)), card(0, workload("a"))
    for n in range(4):
        at = T0 + 50 * n
        record(engine, round_(at, pods(at, [a], nodes=[up]), holdings=[holding])).close()

    assert [("gn01", "h100", 8000, T0, None)] == [(*c[:3], *c[4:6]) for c in views.capacities(engine)]
    assert [("gn01", 0, "uid-a", 1000, T0, None)] == views.cards(engine)
    assert [("pods", "kube", T0, T0 + 150)] == views.covered(engine, "live")
    assert 1 == len(views.rows(engine, select(records.c.raw)))


def test_a_card_that_changes_hands_changes_intervals(engine: Engine) -> None:
    record(
        engine,
        round_(T0, holdings=[card(0, run(1)), card(1, run(1))]),
        round_(T0 + 15, holdings=[card(0, run(2)), card(1, run(1), 500)]),
        round_(T0 + 30, holdings=[card(1, run(1), 250), card(1, run(1), 250)]),
    )

    assert [
        ("gn01", 0, f"1@{T0}", 1000, T0, T0 + 15),
        ("gn01", 0, f"2@{T0}", 1000, T0 + 15, T0 + 30),
        ("gn01", 1, f"1@{T0}", 1000, T0, T0 + 15),
        ("gn01", 1, f"1@{T0}", 500, T0 + 15, None),
    ] == views.cards(engine)


def test_telemetry_adds_up_per_node_day_and_survives_a_close(engine: Engine) -> None:
    midnight = T0 + DAY
    recorder = record(
        engine,
        round_(midnight - 30, telemetry=[piece(midnight - 40, midnight - 30)]),
        round_(midnight + 2, telemetry=[piece(midnight - 6, midnight + 2, 8.0)]),
        flush_seconds=3600,
    )
    recorder.close()
    recorder.record(round_(midnight + 20, telemetry=[piece(midnight + 10, midnight + 20)]))
    recorder.close()
    t = telemetry.c
    found = views.rows(engine, select(t.start_at, t.gpu_seconds, t.active_seconds, t.samples_seen, t.samples_expected))

    assert [(T0, 16.0, 8.0, 3, 4), (midnight, 12.0, 6.0, 6, 8)] == found


def test_a_piece_of_telemetry_is_shared_by_its_time_in_each_day_and_samples_go_to_the_last() -> None:
    midnight = T0 + DAY
    one = piece(midnight - 6, midnight + 2, 8.0)
    earlier = {(one.job, one.unit, "gn01", T0): (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7, 8)}

    found = add(earlier, [one], UTC)

    assert {
        (one.job, one.unit, "gn01", T0): (7.0, 5.0, 3.75, 79.0, 8.75, 10.5, 7, 8),
        (one.job, one.unit, "gn01", midnight): (2.0, 1.0, 0.25, 25.0, 1.25, 1.5, 3, 4),
    } == found
    assert 1 == len(earlier), "what was handed in stays as it was"


@pytest.mark.parametrize("end", [T0 + DAY, T0 + DAY - 1], ids=["of no length", "of a clock that was set back"])
def test_a_piece_without_time_is_whole_in_the_day_in_which_it_ends(end: int) -> None:
    one = piece(T0 + DAY, end)

    assert [(10.0, 3)] == [(values[0], values[6]) for values in add({}, [one], UTC).values()]


def test_a_piece_that_ends_at_midnight_is_of_the_day_before() -> None:
    one = piece(T0 + DAY - 10, T0 + DAY)

    assert [(T0, 10.0)] == [(key[3], values[0]) for key, values in add({}, [one], UTC).items()]


def test_telemetry_is_written_at_least_every_flush(engine: Engine) -> None:
    noon = T0 + DAY // 2
    recorder = record(engine, round_(noon, telemetry=[piece(noon - 10, noon)]), flush_seconds=30)
    recorder.record(round_(noon + 29, telemetry=[piece(noon, noon + 29)]))
    before = views.rows(engine, select(telemetry.c.samples_seen))
    recorder.record(round_(noon + 30, telemetry=[piece(noon + 29, noon + 30)]))

    assert [(3,)] == before
    assert [(9,)] == views.rows(engine, select(telemetry.c.samples_seen))


def test_a_repeated_round_adds_no_telemetry(engine: Engine) -> None:
    same = round_(T0, telemetry=[piece(T0 - 10, T0)])
    recorder = record(engine, same, same, flush_seconds=0)
    recorder.close()
    record(engine, same, flush_seconds=0).close()

    assert [(3,)] == views.rows(engine, select(telemetry.c.samples_seen))


def test_a_round_that_could_not_be_kept_leaves_nothing_and_may_be_tried_again(engine: Engine) -> None:
    recorder = record(engine, round_(T0, holdings=[card(0, run(1))]), flush_seconds=0)
    broken = True

    def fail(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if broken and "recorders" in statement:
            raise OSError("disk full")

    event.listen(engine, "before_cursor_execute", fail)
    try:
        second = round_(
            T0 + 9, slurm(T0 + 9, nodes=[node(gn(1))]), holdings=[card(0, run(2))], telemetry=[piece(T0, T0 + 9)]
        )
        with pytest.raises(OSError, match="disk full"):
            recorder.record(second)

        assert [("gn01", 0, f"1@{T0}", 1000, T0, None)] == views.cards(engine)
        assert [] == views.capacities(engine)

        broken = False
        recorder.record(second)
    finally:
        event.remove(engine, "before_cursor_execute", fail)

    assert [(T0, T0 + 9), (T0 + 9, None)] == [c[4:] for c in views.cards(engine)]
    assert [(3,)] == views.rows(engine, select(telemetry.c.samples_seen))


def test_what_slurm_shows_live_is_kept_as_its_split_and_not_as_claims(engine: Engine) -> None:
    a = [replace(held(5, 1, T0, None, 2), indices=(4, 5)), held(5, 2, T0, None, 6)]
    unsure = held(6, 3, T0, None, assumed=True)
    for at in (T0, T0 + 15):
        record(engine, round_(at, slurm(at, [*a, unsure], jobs=[slurm_job(5, T0, state="RUNNING")])))

    assert [] == views.current_claims(engine)
    assert [('[["gn01","h100","",2000,[4,5],[]],["gn02","h100","",6000,[],[]]]',)] == views.rows(
        engine, select(splits.c.split)
    )


def test_a_job_of_which_one_nodes_share_is_assumed_has_no_split_that_was_seen(engine: Engine) -> None:
    claims = [held(5, 1, T0, None, 2), held(5, 2, T0, None, 6, assumed=True)]
    record(engine, round_(T0, slurm(T0, claims, jobs=[slurm_job(5, T0, state="RUNNING")])))

    assert [] == views.rows(engine, select(splits.c.split))


def test_a_reading_that_names_no_scheduler_is_of_the_one_that_its_claims_name(engine: Engine) -> None:
    told = pods(T0, [pod("a", 1, T0)])
    record(engine, round_(T0, replace(told, scheduler="")))

    assert [("kubernetes",)] == views.rows(engine, select(coverage.c.scheduler).where(coverage.c.kind == "live"))


def test_what_was_seen_of_cards_is_told_within_the_time_that_is_asked_for(engine: Engine) -> None:
    record(
        engine,
        round_(T0 + 10, holdings=[card(0, run(1)), card(1, run(1))]),
        round_(T0 + 20, holdings=[card(0, run(2)), card(1, run(1))]),
        round_(T0 + 30, holdings=[card(1, run(1))]),
    )

    def told(a: int, b: int) -> list[tuple[int, int, str, int]]:
        with read(engine) as connection:
            found = between(connection, a, b)
        assert found.keys() <= {"gn01"}
        return [(h.start, h.end, h.job.id, h.index) for h in found.get("gn01", [])]

    first, second = run(1).id, run(2).id
    assert [
        (T0 + 10, T0 + 20, first, 0),
        (T0 + 10, T0 + 30, first, 1),
        (T0 + 20, T0 + 30, second, 0),
    ] == told(T0, T0 + DAY)
    assert [(T0 + 15, T0 + 20, first, 0), (T0 + 15, T0 + 21, first, 1), (T0 + 20, T0 + 21, second, 0)] == told(
        T0 + 15, T0 + 21
    )
    assert [] == told(T0, T0 + 10)
    assert [] == told(T0 + 30, T0 + 40)


def test_what_history_says_of_a_job_goes_before_what_was_seen_live(engine: Engine) -> None:
    ingest_history(engine, History([ended(1, T0, T0 + 60)]), now=T0 + DAY, start=T0)
    at = T0 + DAY + 5
    record(engine, round_(at, slurm(at, jobs=[slurm_job(1, T0, state="RUNNING"), slurm_job(2, T0, state="RUNNING")])))

    assert {f"1@{T0}": "COMPLETED", f"2@{T0}": "RUNNING"} == {j[3]: j[12] for j in views.all_jobs(engine)}


def test_a_changed_label_of_a_job_is_kept(engine: Engine) -> None:
    before, after = (replace(pod_job("a"), labels={"team": t}) for t in ("x", "y"))
    record(engine, round_(T0, pods(T0, jobs=[before])), round_(T0 + 15, pods(T0 + 15, jobs=[after])))

    assert ['{"team":"y"}'] == [j[-1] for j in views.all_jobs(engine)]


def test_a_changed_state_of_a_job_is_kept(engine: Engine) -> None:
    before = replace(pod_job("a"), state="Pending", labels={"team": "x"})
    after = replace(before, state="Running")
    record(engine, round_(T0, pods(T0, jobs=[before])), round_(T0 + 15, pods(T0 + 15, jobs=[after])))

    assert ["Running"] == [j[12] for j in views.all_jobs(engine)]


def test_a_reject_told_in_every_reading_is_one_row(engine: Engine) -> None:
    bad = Reject("pods", "{half", "not JSON")
    record(engine, *(round_(T0 + t, pods(T0 + t, rejected=[bad])) for t in (0, 15, 30)))

    assert [("unreadable", b"{half", "not JSON")] == views.asides(engine)


def test_two_recorders_share_a_ledger(engine: Engine) -> None:
    one = record(engine, round_(T0, holdings=[card(0, run(1))]), name="one")
    two = record(engine, round_(T0 + 1, holdings=[card(0, run(2), machine="gn02")]), name="two")
    one.record(round_(T0 + 15))
    two.record(round_(T0 + 16, holdings=[card(0, run(2), machine="gn02")]))

    assert [("gn01", 0, f"1@{T0}", 1000, T0, T0 + 15), ("gn02", 0, f"2@{T0}", 1000, T0 + 1, None)] == views.cards(
        engine
    )


def test_an_unchanged_round_writes_a_handful_of_rows_whatever_the_size_of_the_fleet(engine: Engine) -> None:
    claims = [pod(f"p{n}", n % 40, T0) for n in range(200)]
    holdings = [card(n % 8, workload(f"p{n}"), machine=f"gn{n % 40:02}") for n in range(200)]
    nodes = [node(kn(n)) for n in range(40)]

    def one(at: float) -> Round:
        return round_(at, pods(at, claims, nodes=nodes, jobs=[pod_job("p0")]), holdings=holdings)

    recorder = record(engine, one(T0))
    written: list[str] = []

    def watch(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if statement.lstrip().split()[0] in {"INSERT", "UPDATE", "DELETE", "COPY"}:
            written.append(statement)

    event.listen(engine, "before_cursor_execute", watch)
    recorder.record(one(T0 + 15))
    event.remove(engine, "before_cursor_execute", watch)

    assert 3 == len(written), written


_STEPS = st.lists(
    st.tuples(
        st.integers(1, 90),  # seconds to the next round: up to 60 join
        st.sets(st.integers(0, 2)),  # nodes there
        st.sets(st.integers(0, 2)),  # nodes down
        st.dictionaries(st.integers(0, 2), st.integers(1, 2)),  # card -> job
        st.booleans(),  # restart before this round
    ),
    max_size=12,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=_STEPS)
def test_intervals_are_what_the_sightings_say(
    new_ledger: NewLedger, steps: list[tuple[int, set[int], set[int], dict[int, int], bool]]
) -> None:
    engine = new_ledger()
    at, recorder, rounds = T0, LedgerRecorder(engine, gap=60), []
    for wait, there, down, hands, restart in steps:
        at += wait
        nodes = [node(kn(n), up=n not in down) for n in sorted(there)]
        rounds.append((at, {(n, n not in down) for n in there}, set(hands.items())))
        if restart:
            recorder = LedgerRecorder(engine, gap=60)
        one = round_(at, pods(at, nodes=nodes), holdings=[card(c, run(j)) for c, j in hands.items()])
        recorder.record(one)
        recorder.record(one)
    last = at
    expected_nodes, expected_cards = set(), set()
    for (a, there, hands), (b, *_) in pairwise([*rounds, (last, set(), set())]):
        if b - a <= 60:
            expected_nodes |= {(second, n, up) for n, up in there for second in range(a, b)}
            expected_cards |= {(second, c, j) for c, j in hands for second in range(a, b)}
    nodes_told = {
        (second, int(name[2:]), bool(up))
        for name, _, _, up, start, end, _ in views.capacities(engine)
        for second in range(start, last if end is None else end)
    }
    cards_told = {
        (second, c, int(r.split("@")[0]))
        for _, c, r, _, start, end in views.cards(engine)
        for second in range(start, last if end is None else end)
    }

    assert expected_nodes == nodes_told
    assert expected_cards == cards_told
    assert sum(b - a for (a, *_), (b, *_) in pairwise(rounds) if b - a <= 60) == sum(
        end - start for *_, start, end in views.covered(engine, "live")
    )
