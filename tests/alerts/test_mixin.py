"""The mixin, evaluated as its users do: the same rules as the files, and what its switches change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import _jsonnet
import pytest
import yaml

from alerts.files import SHIPPED
from alerts.generate import GROUPS

MIXIN = Path(SHIPPED).parent / "mixin.libsonnet"
ALERTS = [name for name in GROUPS if name not in ("recording", "shards")]


def mixin(config: str = "{}") -> dict[str, Any]:
    """What it gives with these settings."""
    text = f"local m = (import '{MIXIN}') + {{ _config+:: {config} }}; [m.prometheusRules, m.prometheusAlerts]"
    rules, alerts = json.loads(_jsonnet.evaluate_snippet("test", text))
    return {"rules": rules["groups"], "alerts": alerts["groups"]}


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
