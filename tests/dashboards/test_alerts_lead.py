"""From an alert to its board, the variables it sets, and a panel that shows what the alert looks at.

That every query of a board has data, under every choice, `test_asked` shows on the demo's month.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from dashboards.push import boards
from tests.alerts.test_rules import ALERTS, rules
from tests.lab.grafana import panels

RECORDED = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
JOINS = {
    "meterbridge_job_info", "meterbridge_rdma_port_job_info", "meterbridge_job_card_info", "meterbridge_rdma_port_info",
    "meterbridge_job_nodes", "meterbridge_join_timestamp_seconds",
}  # fmt: skip
"""What an alert is joined by, or asked whether anybody watched: no signal of its own."""


def families(expr: str) -> set[str]:
    """The families that an expression reads in the end, recorded series taken apart."""
    found: set[str] = set()
    for name in set(re.findall(r"\bmeterbridge_[a-z0-9_]+(?::[a-z_]+)*", expr)):
        found |= families(RECORDED[name]) if name in RECORDED else {name}
    return found


def queries(board: Any) -> list[str]:
    """Every query of a board."""
    return [target["expr"] for panel in panels(board) for target in panel["targets"]]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: f"{r['alert']}-{r['labels']['severity']}")
def test_every_signal_of_an_alert_is_on_the_board_that_it_leads_to(rule: dict[str, Any]) -> None:
    (name,) = re.findall(r"/d/meterbridge-(\w+)", rule["annotations"]["dashboard_url"])
    shown = {family for expr in queries(boards()[name]) for family in re.findall(r"\bmeterbridge_[a-z0-9_]+", expr)}
    signals = families(rule["expr"]) - JOINS

    assert set() == signals - shown


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: f"{r['alert']}-{r['labels']['severity']}")
def test_what_an_alert_sets_narrows_a_panel_that_shows_its_signal(rule: dict[str, Any]) -> None:
    url = rule["annotations"]["dashboard_url"]
    (name,) = re.findall(r"/d/meterbridge-(\w+)", url)
    signals = families(rule["expr"]) - JOINS
    about = [expr for expr in queries(boards()[name]) if signals & set(re.findall(r"\bmeterbridge_[a-z0-9_]+", expr))]

    assert [] == [
        v
        for v in re.findall(r"var-(\w+)=", url)
        if about and not any(f"${v}" in expr or f"${{{v}}}" in expr for expr in about)
    ]
