"""Runs that slurmctld showed and no record tells, charged by a site's choice until a record comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from accounting.evidence.contradictions import contradictions
from accounting.intake.history import ingest_history
from accounting.ledger.reconcile_range import reconcile_range
from accounting.periods.check import check
from accounting.store.calendar import close
from accounting.store.database import read
from exporters.config import ConfigError, parse
from exporters.model import Claim, Record
from tests.accounting import views
from tests.accounting.conftest import NewLedger
from tests.accounting.october import NOVEMBER, SETTLED, Site
from tests.accounting.plain_usage import corrections, usage
from tests.accounting.readings import live
from tests.accounting.site import DAY, T0, History, ended, gn, held, kn, node, run, without
from tests.accounting.test_open_runs import shown
from tests.accounting.test_proof import KNOWN
from tests.accounting.test_reconciling import RULES

HOUR = 3600
BEGUN, LAST, GONE = T0 + 60, T0 + 10 * HOUR, T0 + 10 * HOUR + 60
SEEN = held(2, 1, BEGUN, None, 2)


def seen(engine: Engine, *claims: Claim, last: int = LAST) -> None:
    """Slurmctld shows runs, by default run 2 with two cards, up to ``last``; read in full, a minute after that not."""
    for at in range(T0 + HOUR, last + 1, 3 * HOUR):
        shown(engine, at, *(claims or (SEEN,)))
    shown(engine, last + 60)


def ingest(engine: Engine, *rows: Record, now: int = T0 + DAY, charge: bool = True) -> None:
    source = History([ended(9, T0, T0 + 5), *rows])  # some answer there must be
    ingest_history(engine, source, now=now, start=T0, overlap=90 * DAY, step=90 * DAY, charge_live=charge)


def book(engine: Engine, now: int = T0 + DAY, days: int = 1) -> None:
    reconcile_range(engine, T0, T0 + days * DAY, KNOWN, RULES, now=now)


def of_run_2(engine: Engine) -> dict[str, int]:
    """MilliGPU-seconds of run 2 by disposition, and nobody's unknown ones."""
    told = {u.disposition: u.charged for u in usage(engine, T0, T0 + DAY) if u.job == run(2)}
    unknown = sum(u.charged for u in usage(engine, T0, T0 + DAY) if u.job is None and u.disposition == "unknown")
    return {**{str(word): quantity for word, quantity in told.items()}, **({"nobody": unknown} if unknown else {})}


def kinds(engine: Engine) -> list[tuple[str, int]]:
    with read(engine) as connection:
        return [(one.kind, one.quantity) for one in contradictions(connection, T0, T0 + DAY)]


def test_what_no_record_tells_is_unknown_unless_the_site_charges_it(engine: Engine) -> None:
    seen(engine)
    ingest(engine, charge=False)
    book(engine)
    before = (of_run_2(engine), kinds(engine))
    ingest(engine)
    book(engine)

    assert ({"nobody": 8000 * (GONE - BEGUN)}, [("unrecorded", 2000 * (LAST - BEGUN))]) == before
    assert {"charged": 2000 * (LAST - BEGUN), "nobody": 8000 * (GONE - LAST)} == of_run_2(engine)
    assert [("live only", 2000 * (LAST - BEGUN))] == kinds(engine)
    assert [] == check(engine)


def test_the_record_replaces_it_exactly_once_in_an_open_month(engine: Engine) -> None:
    seen(engine)
    ingest(engine)
    book(engine)
    for again in range(2):
        ingest(engine, ended(2, BEGUN, LAST + HOUR, cards=3), now=T0 + DAY + again)
        book(engine, now=T0 + DAY + again)

    assert {"charged": 3000 * (LAST + HOUR - BEGUN)} == of_run_2(engine)
    assert [] == kinds(engine)
    assert [] == check(engine)


def test_the_record_is_one_correction_in_a_closed_month(engine: Engine) -> None:
    seen(engine)
    ingest(engine)
    book(engine, now=NOVEMBER)
    close(engine, "2026-10", now=NOVEMBER)
    for again in range(3):
        ingest(engine, ended(2, BEGUN, LAST + HOUR, cards=3), now=NOVEMBER + again)
        book(engine, now=NOVEMBER + again)
    later = sum(c.usage.charged for c in corrections(engine, "2026-11") if c.usage.job == run(2))

    assert {"charged": 2000 * (LAST - BEGUN), "nobody": 8000 * (GONE - LAST)} == of_run_2(engine)
    assert 3000 * (LAST + HOUR - BEGUN) - 2000 * (LAST - BEGUN) == later
    assert [] == check(engine)


def test_a_run_that_is_still_shown_is_charged_as_far_as_the_history_was_read(engine: Engine) -> None:
    for at in range(T0 + HOUR, T0 + DAY, 3 * HOUR):
        shown(engine, at, SEEN)
    ingest(engine)
    book(engine)

    assert {"charged": 2000 * (T0 + DAY - BEGUN)} == of_run_2(engine)


