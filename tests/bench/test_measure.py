"""The yardstick itself."""

from __future__ import annotations

from tests.bench.measure import figure, race, ratio


def test_a_figure_is_the_median_of_its_runs() -> None:
    made = figure("x", [3.0, 1.0, 9.0], "times faster", 2)

    expected = {
        "value": 3.0,
        "unit": "times faster",
        "goal": 2,
        "better": "higher",
        "runs": (3.0, 1.0, 9.0),
        "median_of": 3,
    }
    assert expected == made.entry()


def test_a_goal_is_reached_from_its_own_side() -> None:
    assert [True, False] == [figure("x", [v], "", 2, "higher").reached for v in (2, 1.9)]
    assert [True, False] == [figure("x", [v], "", 2, "lower").reached for v in (2, 2.1)]


def test_contestants_take_turns_after_one_run_that_is_not_counted() -> None:
    ran: list[str] = []

    seconds = race({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, runs=2)

    assert ["a", "b"] * 3 == ran
    assert {"a": 2, "b": 2} == {name: len(runs) for name, runs in seconds.items()}


def test_a_ratio_is_taken_run_by_run() -> None:
    assert [2.0, 5.0] == ratio([4.0, 5.0], [2.0, 1.0])
