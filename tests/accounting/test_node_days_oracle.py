"""A whole range by columns, held to going node-day by node-day: the same inputs, the same hashes, the same books."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.model import DAY, NodeDay
from accounting.store import staging
from tests.accounting.conftest import NewLedger
from tests.accounting.naive import inputs_hash, node_days
from tests.accounting.node_days import END, START
from tests.accounting.node_days import node_days as drawn_days
from tests.accounting.readings import node_day, site_days
from tests.accounting.told import FIRST, Told, agree, dump, project, tell, together, wandering

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


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
    one, now = together(engine, end, end), dump(engine)
    agree(engine, end)
    again = together(engine, end, end)

    assert (0, one.node_days) == (again.posted, again.unchanged)
    assert now == dump(engine)


@settings(max_examples=5, deadline=None, suppress_health_check=SLOW)
@given(told=sites(), rng=st.randoms(use_true_random=False))
def test_the_books_are_the_same_where_new_postings_are_staged(
    new_ledger: NewLedger, told: list[Told], rng: random.Random
) -> None:
    def books() -> object:
        engine = new_ledger()
        tell(engine, early, end)
        together(engine, end, end)
        tell(engine, late, end + 1)
        together(engine, end, end)
        agree(engine, end)
        return dump(engine)

    end = FIRST + DAY // 2 + (END - START) * told[0].unit + DAY
    early = [replace(t, day=part_of(t.day, rng), split=False, ruled=False) for t in told]
    late = [rest_of(t, e) for t, e in zip(told, early, strict=True)]
    now = books()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(staging, "MUCH", 1)

        assert now == books()


@settings(max_examples=8, deadline=None, suppress_health_check=SLOW)
@given(told=sites())
def test_machine_by_machine_the_books_are_the_same(new_ledger: NewLedger, told: list[Told]) -> None:
    engine = new_ledger()
    end = FIRST + DAY // 2 + (END - START) * told[0].unit + DAY
    tell(engine, told, end)
    by_machine = [together(engine, end, end, machines=[machine]) for machine in ("n1", "n2")]
    agree(engine, end)
    whole = together(engine, end, end)

    assert (0, 0) == (whole.posted, whole.withdrawn)
    assert whole.node_days == sum(report.posted for report in by_machine)


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

    agree(engine, end)


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


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
@given(told=sites())
def test_the_inputs_are_those_of_going_node_day_by_node_day(new_ledger: NewLedger, told: list[Told]) -> None:
    engine = new_ledger()
    end = FIRST + DAY // 2 + (END - START) * told[0].unit + DAY
    tell(engine, told, end)
    expected = list(node_days(engine, FIRST, end, wandering, projects=project))
    days = site_days(engine, FIRST, end, wandering, projects=project)

    assert [inputs_hash(day) for day in expected] == [digest for day in days for digest in day.hashes]
    assert [content(day) for day in expected] == [
        content(node_day(day, m)) for day in days for m in range(len(day.machines))
    ]


def content(day: NodeDay) -> NodeDay:
    """A node-day in a stable order."""
    return replace(day, claims=tuple(sorted(day.claims, key=repr)), projects=tuple(sorted(day.projects)), prints=())
