"""The mapping of recorded seconds to the month."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.lab.demo_time import LEAD, MONTH_END, MONTH_START, TAIL, TimeMap

BEGIN, SECONDS = 1_795_000_000, 480
MONTH = TimeMap(BEGIN, SECONDS)

moments = st.integers(BEGIN - 10_000, BEGIN + SECONDS + 40_000_000)


@given(moments, moments)
def test_order_and_equality_of_moments_are_preserved(a: int, b: int) -> None:
    assert (a < b) == (MONTH(a) < MONTH(b))
    assert (a == b) == (MONTH(a) == MONTH(b))


def test_the_month_lies_within_the_story() -> None:
    assert (MONTH_START, MONTH_END) == (MONTH(BEGIN + LEAD), MONTH(BEGIN + SECONDS - TAIL))


def test_seconds_become_an_hour_to_two_and_no_two_alike() -> None:
    steps = [b - a for a, b in zip(MONTH.moments, MONTH.moments[1:], strict=False)]

    assert 3600 < min(steps)
    assert max(steps) < 7600
    assert len(set(steps)) > SECONDS * 0.8


@given(st.integers(0, SECONDS))
def test_a_moment_is_reached_by_its_own_second(second: int) -> None:
    moment = MONTH.moments[second]

    assert second == MONTH.second(moment)
    assert max(0, second - 1) == MONTH.second(moment - 1)
