from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.fabric_model import Port, PortCounter, PortOrigin, PortQuantity, PortReading, PortSample
from exporters.meters.port_counters import PortCounters, increases

Q = PortQuantity
WRAP = 2**32
OOS, BYTES = PortCounter(Q.OUT_OF_SEQUENCE), PortCounter(Q.RECEIVE_BYTES)


def sample(
    at: float, values: dict[PortCounter, float], device: str = "mlx5_0", origin: PortOrigin = PortOrigin.INFINIBAND
) -> tuple[str, PortSample]:
    reading = PortReading(origin, tuple(values), tuple(values.values()))
    return "gn01", PortSample(Port("gn01", device, "1"), (reading,), at)


def both(at: float, first: dict[PortCounter, float], second: dict[PortCounter, float]) -> tuple[str, PortSample]:
    """A port told by the infiniband collector and by the agent."""
    readings = tuple(
        PortReading(origin, tuple(values), tuple(values.values()))
        for origin, values in ((PortOrigin.INFINIBAND, first), (PortOrigin.AGENT, second))
        if values
    )
    return "gn01", PortSample(Port("gn01", "mlx5_0", "1"), readings, at)


def totals(counters: PortCounters, samples: Sequence[tuple[str, PortSample]]) -> dict[PortCounter, float]:
    """Step once with one port, and its totals."""
    increase = counters.step(samples)
    return dict(zip(counters.counters, counters.totals(increase.rows)[0].tolist(), strict=True))


def followed(values: Sequence[float], counter: PortCounter = OOS) -> list[float]:
    """The totals after each reading of one counter."""
    counters = PortCounters(keep=10)
    return [totals(counters, [sample(float(n), {counter: v})])[counter] for n, v in enumerate(values)]


def test_a_counter_begins_at_nothing_and_grows_by_what_it_counted() -> None:
    assert [0.0, 5.0, 5.0, 105.0] == followed([1000, 1005, 1005, 1105])


def test_a_32_bit_counter_that_wraps_goes_on() -> None:
    assert [0.0, 10.0, 30.0] == followed([WRAP - 20, WRAP - 10, 10])


def test_a_sum_of_two_32_bit_counters_of_which_one_wraps_goes_on() -> None:
    assert [0.0, 30.0] == followed([WRAP - 10 + 5000, 5020])


def test_a_64_bit_counter_does_not_wrap_at_32_bits() -> None:
    assert [0.0, 10.0] == followed([WRAP - 20, 10], BYTES)


@pytest.mark.parametrize("before", [100, 2**31, 3 * 2**30 - 1])
def test_a_counter_far_from_its_end_that_falls_was_reset(before: int) -> None:
    assert [0.0, 7.0, 9.0] == followed([before, 7, 9])


def test_a_small_step_back_counts_nothing_until_it_is_made_good() -> None:
    assert [0.0, 0.0, 0.0, 5.0] == followed([1000, 990, 999, 1005])


def test_a_port_that_is_gone_for_a_while_has_lost_nothing() -> None:
    counters = PortCounters(keep=10)
    first = totals(counters, [sample(0.0, {OOS: 100})])
    for _ in range(5):
        counters.step([])

    assert (0.0, 40.0) == (first[OOS], totals(counters, [sample(6.0, {OOS: 140})])[OOS])


@pytest.mark.parametrize(
    ("before", "after", "counted", "kept"),
    [
        (WRAP - 1, 2**30 - 2, 2**30 - 1, False),  # the last that is near enough to have wrapped
        (WRAP - 1, 2**30 - 1, 2**30 - 1, False),  # one more: it began anew
        (WRAP + 7, 7, 0, False),  # the sum of two of which one wrapped at this very reading
        (WRAP + 8, 7, 7, False),  # by more than a wrap: it began anew
        (1000, 900, 0, True),  # a tenth less: added up badly
        (1000, 899, 899, False),  # more: it began anew
        (1000, 1000, 0, False),
    ],
)
def test_what_a_fall_means_at_its_borders(before: int, after: int, counted: int, kept: bool) -> None:
    grown, back = increases(np.array([[float(before)]]), np.array([[float(after)]]), np.array([True]))

    assert (float(counted), kept) == (grown[0, 0], back[0, 0])


def test_a_port_that_is_gone_for_as_long_as_it_is_kept_is_known_when_it_comes_back() -> None:
    found = []
    for missed in (9, 10):
        counters = PortCounters(keep=10)
        counters.step([sample(0.0, {OOS: 5.0})])
        for _ in range(missed):
            counters.step([])
        found.append(totals(counters, [sample(99.0, {OOS: 12.0})])[OOS])

    assert [7.0, 0.0] == found


