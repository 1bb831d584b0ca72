"""The promtool tests of this folder, read as data: which alerts they show firing, and which quiet."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
    firing: frozenset[str]


@cache
def moments() -> tuple[Moment, ...]:
    """Every look of every case."""
    return tuple(_moments())


def _moments() -> Iterator[Moment]:
    for file in FILES:
        for case in yaml.safe_load(file.read_text())["tests"]:
            for look in case["promql_expr_test"]:
                labels = " ".join(sample["labels"] for sample in look.get("exp_samples") or [])
                firing = frozenset(re.findall(r'alertname="(\w+)"', labels))
                yield Moment(file, case, look["eval_time"], firing)


def telling(alerts: set[str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """For each alert the first case that shows it firing, as a promtool test that expects it not to: promtool tells

    in its refusal every label and annotation that people would have read.
    """
    for alert in sorted(alerts):
        found = next(m for m in moments() if alert in m.firing)
        test = {key: found.case[key] for key in ("interval", "input_series")}
        test["alert_rule_test"] = [{"eval_time": found.at, "alertname": alert, "exp_alerts": []}]
        yield found.file, test
