"""What pint would say of the rules, held by checks of our own: labels that match, windows that hold samples, series.

Prometheus accepts a rule whose labels never meet, whose window never holds two samples or whose family never was; it
just never fires. The families are those of the metric table, the windows those that are shipped.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from alerts.durations import milliseconds
from exporters.series import TABLE
from tests.alerts.test_rules import ALERTS, RECORDED, rules
from tests.lab.prometheus import promtool

RULES = rules()
SLOWEST_SCRAPE, EVALUATION = 60_000, 60_000
"""Milliseconds: the slowest that the docs speak of, and Prometheus' own default."""

FAMILIES = {row.name + ("_info" if row.type == "info" and not row.name.endswith("_info") else ""): row for row in TABLE}
COUNTERS = {name for name, row in FAMILIES.items() if row.type == "counter"}
TARGET = {"job", "instance"}
LABELS = (
    {label for row in TABLE for label in row.labels} | TARGET | {"alertname", "task", "period", "disposition", "state"}
)
BOUNDED = LABELS | {"severity", "area", "jobs", "way", "signal", "currency", "kind"}


def name_of(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


@pytest.mark.server("prometheus")
def test_promtool_has_nothing_against_the_rules_when_it_looks_at_all() -> None:
    done = promtool("check", "rules", "--lint=all", *(f"alerts/rules/{n}.yaml" for n in ("recording", "fabric", "gpu")))

    assert (0, "") == (done.returncode, done.stderr)
    assert "duplicate" not in done.stdout


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_a_selector_asks_for_labels_that_its_family_has(rule: dict[str, Any]) -> None:
    for family, selector in re.findall(r"\b(meterbridge_[a-z0-9_]+)\{([^}]*)\}", rule["expr"]):
        if family in FAMILIES:
            assert set(re.findall(r"(\w+)\s*(?:=|!|~)", selector)) <= {*FAMILIES[family].labels, *TARGET}, family


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_what_is_matched_and_summed_by_are_labels_that_some_family_of_the_rule_has(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"\bmeterbridge_[a-z0-9_]+(?::[a-z_]+)*", rule["expr"]))
    known = {label for family in named if family in FAMILIES for label in FAMILIES[family].labels} | TARGET
    recorded = bool(named & RECORDED) or "ALERTS" in rule["expr"]
    for words in re.findall(r"\b(?:by|on|ignoring|group_left|group_right) \(([^)]*)\)", rule["expr"]):
        asked = {word.strip() for word in words.split(",") if word.strip()}
        assert asked <= (LABELS if recorded or not named & FAMILIES.keys() else known), (words, asked - known)


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_what_is_summed_directly_is_summed_by_labels_of_its_own_family(rule: dict[str, Any]) -> None:
    for words, family in re.findall(
        r"\bby \(([^)]*)\) \((?:\w+\()*\s*(meterbridge_[a-z0-9_]+)(?![a-z0-9_:])", rule["expr"]
    ):
        if family in FAMILIES:
            asked = {word.strip() for word in words.split(",") if word.strip()}
            assert asked <= {*FAMILIES[family].labels, *TARGET}, family


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_a_window_holds_two_samples_of_the_slowest_scrape(rule: dict[str, Any]) -> None:
    for window in re.findall(r"\[(\w+)\]", rule["expr"]):
        assert milliseconds(window) >= 2 * SLOWEST_SCRAPE, window
    for outer, step in re.findall(r"\[(\w+):(\w+)\]", rule["expr"]):
        assert milliseconds(step) >= SLOWEST_SCRAPE
        assert milliseconds(outer) >= 4 * milliseconds(step), (outer, step)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: f"{r['alert']}-{r['labels']['severity']}")
def test_what_must_last_lasts_over_several_evaluations_and_scrapes(rule: dict[str, Any]) -> None:
    for key in ("for", "keep_firing_for"):
        if key in rule:
            assert milliseconds(rule[key]) >= 2 * max(EVALUATION, SLOWEST_SCRAPE), (key, rule[key])


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_rates_are_of_counters(rule: dict[str, Any]) -> None:
    for family in re.findall(r"\b(?:rate|increase|irate)\(\s*(meterbridge_[a-z0-9_]+)", rule["expr"]):
        assert family in COUNTERS or family.endswith("_total"), family
    for family in re.findall(r"\b(?:delta|deriv|avg_over_time)\(\s*(meterbridge_[a-z0-9_]+)", rule["expr"]):
        assert family not in COUNTERS, family


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_only_series_that_are_always_there_are_missed(rule: dict[str, Any]) -> None:
    """An exporter without ports or cards has none of their series; that of its join it always has."""
    assert set(re.findall(r"\babsent(?:_over_time)?\((\w+)", rule["expr"])) <= {"meterbridge_join_timestamp_seconds"}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: f"{r['alert']}-{r['labels']['severity']}")
def test_a_summary_is_one_line_without_values(rule: dict[str, Any]) -> None:
    summary = rule["annotations"]["summary"]

    assert "\n" not in summary
    assert "$value" not in summary
    assert not re.search(r"\$labels\.job_id(?! \}\})", summary.replace("or $labels.display_id $labels.job_id", "")), (
        "its name"
    )


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: f"{r['alert']}-{r['labels']['severity']}")
def test_the_labels_of_an_alert_are_bounded(rule: dict[str, Any]) -> None:
    """A label with a value of its own at every evaluation would be a new alert each time."""
    assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= BOUNDED | {"display_id", "project"}
    assert {key for key, value in rule["labels"].items() if "$value" in str(value)} == set()
