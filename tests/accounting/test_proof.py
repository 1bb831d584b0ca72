"""The books prove where they come from: whoever changes them, their evidence or a decision by hand is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, select, update

from accounting.ledger.reconcile_range import Site, reconcile_range
from accounting.periods.check import check
from accounting.periods.decided import kept_outside
from accounting.periods.proofs import Breach
from accounting.periods.rederive import rederived
from accounting.periods.sealing import seal
from accounting.store.calendar import close, period_named
from accounting.store.database import read, write
from accounting.store.tables import (
    claims,
    decisions,
    jobs,
    node_days,
    periods,
    postings,
    records,
    transactions,
)
from tests.accounting.readings import live, same_name
from tests.accounting.site import DAY, T0, gn, node, pod
from tests.accounting.test_reconciling import RULES, project, site

NOVEMBER = period_named("2026-11").start
KNOWN = Site(same_name, project, borders=lambda *_: (), settings="the same in every run")


def books(engine: Engine, state: str) -> None:
    """Three booked days of October in an open, a closed or a sealed month."""
    site(engine)
    reconcile_range(engine, T0, T0 + 3 * DAY, KNOWN, RULES, now=NOVEMBER)
    if state != "open":
        close(engine, "2026-10", now=NOVEMBER)
    if state == "sealed":
        seal(engine, "2026-10", now=NOVEMBER, zone=UTC)


def breaches(engine: Engine) -> list[Breach]:
    """All that a check finds without the settings of a site."""
    return [*check(engine), *rederived(engine, KNOWN, RULES, UTC)]


STATES = ("open", "closed", "sealed")


@pytest.mark.parametrize("state", STATES)
def test_sound_books_are_what_their_evidence_says(engine: Engine, state: str) -> None:
    books(engine, state)

    assert [] == breaches(engine)


_CHARGED = postings.c.account == "charged"
_RUN = claims.c.job_id.in_(select(jobs.c.id).where(jobs.c.scheduler == "slurm"))


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


_TAMPERINGS: dict[str, Callable[[Connection], Any]] = {
    "a charge is moved to another project": lambda c: c.execute(
        update(postings).where(_CHARGED).values(project="somebody else")
    ),
    "a charge is moved to another job": lambda c: c.execute(
        update(postings).where(_CHARGED).values(job_id=select(jobs.c.id).order_by(jobs.c.id).limit(1).scalar_subquery())
    ),
    "a charge is called idle": lambda c: c.execute(update(postings).where(_CHARGED).values(account="idle")),
    "held time is changed": lambda c: c.execute(update(postings).where(_CHARGED).values(held=postings.c.held - 1)),
    "times are changed": lambda c: c.execute(update(postings).where(_CHARGED).values(end_at=postings.c.end_at - 1)),
    "a model is changed": lambda c: c.execute(update(postings).values(model="a100")),
    "a record is deleted with its claims": _without_record,
    "a node-day is taken out": _without_day,
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("what", _TAMPERINGS)
def test_what_is_changed_by_hand_is_named(engine: Engine, what: str, state: str) -> None:
    books(engine, state)
    with write(engine) as connection:
        _TAMPERINGS[what](connection)

    assert [] != breaches(engine)


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
    "all decisions are taken out": ("closed", lambda c: c.execute(delete(decisions))),
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
