"""Runs without an end: asked for by id, confronted with slurmctld, held to their last sighting, corrected later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from accounting.intake.history import IntakeReport, cursor, ingest_history
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.intake.open_runs import GRACE, LATE, Doubt
from accounting.intake.rejects import rejects
from accounting.ledger.reconcile_range import Site, reconcile_range
from accounting.periods.check import check
from accounting.reconcile.rule import Rules
from exporters.model import Claim, Record, Reject
from exporters.recorder import SourceReading
from exporters.sources.base import SourceError
from tests.accounting import views
from tests.accounting.conftest import NewLedger
from tests.accounting.readings import days, same_name
from tests.accounting.site import DAY, T0, History, ended, gn, held, node, run, running, slurm_job, without
from tests.accounting.test_recording import record, round_, slurm

HOUR = 3600
CARDS = [node(gn(1))]
EVERYWHERE = Site(same_name, lambda *_: "llm", borders=lambda *_: (), settings="the same in every run")


def shown(engine: Engine, at: int, *claims: Claim, complete: bool = True, rejected: Sequence[Reject] = ()) -> None:
    """One reading of slurmctld, of an exporter that was started for it."""
    reading = replace(slurm(at, claims, CARDS), complete=complete, rejects=tuple(rejected))
    record(engine, round_(at, reading), gap=10.0 * DAY)


def ingest(engine: Engine, source: History, now: int, **more: int) -> IntakeReport:
    return ingest_history(engine, source, now=now, start=T0, **({"overlap": 600, "step": DAY} | more))


def spans(engine: Engine) -> list[tuple[object, ...]]:
    return [(r[0].partition("@")[0], r[3], r[4]) for r in views.spans(engine)]


def doubts(engine: Engine) -> list[tuple[str, str]]:
    return [(r.kind, r.reason) for r in rejects(engine)]


def test_an_end_that_came_late_is_asked_for_by_id_however_old_it_is(engine: Engine) -> None:
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)
    later = History([], older=[ended(1, T0 + 60, T0 + 2 * HOUR)])
    report = ingest(engine, later, T0 + 9 * HOUR)

    assert [["1"]] == later.asked
    assert (1, 1) == (report.asked, report.charged)
    assert [("1", T0 + 60, T0 + 2 * HOUR)] == spans(engine)
    assert [] == doubts(engine)
    assert [] == check(engine)


def test_a_run_that_a_clock_ahead_saw_go_was_seen_no_later_than_the_clock_says_now(engine: Engine) -> None:
    """Nor is it somebody's hand that takes back that all of the cluster was shown then."""
    now = T0 + HOUR
    recorder = LedgerRecorder(engine, gap=60.0, clock=lambda: now)
    shows, empty = [held(1, 1, T0 + 60, None)], list[Claim]()
    for at in range(now - 100, now + 451, 50):
        recorder.record(round_(at, replace(slurm(at, shows if at < now + 350 else empty, CARDS), complete=True)))
    reconcile_range(engine, T0, now + 450, EVERYWHERE, Rules(), now=now + 450)
    for at in (now - 20, now):
        recorder.record(round_(at, replace(slurm(at, empty, CARDS), complete=True)))
    ingest(engine, History([running(1, T0 + 60)]), now + 60)

    assert [("1", T0 + 60, now - 20)] == spans(engine)
    assert [] == check(engine)


def test_an_answer_from_before_the_last_one_judges_nothing(engine: Engine) -> None:
    ingest(engine, History([running(1, T0 + 60)]), T0 + 9 * HOUR)
    old = History([running(2, T0 + 30)])
    ingest(engine, old, T0 + HOUR, overlap=9 * HOUR)

    assert [] == old.asked
    assert [("1", T0 + 60, None), ("2", T0 + 30, None)] == spans(engine)
    assert [] == doubts(engine)


def test_nothing_is_asked_of_what_the_answer_told(engine: Engine) -> None:
    source = History([running(1, T0 + 60), ended(2, T0, T0 + 9)])
    ingest(engine, source, T0 + HOUR)
    ingest(engine, source, T0 + 2 * HOUR)

    assert [] == source.asked


