"""Where sources contradict each other: told with GPU-hours by settle, notes and metrics, and kept at closing."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from accounting.evidence.contradictions import KINDS, Contradiction, contradictions
from accounting.periods.closing import period_state
from accounting.service import metrics
from accounting.statements import doubts
from accounting.store.database import read
from exporters.model import Record
from tests.accounting import october
from tests.accounting.october import HOUR, NOVEMBER, SETTLED, Site, told
from tests.accounting.readings import live
from tests.accounting.site import DAY, T0, ended, gn, held, kn, node, run, running
from tests.accounting.test_open_runs import shown

LAST = T0 + 10 * HOUR


def site(engine: Engine, folder: Path, *rows: Record) -> Site:
    """October with run 2, of two cards, and run 3, of one: slurmctld showed 2 for ten hours, and 3 never."""
    machine = [node(gn(1)), node(kn(1))]
    live(engine, T0, nodes=machine, gap=90 * DAY)
    shown(engine, T0 + HOUR, held(2, 1, T0 + 60, None, 2))
    shown(engine, LAST, held(2, 1, T0 + 60, None, 2))
    shown(engine, LAST + 60)
    shown(engine, T0 + 21 * HOUR)
    live(engine, SETTLED, nodes=machine, gap=90 * DAY)
    told(engine, *(rows or (running(2, T0 + 60, cards=2), running(3, T0 + 20 * HOUR))), now=SETTLED)
    made = Site(engine, folder)
    made.run("reconcile", "--period", "2026-10")
    return made


@pytest.fixture
def contradicted(engine: Engine, tmp_path: Path) -> Site:
    return site(engine, tmp_path)


def found(engine: Engine, start: int = T0, end: int = NOVEMBER) -> list[Contradiction]:
    with read(engine) as connection:
        return contradictions(connection, start, end)


def test_a_runaway_is_about_what_it_would_hold_had_it_gone_on_and_the_largest_is_first(contradicted: Site) -> None:
    engine = contradicted.engine
    hours = [(one.kind, one.quantity, one.said.split()[1]) for one in found(engine)]

    assert [("runaway", 2000 * (NOVEMBER - LAST), "2"), ("runaway", 1000 * (NOVEMBER - T0 - 20 * HOUR), "3")] == hours
    assert [2000 * HOUR] == [one.quantity for one in found(engine, LAST, LAST + HOUR)]
    assert [] == found(engine, T0 - DAY, T0)


def test_settle_lists_them_with_their_hours_before_what_is_smaller(contradicted: Site) -> None:
    told = contradicted.run("settle", "2026-10").splitlines()
    first, second = (line for line in told if ": job " in line)

    hours = [float(line.split()[1]) for line in told if "GPU-hours" in line]
    assert sorted(hours, reverse=True) == hours

    assert first.startswith("note: 1468.000000 GPU-hours: job 2 'train-2' of alice, vision, is RUNNING in accounting")
    assert "it was last seen there at 2026-10-01T10:00:00+00:00" in first
    assert second.startswith("note: 724.000000 GPU-hours: job 3 ")
    assert "it was never seen there" in second


def test_notes_of_an_open_month_tell_them_and_a_closed_one_keeps_what_was_told(contradicted: Site) -> None:
    open_notes = contradicted.month("2026-10")[2].decode()
    contradicted.run("close", "2026-10")
    closed = contradicted.month("2026-10")
    mended = [ended(2, T0 + 60, LAST, cards=2), ended(3, T0 + 20 * HOUR, T0 + 21 * HOUR)]
    told(contradicted.engine, *mended, now=SETTLED + 1)

    assert "    1468.000000 GPU-hours: job 2 'train-2'" in open_notes
    assert "    1468.000000 GPU-hours: job 2 'train-2'" in closed[2].decode()
    assert closed == contradicted.month("2026-10")
    assert [] == found(contradicted.engine)
    contradicted.run("reconcile")
    assert "every invariant holds\n" == contradicted.run("check")


def test_a_month_without_contradictions_is_closed_with_the_text_that_it_always_was(
    engine: Engine, tmp_path: Path
) -> None:
    plain = october.october(engine, tmp_path)
    plain.run("close", "2026-10")
    kept = period_state(engine, "2026-10").closed_with

    assert kept is not None
    assert "doubts" not in kept.text()
    assert b"Contradictions" not in plain.month("2026-10")[2]


def test_metrics_tell_the_seconds_of_open_months_by_kind(contradicted: Site) -> None:
    def rows() -> dict[tuple[str, ...], float]:
        standing = metrics.stand(contradicted.engine, lambda _: metrics.Due("EUR", None, dict), metrics.Months())
        return dict(standing.overall[metrics.CONTRADICTED])

    expected = dict.fromkeys((("2026-10", kind) for kind in KINDS), 0.0)
    expected["2026-10", "runaway"] = 2.0 * (NOVEMBER - LAST) + 1.0 * (NOVEMBER - T0 - 20 * HOUR)
    assert expected == {labels: value for labels, value in rows().items() if labels[0] == "2026-10"}

    contradicted.run("close", "2026-10")
    assert not [labels for labels in rows() if labels[0] == "2026-10"]


def test_a_run_seen_live_of_which_no_record_tells_comes_with_its_hours(engine: Engine, tmp_path: Path) -> None:
    of_another = ended(9, T0, T0 + 60)
    made = site(engine, tmp_path, of_another)
    [(kind, quantity, said)] = found(engine)

    assert ("unrecorded", 2000 * (LAST - T0 - 60)) == (kind, quantity)  # what was seen: to the last look that showed it
    assert said.startswith(f"job {run(2).id} held cards from 2026-10-01T00:01:00+00:00 to 2026-10-01T10:00:00+00:00")
    assert f"note: 19.966667 GPU-hours: job {run(2).id} held cards from" in made.run("settle", "2026-10")


def test_many_are_named_as_far_as_they_fit_and_the_rest_is_summed_up() -> None:
    some = [doubts.Doubt(f"job {n}", 3_600_000 * (99 - n)) for n in range(30)]
    shown_ones = doubts.most_doubtful(some, " (meterbridge rejects)")

    assert some[: doubts.TOLD] == shown_ones[:-1]
    assert "745.000000 GPU-hours: 10 more (meterbridge rejects)" == doubts.in_words(shown_ones[-1])
    assert some[:5] == doubts.most_doubtful(some[:5])


def test_a_name_of_a_job_cannot_break_the_line() -> None:
    assert r"1.000000 GPU-hours: job 'a\nb'" == doubts.in_words(doubts.Doubt("job 'a\nb'", 3_600_000))
