"""The mixin, evaluated as its users do: the same rules as the files, and what its switches change."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import _jsonnet
import pytest
import yaml

from alerts.files import MIXIN as MIXIN_RULES
from alerts.files import SHIPPED, mixin_text
from alerts.generate import GROUPS, groups
from alerts.thresholds import load
from dashboards.push import boards
from tests.lab.servers import program

MIXIN = Path(SHIPPED).parent / "mixin.libsonnet"
ALERTS = [name for name in GROUPS if name not in ("recording", "shards")]


ASKED = (
    "local m = (import '{mixin}') + {{ _config+:: {config} }}; "
    "[m.prometheusRules, m.prometheusAlerts, m.grafanaDashboards]"
)


def evaluated(config: str) -> Any:
    """By the newest jsonnet."""
    return json.loads(_jsonnet.evaluate_snippet("test", ASKED.format(mixin=MIXIN, config=config)))


def mixin(config: str = "{}") -> dict[str, Any]:
    """What it gives with these settings."""
    rules, alerts, boards = evaluated(config)
    return {"rules": rules["groups"], "alerts": alerts["groups"], "boards": boards}


def alerts_of(config: str) -> list[dict[str, Any]]:
    return [rule for group in mixin(config)["alerts"] for rule in group["rules"]]


def test_it_gives_the_rules_of_the_files() -> None:
    files = {name: yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())["groups"] for name in GROUPS}
    given = mixin()

    assert files["recording"] == given["rules"]
    assert [files[name] for name in ALERTS] == [[group] for group in given["alerts"]]
    assert [*files["recording"], *files["shards"]] == mixin("{ sharded: true }")["rules"]


@pytest.mark.parametrize(
    ("config", "left_out"),
    [
        ("{ noEcn: true }", "fabric-ecn"),
        ("{ adaptiveRouting: true }", "fabric-ordered"),
        ("{ without: ['gpu'] }", "gpu"),
    ],
)
def test_a_site_leaves_out_what_says_nothing_there(config: str, left_out: str) -> None:
    names = [group["name"] for group in mixin(config)["alerts"]]

    assert [f"meterbridge-{name}" for name in ALERTS if name != left_out] == names


def test_a_site_has_its_own_links_and_labels() -> None:
    config = "{ runbookBase: 'https://wiki', dashboardBase: 'https://board', labels: { team: 'hpc' } }"
    alerts = [rule for group in mixin(config)["alerts"] for rule in group["rules"]]

    assert {"hpc"} == {rule["labels"]["team"] for rule in alerts}
    assert [] == [rule for rule in alerts if not rule["annotations"]["runbook_url"].startswith("https://wiki/")]
    assert [] == [rule for rule in alerts if not rule["annotations"]["dashboard_url"].startswith("https://board/d/")]


@pytest.mark.server("jsonnet")
def test_the_oldest_jsonnet_that_sites_have_gives_the_same() -> None:
    config = "{ thresholds: { stalled_for: '20m' } }"
    done = subprocess.run(
        [program("jsonnet"), "-e", ASKED.format(mixin=MIXIN, config=config)],
        capture_output=True,
        check=True,
        timeout=120,
    )

    assert evaluated(config) == json.loads(done.stdout)


def test_the_rules_of_the_mixin_are_what_the_sources_make() -> None:
    assert mixin_text(load()) == MIXIN_RULES.read_text(), "run make alerts"


@pytest.mark.parametrize(("text", "seconds"), [("1h30m", "5400"), ("90s", "90"), ("2d", "172800"), ("1500ms", "1.5")])
def test_a_site_has_its_own_thresholds(text: str, seconds: str) -> None:
    config = f"{{ thresholds: {{ join_age: '{text}', paused_critical: '0.4' }} }}"
    expected = groups(load().override({"join_age": text, "paused_critical": "0.4"}))

    assert [rule["expr"] for name in ALERTS for rule in expected[name]["groups"][0]["rules"]] == [
        rule["expr"] for rule in alerts_of(config)
    ]
    assert f"> {seconds}" in next(r["expr"] for r in alerts_of(config) if r["alert"] == "JoinFrozen")


def test_a_threshold_that_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(RuntimeError, match="no threshold paused_critica; there are"):
        mixin("{ thresholds: { paused_critica: '1' } }")


def test_a_site_sets_severity_and_links_of_single_alerts_and_leaves_some_out() -> None:
    alerts = alerts_of(
        "{ severities: { RdmaDiscards: 'info', 'RdmaPortPaused/critical': 'warning' },"
        " runbooks: { RdmaPortDown: 'https://wiki/down' }, dashboards: { RdmaPortDown: 'https://g/d/x' },"
        " without: ['GpuXid', 'scheduler'] }"
    )
    severity = {
        name: {r["labels"]["severity"] for r in alerts if r["alert"] == name}
        for name in ("RdmaDiscards", "RdmaPortPaused")
    }

    assert {"RdmaDiscards": {"info"}, "RdmaPortPaused": {"warning", "info"}} == severity
    assert {("https://wiki/down", "https://g/d/x")} == {
        (r["annotations"]["runbook_url"], r["annotations"]["dashboard_url"])
        for r in alerts
        if r["alert"] == "RdmaPortDown"
    }
    assert set() == {"GpuXid", "CardsOrphaned"} & {r["alert"] for r in alerts}


def test_it_ships_the_boards() -> None:
    shipped = mixin("{ tags: ['hpc'] }")["boards"]

    assert {
        f"meterbridge-{name}.json": {**board, "tags": [*board["tags"], "hpc"]} for name, board in boards().items()
    } == shipped


def test_the_scrape_jobs_are_the_sites_own() -> None:
    (down,) = [
        r["expr"] for r in alerts_of("{ exporterJobs: 'mb', serviceJobs: 'books' }") if r["alert"] == "ExporterDown"
    ]

    assert 'up{job=~"mb|books"}' in down