def test_a_run_that_slurmctld_does_not_have_is_held_to_its_last_sighting_and_named(engine: Engine) -> None:
    shown(engine, T0 + 600, held(1, 1, T0 + 60, None))
    shown(engine, T0 + 700)
    source = History([running(1, T0 + 60)])
    report = ingest(engine, source, T0 + HOUR)

    assert [("1", T0 + 60, T0 + 600)] == spans(engine)
    [(kind, reason)] = doubts(engine)
    assert [] == check(engine)
    assert "runaway" == kind
    assert "job 1 'train-1' of alice, vision, is RUNNING" in reason
    assert "last seen there at 2026-10-01T00:10:00" in reason
    assert [Doubt(reason, 1000 * (HOUR - 600))] == list(report.doubts)

    before = views.everything(engine)
    ingest(engine, source, T0 + HOUR)
    assert before == views.everything(engine)


def test_a_run_that_slurmctld_never_had_is_not_held_at_all(engine: Engine) -> None:
    shown(engine, T0 + 700)
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)

    assert [("1", T0 + 60, T0 + 60)] == spans(engine)  # what it is about; it holds nothing
    assert ["runaway"] == [kind for kind, _ in doubts(engine)]


def known(engine: Engine, now: int) -> list[tuple[int, int]]:
    """When the claims on the one machine were all known."""
    [day] = days(engine, T0, now)
    return [(s.start, s.end) for s in day.coverage]


def test_between_a_last_sighting_and_the_reading_that_misses_it_nobody_knows_who_had_the_cards(engine: Engine) -> None:
    shown(engine, T0 + 600, held(1, 1, T0 + 60, None))
    shown(engine, T0 + 700)
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)

    assert [(T0, T0 + 600), (T0 + 700, T0 + HOUR)] == known(engine, T0 + HOUR)

    ingest(engine, History([], older=[ended(1, T0 + 60, T0 + 650)]), T0 + 2 * HOUR)
    assert [(T0, T0 + 2 * HOUR)] == known(engine, T0 + 2 * HOUR)


def test_a_run_that_nobody_ever_saw_may_have_held_until_slurmctld_was_first_read(engine: Engine) -> None:
    shown(engine, T0 + 700)
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)

    assert [(T0, T0 + 60), (T0 + 700, T0 + HOUR)] == known(engine, T0 + HOUR)


def test_a_run_that_no_reading_showed_while_there_were_some_was_gone_when_it_was_asked_for(engine: Engine) -> None:
    for at in (30, 330):
        shown(engine, T0 + at)
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)

    assert [(T0, T0 + 60)] == known(engine, T0 + HOUR)


def test_a_run_that_no_record_tells_may_hold_until_a_reading_misses_it(engine: Engine) -> None:
    shown(engine, T0 + 600, held(1, 1, T0 + 60, None))
    ingest(engine, History([without(2)]), T0 + HOUR)
    assert [(T0, T0 + 60)] == known(engine, T0 + HOUR)

    shown(engine, T0 + 2 * HOUR)
    ingest(engine, History([without(2)]), T0 + 3 * HOUR)
    assert [(T0, T0 + 60), (T0 + 2 * HOUR, T0 + 3 * HOUR)] == known(engine, T0 + 3 * HOUR)


def test_what_was_charged_as_running_shrinks_when_it_comes_out_that_it_does_not(engine: Engine) -> None:
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)
    assert [("1", T0 + 60, None)] == spans(engine)

    shown(engine, T0 + HOUR + 60)
    ingest(engine, History([running(1, T0 + 60)]), T0 + 2 * HOUR)
    assert [("1", T0 + 60, T0 + 60)] == spans(engine)


def test_a_row_that_was_mended_in_slurm_corrects_us(engine: Engine) -> None:
    shown(engine, T0 + 600, held(1, 1, T0 + 60, None))
    shown(engine, T0 + 700)
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)
    ingest(engine, History([], older=[ended(1, T0 + 60, T0 + 120)]), T0 + 9 * HOUR)

    assert [("1", T0 + 60, T0 + 120)] == spans(engine)
    assert [] == doubts(engine)


def test_a_run_that_is_shown_again_runs_again(engine: Engine) -> None:
    shown(engine, T0 + 700)
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)
    shown(engine, T0 + HOUR + 10, held(1, 1, T0 + 60, None))
    ingest(engine, History([running(1, T0 + 60)]), T0 + 2 * HOUR)

    assert [("1", T0 + 60, None)] == spans(engine)
    assert [] == doubts(engine)


