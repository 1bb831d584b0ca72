"""The yardstick itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
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


def test_figures_are_kept_beside_those_of_other_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "build" / "bench.json"
    good, bad = figure("good", [3.0], "x", 2), figure("bad", [1.0], "x", 2)
    monkeypatch.setattr(bench, "OUT", out)
    monkeypatch.setattr(bench, "PARTS", {"one": lambda: [good], "two": lambda: iter([bad])})
    codes = [bench.main(["one"]), bench.main(["two"]), bench.main(["three"])]

    assert [0, 1, 2] == codes
    assert {"good": 3.0, "bad": 1.0} == {name: entry["value"] for name, entry in json.loads(out.read_text()).items()}
    assert [False, True] == ["MISSED" in line for line in capsys.readouterr().out.splitlines()]


def test_a_part_that_fails_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def run(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, int(command[-1] == "scale"))

    monkeypatch.setattr(bench, "OUT", tmp_path / "bench.json")
    monkeypatch.setattr(bench.subprocess, "run", run)
    codes = [bench.main([]), bench.main(["ledger", "rounds"])]

    assert [1, 0] == codes
    assert [*bench.PARTS, "ledger", "rounds"] == asked
    assert "scale" in capsys.readouterr().err
