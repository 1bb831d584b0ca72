"""The rules under promtool, and what every alert must have."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from accounting.service.loop import Loop
from accounting.service.metrics import OPEN_FAMILIES
from accounting.service.middleware import RequestMetrics
from alerts.files import SHIPPED, render
from alerts.generate import GROUPS, groups
from alerts.thresholds import load
from dashboards.push import boards
from exporters.series import TABLE
from tests.alerts import cases
from tests.lab.prometheus import promtool

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"


@cache
def rules() -> list[dict[str, Any]]:
    """Every rule as shipped."""
    files = [yaml.safe_load((SHIPPED / f"{name}.yaml").read_text()) for name in GROUPS]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def service_families() -> set[str]:
    """What the accounting service serves without a token."""
    registry = CollectorRegistry()
    Loop([], registry)
    RequestMetrics(registry)
    return {*registry._names_to_collectors, *(family.name for family in OPEN_FAMILIES)}


@pytest.mark.server("prometheus")
@pytest.mark.parametrize("file", cases.FILES, ids=lambda file: file.name)
def test_alerts_fire_and_stay_quiet_as_their_cases_say(file: Path) -> None:
    done = promtool("test", "rules", str(file))

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.server("prometheus")
def test_promtool_has_nothing_against_the_rules() -> None:
    done = promtool("check", "rules", *(str(SHIPPED / f"{name}.yaml") for name in GROUPS))

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("file", cases.FILES, ids=lambda file: file.name)
def test_groups_are_evaluated_in_one_order(file: Path) -> None:
    """promtool takes groups in any order, one after the other, unless a file says in which."""
    test = yaml.safe_load(file.read_text())
    groups = [f"meterbridge-{Path(name).stem}" for name in test["rule_files"]]

    assert (groups if len(groups) > 1 else []) == test.get("group_eval_order", [])


@pytest.mark.parametrize("name", GROUPS)
def test_the_shipped_rules_are_what_the_sources_make(name: str) -> None:
    assert render(name, groups(load())[name]) == (SHIPPED / f"{name}.yaml").read_text(), "run make alerts"


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_seen_firing_and_quiet(name: str) -> None:
    looks = cases.moments()
    own = [look for look in looks if look.case["name"].startswith(name)]

    assert [] != [look for look in looks if name in look.firing], "no case shows it firing"
    assert [] != [look for look in own if name not in look.firing], "no case named for it shows it quiet"


def test_every_severity_of_an_alert_is_seen_firing() -> None:
    said = " ".join(file.read_text() for file in cases.FILES)
    written = {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS}
    seen = set(re.findall(r'alertname="(\w+)", severity="(\w+)"', said))

    assert set() == written - seen


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: f"{r['alert']}-{r['labels']['severity']}")
def test_an_alert_says_what_where_and_how_to_go_on(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    text = notes["summary"] + notes["description"]

    assert {"summary", "description", "runbook_url", "dashboard_url"} == set(notes)
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert notes["runbook_url"].endswith(f"/{rule['alert']}.md")
    assert re.search(r"/d/meterbridge-(fleet|project|job|fabric|chargeback|self)(\?|$)", notes["dashboard_url"])
    assert "$value" in text
    assert notes["description"].endswith(".")
    for label in re.findall(r"\((node, device, port|node, gpu)\) group_right", rule["expr"]):
        assert {*label.split(", "), "project", "job_id"} <= set(re.findall(r"\$labels\.(\w+)", text))


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: f"{r['alert']}-{r['labels']['severity']}")
def test_an_alert_sets_only_variables_that_its_board_has(rule: dict[str, Any]) -> None:
    url = rule["annotations"]["dashboard_url"]
    (board,) = re.findall(r"/d/meterbridge-(\w+)", url)
    known = {variable["name"] for variable in boards()[board]["templating"]["list"]}

    assert set(re.findall(r"var-(\w+)=", url)) <= known


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_runbook(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text()

    assert page.startswith(f"# {name}\n")
    assert ["Meaning", "Impact", "Confirm", "Mend"] == re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert "\n    " in page.split("## Confirm")[1].split("## Mend")[0], "no command to confirm it with"


def test_no_runbook_is_left_of_an_alert_that_is_gone() -> None:
    assert sorted(NAMES) == sorted(p.stem for p in RUNBOOKS.glob("[A-Z]*.md"))


@pytest.mark.parametrize("rule", rules(), ids=lambda r: r.get("alert") or r["record"])
def test_every_family_that_a_rule_reads_exists(rule: dict[str, Any]) -> None:
    known = {row.name + ("_info" if row.type == "info" and not row.name.endswith("_info") else "") for row in TABLE}
    known |= service_families() | RECORDED
    named = set(re.findall(r"\bmeterbridge_[a-z0-9_]+(?::[a-z_]+)*", rule["expr"]))

    assert set() == named - known


def test_recorded_series_are_never_selected_by_a_label() -> None:
    """Replay puts their expressions in their place, which a selector would not allow."""
    assert [] == [rule["expr"] for rule in rules() if re.search(r"meterbridge_[a-z]+:[a-z_:]+\{", rule["expr"])]


def needed(name: str) -> list[dict[str, Any]]:
    """The rules of one alert, and the recorded series that they read: fewer rules are quicker."""
    own = [rule for rule in ALERTS if rule["alert"] == name]
    recorded = {rule["record"]: rule for rule in rules() if "record" in rule}
    wanted: list[str] = []
    waiting = [rule["expr"] for rule in own]
    while waiting:
        found = [r for r in re.findall(r"meterbridge_[a-z]+:[a-z_]+:[a-z]+", waiting.pop()) if r not in wanted]
        wanted += found
        waiting += [recorded[r]["expr"] for r in found]
    return [rule for record, rule in recorded.items() if record in wanted] + own


@pytest.mark.server("prometheus")
def test_what_people_read(golden: Callable[[str, str], None], tmp_path: Path) -> None:
    told = []
    for name, case, at, interval in cases.telling(NAMES):
        rule_file = tmp_path / f"{name}.yaml"
        rule_file.write_text(yaml.safe_dump({"groups": [{"name": "own", "rules": needed(name)}]}))
        look = {"eval_time": at, "alertname": name, "exp_alerts": []}
        text = {"rule_files": [str(rule_file)], "evaluation_interval": interval}
        text["tests"] = [case | {"alert_rule_test": [look]}]
        (tmp_path / "told.yaml").write_text(yaml.safe_dump(text))
        said = promtool("test", "rules", str(tmp_path / "told.yaml")).stderr
        (got,) = re.findall(r"got:\[(.*?)\n            \]", said, re.DOTALL)
        labels = [" ".join(line.split()) for line in got.splitlines() if re.match(r"\s+(Labels|Annot)", line)]
        told.append("\n".join([f"== {name}", *labels]))

    assert "<no value>" not in "".join(told)
    assert "error" not in "".join(re.findall(r"<.*?>", "".join(told)))
    golden("alert-texts.txt", "\n\n".join(sorted(told)) + "\n")