@pytest.mark.parametrize("how", ["incomplete", "rejected", "too early", "nobody reads it", "still there", "other name"])
def test_a_reading_that_proves_nothing_makes_no_runaway(engine: Engine, how: str) -> None:
    alive = held(1, 1, T0 + 60, None)
    if how == "incomplete":
        shown(engine, T0 + 700, complete=False)
    if how == "rejected":
        shown(engine, T0 + 700, rejected=[Reject("slurmctld", "x", "a job that does not read")])
    if how == "too early":
        shown(engine, T0 + 65)
    if how == "still there":
        shown(engine, T0 + 700, alive)
    if how == "other name":
        other = replace(alive, job=alive.job._replace(id="sEB5M80R6CVV00"), unit="sEB5M80R6CVV00")
        job = replace(slurm_job(1, T0 + 60, state="RUNNING"), key=other.job)
        record(engine, round_(T0 + 700, slurm(T0 + 700, [other], CARDS, [job])))
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)

    assert [("1", T0 + 60, None)] == spans(engine)
    assert [] == [kind for kind, _ in doubts(engine) if kind != "unreadable"]


def test_a_run_that_a_reading_missed_in_part_is_not_gone(engine: Engine) -> None:
    shown(engine, T0 + 600, held(1, 1, T0 + 60, None))
    shown(engine, T0 + 700, complete=False)
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)

    assert [("1", T0 + 60, None)] == spans(engine)


def test_a_run_that_is_nowhere_any_more_is_held_to_when_it_was_last_told(engine: Engine) -> None:
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)
    nothing = History([running(2, T0 + 90)])
    for hour in (2, 3):
        ingest(engine, nothing, T0 + hour * HOUR)

    assert [("1", T0 + 60, T0 + HOUR), ("2", T0 + 90, None)] == spans(engine)
    assert [] == check(engine)
    assert [("lost", True)] == [(kind, "accounting has it no more" in why) for kind, why in doubts(engine)]
    assert [["1"], ["1"]] == nothing.asked

    ingest(engine, History([running(2, T0 + 90)], older=[ended(1, T0 + 60, T0 + 99)]), T0 + 4 * HOUR)
    assert [("1", T0 + 60, T0 + 99), ("2", T0 + 90, None)] == spans(engine)
    assert [] == doubts(engine)


def test_a_run_that_only_slurmctld_told_of_is_asked_for_by_id(engine: Engine) -> None:
    job = slurm_job(7, T0 + 60, state="RUNNING")
    record(engine, round_(T0 + 600, slurm(T0 + 600, [held(7, 1, T0 + 60, None)], CARDS, [job])))
    record(engine, round_(T0 + 660, slurm(T0 + 660, [], CARDS)))
    source = History([running(2, T0 + 90)], older=[ended(7, T0 + 60, T0 + 640)])
    ingest(engine, source, T0 + HOUR)

    assert [["7"]] == source.asked
    assert ("7", T0 + 60, T0 + 640) in spans(engine)
    source.asked.clear()
    ingest(engine, source, T0 + 2 * HOUR)
    assert [] == source.asked


# -- answers that are not whole ----------------------------------------------------------------------------------------


def test_an_answer_without_what_still_runs_was_not_whole_and_covers_nothing(engine: Engine) -> None:
    ingest(engine, History([running(1, T0 + 60), running(2, T0 + 60)]), T0 + HOUR)
    half = History([running(2, T0 + 60)], older=[running(1, T0 + 60)])
    with pytest.raises(SourceError, match="was not whole: job 1 in no answer up to now, and still open"):
        ingest(engine, half, T0 + 2 * HOUR)

    assert T0 + HOUR == cursor(engine, "sacct", "lab")
    assert [("sacct", "lab", T0, T0 + HOUR)] == views.covered(engine, "history")


def test_an_empty_answer_while_slurmctld_shows_jobs_is_none(engine: Engine) -> None:
    now = T0 + 2 * HOUR
    job = slurm_job(1, now - LATE - 60, state="RUNNING")
    record(engine, round_(now - 30, slurm(now - 30, [held(1, 1, now - LATE - 60, None)], CARDS, [job])))
    with pytest.raises(SourceError, match="names no job at all, while slurmctld shows job 1"):
        ingest(engine, History([]), now)

    assert cursor(engine, "sacct", "lab") is None
    assert [] == views.covered(engine, "history")


def test_an_empty_answer_is_one_where_what_runs_has_just_begun(engine: Engine) -> None:
    now = T0 + 2 * HOUR
    shown(engine, now - 30, held(1, 1, now - 60, None))
    ingest(engine, History([]), now)

    assert now == cursor(engine, "sacct", "lab")


