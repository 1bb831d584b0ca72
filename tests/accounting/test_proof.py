"""The books prove where they come from: whoever changes them, their evidence or a decision by hand is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, insert, select, update

from accounting.evidence.fingerprints import no_evidence
from accounting.intake.live.telemetry import add as telemetry_added
from accounting.intake.live.telemetry import flush
from accounting.ledger.reconcile_range import Site, reconcile_range
from accounting.periods.check import check
from accounting.periods.decided import kept_outside
from accounting.periods.draws import Draw, Part, Sample
from accounting.periods.proofs import Breach
from accounting.periods.rederive import Derived, rederived, waiting
from accounting.periods.sealing import seal
from accounting.store.calendar import close, period_named
from accounting.store.database import read, write
from accounting.store.tables import (
    capacity,
    claims,
    coverage,
    day_evidence,
    day_marks,
    decisions,
    jobs,
    metadata,
    node_days,
    periods,
    postings,
    records,
    telemetry,
    telemetry_days,
    transactions,
)
from exporters.recorder import Telemetry
from tests.accounting.readings import live, same_name
from tests.accounting.site import DAY, T0, gn, node, pod, workload
from tests.accounting.test_reconciling import RULES, project, site

NOVEMBER = period_named("2026-11").start
KNOWN = Site(same_name, project, borders=lambda *_: (), settings="the same in every run")


def books(engine: Engine, state: str) -> None:
    """Three booked days of October in an open, a closed or a sealed month."""
    site(engine)
    with write(engine) as connection:
        pod_a = Telemetry(workload("a"), "pod-a", "gn01", T0 + 100, T0 + 200, 200.5, 50.25, 0, 7.5, 0, 0, 4, 4)
        flush(connection, telemetry_added({}, [pod_a], UTC))
        flush(connection, telemetry_added({}, [pod_a], UTC))
    reconcile_range(engine, T0, T0 + 3 * DAY, KNOWN, RULES, now=NOVEMBER)
    if state != "open":
        close(engine, "2026-10", now=NOVEMBER)
    if state == "sealed":
        seal(engine, "2026-10", now=NOVEMBER, zone=UTC)


def breaches(engine: Engine) -> list[Breach]:
    """All that a check finds without the settings of a site."""
    return [*check(engine), *rederived(engine, KNOWN, RULES, UTC).breaches]


def derived(engine: Engine, draw: Draw | None = None) -> Derived:
    """What reconciling again shows."""
    return rederived(engine, KNOWN, RULES, UTC, draw=draw)


STATES = ("open", "closed", "sealed")


@pytest.mark.parametrize("state", STATES)
def test_sound_books_are_what_their_evidence_says(engine: Engine, state: str) -> None:
    books(engine, state)

    assert [] == breaches(engine)
    assert ((), 3, 3) == (tuple(derived(engine).waits), derived(engine).days, derived(engine).of_days)


_CHARGED = postings.c.account == "charged"
_RUN = claims.c.job_id.in_(select(jobs.c.id).where(jobs.c.scheduler == "slurm"))
_POD = jobs.c.scheduler == "kubernetes"


def _without_record(connection: Connection) -> None:
    of_run = select(claims.c.record_id).where(_RUN)
    gone = [*connection.scalars(of_run)]
    connection.execute(delete(claims).where(_RUN))
    connection.execute(delete(records).where(records.c.id.in_(gone)))


def _without_day(connection: Connection) -> None:
    place = node_days.c.start_at == T0 + DAY
    number = connection.execute(select(node_days.c.transaction_id).where(place)).scalar_one()
    connection.execute(delete(node_days).where(place))
    connection.execute(delete(postings).where(postings.c.transaction_id == number))
    connection.execute(delete(transactions).where(transactions.c.id == number))


def _restated(connection: Connection) -> None:
    """A month is opened again, or closed by hand."""
    state = connection.execute(select(periods.c.state).where(periods.c.name == "2026-10")).scalar_one()
    news: dict[str, Any] = {"state": "closed", "closed_at": NOVEMBER, "closed_with": ""}
    if state != "open":
        news = {"state": "open", "closed_at": None, "closed_with": "", "seal": None}
    connection.execute(update(periods).values(**news))


def _set(table: Any, *where: Any, **values: Any) -> Callable[[Connection], Any]:
    return lambda connection: connection.execute(update(table).where(*where).values(**values))


_FIRST = select(jobs.c.id).order_by(jobs.c.id.desc()).limit(1).scalar_subquery()
_SAYS = "what is booked is what the evidence says: node-day gn01 2026-10-0[123]T00:00Z: "
_TAMPERINGS: dict[str, tuple[Callable[[Connection], Any], str]] = {
    "a charge is moved to another project": (_set(postings, _CHARGED, project="nobody"), _SAYS + "charged nobody"),
    "a charge is moved to another job": (_set(postings, _CHARGED, job_id=_FIRST), _SAYS + "charged "),
    "a charge is called idle": (_set(postings, _CHARGED, account="idle"), _SAYS + "charged "),
    "held time is changed": (_set(postings, _CHARGED, held=postings.c.held - 1), _SAYS + "charged "),
    "times are changed": (_set(postings, _CHARGED, end_at=postings.c.end_at - 1), _SAYS + "charged "),
    "a model is changed": (_set(postings, model="a100"), _SAYS),
    "a node-day is taken out": (_without_day, _SAYS.replace("[123]", "2") + "it is not booked"),
    "a record is deleted with its claims": (_without_record, "evidence is only ever added: .*"),
    "a claim is changed": (
        _set(claims, _RUN, milligpu=1000),
        r"claims are what the record said: record \d+ \(slurm/lab/1@",
    ),
    "telemetry is changed": (
        _set(telemetry, telemetry.c.start_at == T0, active_seconds=9.5),
        "telemetry is what was measured: node-day gn01 2026-10-01T00:00Z: ",
    ),
    "telemetry is taken out": (
        lambda c: c.execute(delete(telemetry).where(telemetry.c.start_at == T0)),
        "telemetry is what was measured: node-day gn01 2026-10-01T00:00Z: ",
    ),
    "telemetry is taken out with its digests": (
        lambda c: [c.execute(delete(t).where(t.c.start_at == T0)) for t in (telemetry, telemetry_days)],
        "evidence is only ever added: day 2026-10-01T00:00Z: telemetry had 8 samples of it, and has 0",
    ),
    "coverage is taken out": (
        lambda c: c.execute(delete(coverage)),
        r"evidence is only ever added: day 2026-10-0[123]T00:00Z: \w+ \w+ had been read from 00:00:00Z to ",
    ),
    "coverage is shortened": (
        _set(coverage, end_at=coverage.c.end_at - DAY // 2),
        r"evidence is only ever added: day 2026-10-0[123]T00:00Z: \w+ \w+ had been read from 00:00:00Z to ",
    ),
    "what a day was booked from is taken out": (
        lambda c: c.execute(delete(day_evidence)),
        "evidence is only ever added: day 2026-10-01T00:00Z: it is booked, and ",
    ),
    "a user is changed": (
        _set(jobs, _POD, user_name="mallory"),
        r"a job is what was told of it: job \d+ \(kubernetes/kube/uid-a\): its name, user, ",
    ),
    "a month is restated": (_restated, "a month stands as it was decided: period 2026-10: "),
}
"""What somebody changes by hand, and what names it: what, and where."""


@pytest.mark.parametrize("state", STATES)
def test_what_is_changed_by_hand_is_named(engine: Engine, state: str) -> None:
    books(engine, state)
    before = everything(engine)
    missed = {}
    for what, (tamper, sentence) in _TAMPERINGS.items():
        with write(engine) as connection:
            tamper(connection)
        found = [str(breach) for breach in breaches(engine)]
        if not any(re.match(sentence, one) for one in found):
            missed[what] = found
        put_back(engine, before)

    assert {} == missed
    assert [] == breaches(engine)


def everything(engine: Engine) -> dict[Any, list[Any]]:
    """All rows of a ledger."""
    with read(engine) as connection:
        return {table: [dict(row._mapping) for row in connection.execute(select(table))] for table in TABLES}


TABLES = metadata.sorted_tables


def put_back(engine: Engine, rows: dict[Any, list[Any]]) -> None:
    """A ledger as it was."""
    with write(engine) as connection:
        for table in reversed(TABLES):
            connection.execute(delete(table))
        for table in TABLES:
            if rows[table]:
                connection.execute(insert(table), rows[table])


def test_what_hides_behind_newer_evidence_is_told_to_be_unproved(engine: Engine) -> None:
    books(engine, "open")
    with write(engine) as connection:
        connection.execute(update(postings).where(_CHARGED).values(project="nobody"))
        connection.execute(update(node_days).where(node_days.c.start_at == T0).values(inputs_hash=b"x" * 32))
        connection.execute(delete(day_marks))
    first = derived(engine)
    with write(engine) as connection:
        connection.execute(update(node_days).values(inputs_hash=b"x" * 32))
    second = derived(engine)

    assert "node-days with newer records: gn01 2026-10-01 (meterbridge reconcile)" == waiting(first.waits, UTC)
    assert {"node-day gn01 2026-10-02T00:00Z", "node-day gn01 2026-10-03T00:00Z"} >= {b.where for b in first.breaches}
    assert 3 == len(second.waits)


def test_what_has_no_evidence_left_by_its_mark_has_no_postings_either(engine: Engine) -> None:
    books(engine, "open")
    with write(engine) as connection:
        connection.execute(delete(capacity))
        connection.execute(delete(claims))
        hashes = update(node_days).values(inputs_hash=no_evidence("gn01", T0)).where(node_days.c.start_at == T0)
        connection.execute(hashes)
        connection.execute(delete(day_marks))

    assert ["node-day gn01 2026-10-01T00:00Z"] == [b.where for b in derived(engine).breaches]
    assert 2 == len(derived(engine).waits)


def test_a_day_between_two_booked_ones_of_which_nothing_is_left_is_missed(engine: Engine) -> None:
    books(engine, "open")
    with write(engine) as connection:
        _without_day(connection)
        connection.execute(delete(day_marks))

    assert [("gn01", T0 + DAY)] == [tuple(one) for one in derived(engine).waits]
    assert {"transactions", "postings"} == {b.where for b in check(engine)}


# a part of the books


def test_a_sample_looks_at_so_many_and_finds_what_is_there(engine: Engine) -> None:
    books(engine, "sealed")
    with write(engine) as connection:
        connection.execute(update(postings).where(_CHARGED).values(project="nobody"))
    sampled = [derived(engine, Sample(1, Random(seed))) for seed in range(12)]

    assert {(1, 3)} == {(one.days, one.of_days) for one in sampled}
    named = {b.where[-17:-7] for one in sampled for b in one.breaches}
    assert {b.where[-17:-7] for b in derived(engine).breaches} == named


@given(many=st.integers(0, 40), parts=st.integers(1, 30))
def test_parts_leave_nothing_out_and_take_nothing_twice(many: int, parts: int) -> None:
    items = range(many)
    found = [n for turn in range(parts) for n in Part(turn, parts).of(items)]

    assert [*items] == sorted(found)


@given(many=st.integers(0, 400), most=st.integers(1, 100), seed=st.integers())
def test_a_sample_is_as_large_as_asked_in_order_and_without_doubles(many: int, most: int, seed: int) -> None:
    drawn = Sample(most, Random(seed))
    days, months = drawn.of(range(many)), drawn.months(range(many))

    assert (min(most, many), min(-(-most // 31), many)) == (len(days), len(months))
    assert [*days] == sorted({*days})
    assert [*months] == sorted({*months})


def _taken_back(connection: Connection) -> None:
    """A month as if nobody had decided anything about it."""
    connection.execute(delete(decisions))
    connection.execute(update(periods).values(state="open", closed_at=None, closed_with="", seal=None, sealed_at=None))


_DECIDED: dict[str, tuple[str, Callable[[Connection], Any]]] = {
    "a seal is removed": (
        "sealed",
        lambda c: c.execute(update(periods).values(seal=None, state="closed", sealed_at=None)),
    ),
    "a closed month is opened": ("closed", lambda c: c.execute(update(periods).values(state="open", closed_at=None))),
    "a sealed month is opened": (
        "sealed",
        lambda c: c.execute(update(periods).values(state="open", closed_at=None, seal=None)),
    ),
    "what it was closed with is changed": ("closed", lambda c: c.execute(update(periods).values(closed_with="{}"))),
    "a decision is changed": ("sealed", lambda c: c.execute(update(decisions).values(told="x"))),
    "a decision is taken out": ("sealed", lambda c: c.execute(delete(decisions).where(decisions.c.kind == "close"))),
    "the last decision is taken out": (
        "sealed",
        lambda c: c.execute(delete(decisions).where(decisions.c.kind == "seal")),
    ),
    "all decisions are taken out": ("closed", lambda c: c.execute(delete(decisions))),
    "a closed month is taken back with its decision": ("closed", _taken_back),
    "a sealed month is taken back with its decisions": ("sealed", _taken_back),
    "a month is closed by hand": (
        "open",
        lambda c: c.execute(update(periods).values(state="closed", closed_at=NOVEMBER)),
    ),
}


@pytest.mark.parametrize("what", _DECIDED)
def test_a_month_stands_as_it_was_decided(engine: Engine, what: str) -> None:
    state, tamper = _DECIDED[what]
    books(engine, state)
    with write(engine) as connection:
        tamper(connection)

    found = check(engine)
    assert {"a month stands as it was decided", "decisions are only ever added"} & {b.invariant for b in found}
    assert "2026-10" in " ".join(map(str, found))


def test_a_month_that_was_corrected_cannot_be_taken_back(engine: Engine) -> None:
    """Not even by somebody who also takes back what the days know of decisions."""
    books(engine, "closed")
    live(engine, T0 + 3 * DAY, nodes=[node(gn(1))], gone=[pod("late", 1, T0 + 50, T0 + 90, 1)], gap=50_000)
    reconcile_range(engine, T0, T0 + 3 * DAY, KNOWN, RULES, now=NOVEMBER + DAY)
    assert [] == check(engine)
    with write(engine) as connection:
        _taken_back(connection)
        connection.execute(update(day_evidence).values(decided=0, head=b""))

    assert {"only closed months are corrected: period 2026-10"} == {f"{b.invariant}: {b.where}" for b in check(engine)}


def test_what_was_taken_out_stays_named_when_its_day_is_booked_anew(engine: Engine) -> None:
    books(engine, "open")
    with write(engine) as connection:
        connection.execute(delete(coverage))
    reconcile_range(engine, T0, T0 + 3 * DAY, KNOWN, RULES, now=NOVEMBER)

    assert {"evidence is only ever added"} == {b.invariant for b in check(engine)}


def test_records_that_came_since_wait_for_reconciling_and_are_no_breach(engine: Engine) -> None:
    site(engine)
    reconcile_range(engine, T0, T0 + 3 * DAY, KNOWN, RULES, now=NOVEMBER)

    live(engine, T0 + 3 * DAY, nodes=[node(gn(1))], gone=[pod("late", 1, T0 + 50, T0 + 90, 1)], gap=50_000)

    assert [] == breaches(engine)


def test_a_seal_kept_outside_is_compared(engine: Engine) -> None:
    books(engine, "sealed")
    with read(engine) as connection:
        kept = bytes(connection.execute(select(periods.c.seal)).scalar_one()).hex()

        assert [] == [*kept_outside(connection, [kept, kept.upper()])]
        assert ["seal 00ff"] == [b.where for b in kept_outside(connection, [kept, "00ff"])]
