"""Hours in six decimals that sum to their printed total."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.statements.hours import apportion, hours_text, micro_hours, seconds_text

quantities = st.lists(st.integers(-(10**14), 10**14), max_size=20).map(lambda q: np.array(q, np.int64))


def test_thirds_give_the_odd_millionth_to_the_first() -> None:
    assert [4, 3, 3] == apportion(np.array([12, 12, 12])).tolist()


def test_many_equal_rows_give_it_to_the_earliest() -> None:
    """300 x 3.33 millionths are 1000: a hundred rows get 4."""
    assert [4] * 100 + [3] * 200 == apportion(np.full(300, 12)).tolist()


def test_the_row_that_lost_most_is_rounded_up() -> None:
    """10 x 1/3.6 = 2.78 and 1 x 1/3.6 = 0.28: 3 in all, and the first lost more."""
    assert [0, 3] == apportion(np.array([1, 10])).tolist()


@given(quantities)
def test_rows_sum_to_the_rounded_total_and_none_is_off_by_a_millionth(q: np.ndarray) -> None:  # type: ignore[type-arg]
    rows = apportion(q).tolist()

    assert micro_hours(int(q.sum())) == sum(rows)
    assert all(abs(row - Fraction(int(quantity) * 10, 36)) < 1 for row, quantity in zip(rows, q, strict=True))


@given(st.lists(quantities, max_size=5))
def test_nested_rows_sum_at_both_levels(groups: list[np.ndarray]) -> None:  # type: ignore[type-arg]
    totals = apportion(np.array([int(g.sum()) for g in groups], np.int64)).tolist()

    for group, total in zip(groups, totals, strict=True):
        assert total == int(apportion(group, total).sum())


def test_a_total_that_is_no_rounding_of_the_sum_is_refused() -> None:
    with pytest.raises(ValueError, match="12 millionths of an hour is no rounding of 36 milliGPU-seconds"):
        apportion(np.array([36]), 12)


def test_one_quantity_rounds_half_to_even() -> None:
    """18 milliGPU-seconds are 5 millionths; 9 are two and a half, 27 seven and a half; 8 are 2.2 and 10 are 2.8."""
    assert [5, 2, 8, 2, 3] == [micro_hours(n) for n in (18, 9, 27, 8, 10)]
    assert [-5, -2, -8, -2, -3] == [micro_hours(-n) for n in (18, 9, 27, 8, 10)]


@pytest.mark.parametrize(("micro", "shown"), [(0, "0.000000"), (1_500_000, "1.500000"), (-1, "-0.000001")])
def test_hours_print_six_decimals(micro: int, shown: str) -> None:
    assert shown == hours_text(micro)


@pytest.mark.parametrize(("quantity", "shown"), [(0, "0.000"), (1, "0.001"), (-1500, "-1.500")])
def test_seconds_print_three_decimals(quantity: int, shown: str) -> None:
    assert shown == seconds_text(quantity)


def test_of_rows_that_lost_as_much_the_earlier_is_rounded_up_though_a_later_is_larger() -> None:
    """Each loses 10/36 of a millionth; all 59 are 16 millionths, one more than the rows rounded down."""
    assert [1, 10, 5, 0, 0] == apportion(np.array([1, 37, 19, 1, 1])).tolist()


def test_rows_of_a_reversal_sum_to_their_total() -> None:
    assert [-3, -3, -4] == apportion(np.array([-12, -12, -12])).tolist()