def test_cards_that_accounting_does_not_count_are_told_with_the_line_to_add(engine: Engine) -> None:
    job = slurm_job(11, T0 + 60, state="RUNNING")
    record(engine, round_(T0 + 600, slurm(T0 + 600, [held(11, 1, T0 + 60, None, 2)], CARDS, [job])))
    bare = replace(running(11, T0 + 60), claims=())
    report = ingest(engine, History([bare]), T0 + HOUR)

    assert ["uncounted"] == [kind for kind, _ in doubts(engine)]
    assert "job 11" in report.doubts[0].said
    assert "add gres/gpu to AccountingStorageTRES in slurm.conf" in report.doubts[0].said

    ingest(engine, History([without(12), ended(11, T0 + 60, T0 + 99)]), T0 + 2 * HOUR)
    assert [] == doubts(engine)


# -- any lives, any lag ------------------------------------------------------------------------------------------------


@dataclass
class Lagging(History):
    """A slurmdbd that learns of starts and ends late, or never; its windows select as the real one's do."""

    lives: Sequence[tuple[int, int, int, int | None]] = ()  # start, end, and when slurmdbd learns of each
    now: int = 0
    asked: list[list[str]] = field(default_factory=list)

    def _row(self, n: int) -> Record | None:
        start, end, told, told_end = self.lives[n]
        if told > self.now or start > self.now:
            return None
        over = told_end is not None and max(told_end, end) <= self.now
        return ended(n, start, end) if over else running(n, start)

    def records(self, start: int, end: int) -> Iterator[Record | Reject]:
        self.windows.append((start, end))
        for n in range(len(self.lives)):
            row = self._row(n)
            if row is not None and (row.pending or (row.job.end or 0) >= start) and (row.job.start or 0) < end:
                yield row

    def again(self, native_ids: Sequence[str]) -> Iterator[Record | Reject]:
        yield from (row for n in map(int, native_ids) if (row := self._row(n)) is not None)


MINUTE = 60
_LIVES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 40), st.integers(0, 30), st.one_of(st.none(), st.integers(0, 90))),
    min_size=1,
    max_size=4,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(told=_LIVES, polls=st.sampled_from([3, 8]), reads=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_no_lag_and_no_lost_end_charges_a_run_for_time_it_did_not_have(
    new_ledger: NewLedger, told: list[tuple[int, int, int, int | None]], polls: int, reads: list[int]
) -> None:
    engine = new_ledger()
    lives = []
    for begun, lasted, late, later in told:
        start = T0 + begun * MINUTE
        end = start + lasted * MINUTE
        lives.append((start, end, start + late, None if later is None else end + later * MINUTE))
    source = Lagging(lives=lives)
    now, next_poll = T0, T0
    for minutes in [*reads, 210]:
        until = now + minutes * MINUTE
        for at in range(next_poll, until, polls * MINUTE):
            there = [held(n, 1, start, None) for n, (start, end, *_) in enumerate(lives) if start <= at < end]
            record(engine, round_(at, slurm(at, there, CARDS, [slurm_job(c.native_id, c.start) for c in there])))
            next_poll = at + polls * MINUTE
        now = source.now = until
        ingest(engine, source, now)
        for name, start, end in views_of(engine):
            life = lives[int(name)]
            assert start == life[0]
            over = next_poll - polls * MINUTE >= max(life[1], life[0] + GRACE)  # slurmctld was read since
            assert (end is None and not over) or (end or 0) <= life[1], f"{name} is held to {end}, not {life[1]}"
    for n, (start, end, _, told_end) in enumerate(lives):
        if told_end is not None and told_end <= now:
            assert (str(n), start, end) in views_of(engine)
    assert [] == check(engine)


def views_of(engine: Engine) -> list[tuple[str, int, int | None]]:
    return [(r[0].partition("@")[0], r[3], r[4]) for r in views.spans(engine)]


def test_the_state_of_a_reading_is_kept_over_a_restart(engine: Engine) -> None:
    shown(engine, T0 + 600, held(1, 1, T0 + 60, None))
    shown(engine, T0 + 660, held(1, 1, T0 + 60, None))  # another recorder each time
    shown(engine, T0 + 720)
    ingest(engine, History([running(1, T0 + 60)]), T0 + HOUR)

    assert [("1", T0 + 60, T0 + 660)] == spans(engine)
    assert run(1).id == "1@" + str(T0)
    assert isinstance(slurm(T0), SourceReading)