def test_a_run_that_has_just_begun_is_waited_for(engine: Engine) -> None:
    now = T0 + 2 * HOUR
    shown(engine, now - 30, held(2, 1, now - 60, None, 2))
    ingest(engine, now=now)

    assert [] == [row for row in views.spans(engine) if row[0] == run(2).id]


def test_cards_that_accounting_does_not_count_are_those_that_were_seen(engine: Engine) -> None:
    seen(engine)
    for again in range(2):  # the same row is told again
        ingest(engine, replace(without(2), job=ended(2, BEGUN, LAST + HOUR).job), now=T0 + DAY + again)
        book(engine, now=T0 + DAY + again)

        assert {"charged": 2000 * (LAST + HOUR - BEGUN)} == of_run_2(engine)
    ingest(engine, ended(2, BEGUN, LAST + HOUR, cards=1), now=T0 + DAY + 9)
    book(engine, now=T0 + DAY + 9)
    assert {"charged": 1000 * (LAST + HOUR - BEGUN)} == of_run_2(engine)


def test_a_site_that_chooses_otherwise_takes_it_back(engine: Engine) -> None:
    seen(engine)
    for n, charge in enumerate((True, False, True, False)):
        ingest(engine, charge=charge, now=T0 + DAY + n)
    book(engine)

    assert {"nobody": 8000 * (GONE - BEGUN)} == of_run_2(engine)
    assert [("unrecorded", 2000 * (LAST - BEGUN))] == kinds(engine)
    assert [] == check(engine)


_RUNS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 9), st.integers(1, 3), st.sampled_from(["told", "late", "never"])),
    min_size=1,
    max_size=3,
)
"""Hours after T0 at which runs begin, hours that they last, cards, and when history tells them."""


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(runs=_RUNS, closed=st.booleans(), again=st.integers(1, 3))
def test_late_records_come_to_what_they_would_have_come_to_in_time(
    new_ledger: NewLedger, runs: Sequence[tuple[int, int, int, str]], closed: bool, again: int
) -> None:
    lives = [
        (n, T0 + at * HOUR + 60, T0 + (at + lasts) * HOUR, cards, told)
        for n, (at, lasts, cards, told) in enumerate(runs, 2)
    ]
    rows = {
        told: [ended(n, a, b, cards=cards) for n, a, b, cards, t in lives if t == told] for told in ("told", "late")
    }

    def watched(engine: Engine) -> None:
        for at in range(T0 + 600, T0 + DAY, HOUR // 2):
            shown(engine, at, *(held(n, 1, a, None, cards) for n, a, b, cards, _ in lives if a <= at < b))

    def sums(engine: Engine) -> dict[object, int]:
        found: dict[object, int] = {}
        later = [c.usage for c in corrections(engine, "2026-11")]
        for u in [*usage(engine, T0, T0 + DAY), *later]:
            if u.disposition is not None:
                found[u.job, u.disposition] = found.get((u.job, u.disposition), 0) + u.charged
        return {key: quantity for key, quantity in found.items() if quantity}

    engine = new_ledger()
    watched(engine)
    ingest(engine, *rows["told"], now=NOVEMBER)
    book(engine, now=NOVEMBER)
    if closed:
        close(engine, "2026-10", now=NOVEMBER)
    for n in range(again):
        ingest(engine, *rows["told"], *rows["late"], now=NOVEMBER + n)
        book(engine, now=NOVEMBER + n)
    found = sums(engine)
    assert [] == check(engine)

    other = new_ledger()
    watched(other)
    ingest(other, *rows["told"], *rows["late"], now=NOVEMBER)
    book(other, now=NOVEMBER)
    assert sums(other) == found


def test_settings_notes_and_settle_say_what_is_charged_so(engine: Engine, tmp_path: Path) -> None:
    machine = [node(gn(1)), node(kn(1))]
    live(engine, T0, nodes=machine, gap=90 * DAY)
    seen(engine)
    live(engine, SETTLED, nodes=machine, gap=90 * DAY)
    ingest(engine, now=SETTLED)
    made = Site(engine, tmp_path)
    made.run("reconcile", "--period", "2026-10")
    said = "GPU-hours: job"

    assert f"note: 19.966667 {said}" in made.run("settle", "2026-10")
    assert "is charged by what slurmctld showed alone" in made.month("2026-10")[2].decode()
    [line] = [row for row in made.lines("2026-10") if row["job_id"] == run(2).id]
    assert "19.966667" == line["charged_gpu_hours"]
    assert "live only" in made.run("explain", line["line_id"], "--evidence")


def test_the_setting_is_one_of_two_words() -> None:
    told = "ledger: {{url: 'sqlite:///l.db', live_only: {}}}"
    chosen = parse(told.format("charge")).ledger
    assert chosen is not None
    assert "charge" == chosen.live_only
    with pytest.raises(ConfigError, match="live_only"):
        parse(told.format("bill"))