def test_a_port_that_is_gone_for_long_begins_anew() -> None:
    counters = PortCounters(keep=10)
    counters.step([sample(0.0, {OOS: 100})])
    for _ in range(12):
        counters.step([])

    assert 0.0 == totals(counters, [sample(20.0, {OOS: 140})])[OOS]


def test_the_same_reading_again_counts_nothing_and_takes_no_time() -> None:
    counters = PortCounters(keep=10)
    counters.step([sample(0.0, {OOS: 100})])
    counters.step([sample(15.0, {OOS: 130})])
    again = counters.step([sample(15.0, {OOS: 999})])

    assert ([False], [[0.0]]) == (again.new.tolist(), again.amounts.tolist())
    assert math.isnan(again.seconds[0])


def test_a_clock_set_back_loses_no_count_and_tells_no_time() -> None:
    counters = PortCounters(keep=10)
    counters.step([sample(5000.0, {OOS: 100})])
    increase = counters.step([sample(1000.0, {OOS: 130})])

    assert [[30.0]] == increase.amounts.tolist()
    assert math.isnan(increase.seconds[0])


def test_of_two_origins_only_the_first_counts() -> None:
    counters = PortCounters(keep=10)
    counters.step([both(0.0, {OOS: 100}, {OOS: 100})])

    assert 7.0 == totals(counters, [both(1.0, {OOS: 107}, {OOS: 109})])[OOS]


def test_another_origin_takes_over_and_gives_back_without_a_jump() -> None:
    counters = PortCounters(keep=10)
    told = [
        both(0.0, {OOS: 100}, {OOS: 5000}),
        both(1.0, {OOS: 110}, {OOS: 5010}),
        both(2.0, {}, {OOS: 5030}),
        both(3.0, {OOS: 140}, {OOS: 5040}),
        both(4.0, {OOS: 145}, {OOS: 5045}),
    ]

    assert [0.0, 10.0, 30.0, 40.0, 45.0] == [totals(counters, [s])[OOS] for s in told]


def test_a_counter_that_was_not_told_for_a_round_is_made_up_for() -> None:
    counters = PortCounters(keep=10)
    counters.step([sample(0.0, {OOS: 100, BYTES: 1.0})])
    counters.step([sample(1.0, {BYTES: 2.0})])
    increase = counters.step([sample(2.0, {OOS: 160, BYTES: 3.0})])

    assert [[60.0, 1.0]] == increase.amounts.tolist()
    assert [1] == increase.since.tolist()  # counted from the first step's reading


def test_values_that_were_not_told_stay_unknown() -> None:
    counters = PortCounters(keep=10)

    assert math.isnan(totals(counters, [sample(0.0, {OOS: math.nan, BYTES: 1.0})])[OOS])
    assert 0.0 == totals(counters, [sample(1.0, {OOS: 4.0, BYTES: 1.0})])[OOS]


def test_what_is_gone_for_long_takes_no_memory() -> None:
    counters = PortCounters(keep=5)
    for step in range(30):
        counters.step([sample(float(step), {OOS: 1}, device=f"mlx5_{step}")])

    assert 7 >= len(counters._rows) == len(counters._base)


def test_many_ports_that_come_and_go_take_bounded_memory() -> None:
    counters = PortCounters(keep=10_000)
    for step in range(20):
        counters.step([sample(float(step), {OOS: 1}, device=f"mlx5_{step}_{n}") for n in range(200)])

    assert 2 * 200 + 1000 + 200 >= len(counters._base)


READINGS = st.lists(
    st.one_of(st.integers(0, 2**33), st.integers(WRAP - 1000, WRAP), st.just(0), st.just(-1)), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(READINGS)
def test_whatever_a_counter_does_its_total_never_falls(values: list[int]) -> None:
    totals_ = followed([math.nan if v < 0 else float(v) for v in values])
    told = [t for t in totals_ if not math.isnan(t)]

    assert sorted(told) == told
    assert all(t >= 0 for t in told)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**30 - 1), max_size=10))
def test_a_32_bit_counter_is_followed_through_every_wrap(start: int, steps: list[int]) -> None:
    true = [start]
    for step in steps:
        true.append(true[-1] + step)
    shown = [float(v % WRAP) for v in true]

    assert [float(v - start) for v in true] == followed(shown)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e18), st.floats(0, 1e18), st.booleans()), min_size=1, max_size=20))
def test_an_increase_is_never_negative(rows: list[tuple[float, float, bool]]) -> None:
    before, after, wraps = (np.array([row[n] for row in rows]) for n in range(3))
    grown, keeps = increases(before, after, wraps)

    assert bool((grown >= 0).all())
    assert bool((grown[keeps] == 0).all())
