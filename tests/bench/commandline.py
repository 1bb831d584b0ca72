"""How soon the command answers: `--version`, `--help` and a verb's `--help`, against Python that imports click."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.measure import Figure, figure, race, ratio

ROOT = Path(__file__).parents[2]
STARTS, RUNS = 5, 7
CASES = {"version": ["--version"], "help": ["--help"], "verb_help": ["reconcile", "--help"]}


def figures() -> Iterator[Figure]:
    """CPU seconds of whole processes, taking turns; `STARTS` of each in a run, `RUNS` runs."""
    front_door = [sys.executable, str(ROOT / "meterbridge.py")]
    contestants = {name: _starting([*front_door, *words]) for name, words in CASES.items()}
    seconds = race({"click": _starting([sys.executable, "-c", "import click"]), **contestants}, RUNS, _of_children)
    for name in CASES:
        yield figure(f"start_{name}_to_click", ratio(seconds[name], seconds["click"]), "x import click", 3, "lower")


def _starting(command: list[str]) -> Callable[[], None]:
    def start() -> None:
        for _ in range(STARTS):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)

    return start


def _of_children() -> float:
    """CPU seconds of all processes that this one has started and waited for."""
    times = os.times()
    return times.children_user + times.children_system
