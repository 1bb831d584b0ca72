"""The promtool tests of this folder, read as data: which alerts they show firing, and which quiet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.test.yaml"))


@dataclass(frozen=True)
class Moment:
    """One look at a case: what fires then."""

    file: Path
    case: dict[str, Any]
    at: str
    interval: str
    firing: frozenset[str]


@cache
def moments() -> tuple[Moment, ...]:
    """Every look of every case."""
    return tuple(_moments())


def _moments() -> Iterator[Moment]:
    for file in FILES:
        text = yaml.safe_load(file.read_text())
        for case in text["tests"]:
            for look in case["promql_expr_test"]:
                labels = " ".join(sample["labels"] for sample in look.get("exp_samples") or [])
                firing = frozenset(re.findall(r'alertname="(\w+)"', labels))
                yield Moment(file, case, look["eval_time"], text["evaluation_interval"], firing)


def telling(alerts: Iterable[str]) -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """For each alert the input of the first case that shows it firing, the moment, and how often is evaluated.

    A promtool test that expects it quiet there is refused, with every label and annotation that people would have read.
    """
    for alert in alerts:
        found = next(m for m in moments() if alert in m.firing)
        yield alert, {key: found.case[key] for key in ("interval", "input_series")}, found.at, found.interval
