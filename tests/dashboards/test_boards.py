"""The boards: what is committed is what the code makes, of Grafana's own types, and asks only for what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry

from accounting.service import metrics
from accounting.service.loop import Loop
from accounting.service.middleware import RequestMetrics
from dashboards.boards import BOARDS, texts
from dashboards.push import boards
from exporters.series import TABLE
from tests.lab.grafana import panels

INSTALLED = boards()
TEXTS = texts()


def families() -> dict[str, tuple[str, ...]]:
    """Every family that there is, with its labels."""
    registry = CollectorRegistry()
    Loop([], registry)
    RequestMetrics(registry)
    own = {n: tuple(c._labelnames) for c, names in registry._collector_to_names.items() for n in names}  # type: ignore[attr-defined]
    ledger = {g.name: g.labels for g in (*metrics.OPEN_FAMILIES, *metrics.PROJECT_FAMILIES)}
    return {r.name: r.labels for r in TABLE} | own | ledger


def targets() -> Iterator[tuple[str, str, str]]:
    """Board, panel and expression of every query."""
    for name, board in INSTALLED.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield name, panel["title"], target["expr"]
        for mark in board.get("annotations", {}).get("list", ()):
            yield name, mark["name"], mark["expr"]


def test_the_committed_json_is_what_the_code_makes() -> None:
    assert TEXTS == {
        name: json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, board in INSTALLED.items()
    }, "run make dashboards"


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_is_of_grafanas_own_types(name: str) -> None:
    register_default_plugins()
    read = Dashboard.from_json(json.loads(TEXTS[name]))

    assert json.loads(TEXTS[name]) == json.loads(json.dumps(read, cls=JSONEncoder))


def test_a_key_that_grafana_does_not_know_would_be_found() -> None:
    register_default_plugins()
    board = json.loads(TEXTS["fleet"]) | {"panelz": []}

    assert board != json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))


@pytest.mark.parametrize(("board", "panel", "expr"), list(targets()))
def test_a_query_asks_only_for_families_and_labels_that_there_are(board: str, panel: str, expr: str) -> None:
    known = families()
    asked = set(re.findall(r"\bmeterbridge_\w+", expr))

    assert set() == asked - set(known)
    for family, selector in re.findall(r"\b(meterbridge_\w+)\{([^}]*)\}", expr):
        labels = set(re.findall(r"(\w+) *=~?", selector))

        assert set() == labels - set(known[family]), family


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_says_what_it_shows_and_in_what_unit(name: str) -> None:
    for panel in panels(INSTALLED[name]):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        if panel["type"] != "table":
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_no_line_is_drawn_over_missing_data() -> None:
    drawn = [p for board in INSTALLED.values() for p in panels(board) if p["type"] == "timeseries"]

    assert {False} == {p["fieldConfig"]["defaults"]["custom"]["spanNulls"] for p in drawn}


@pytest.mark.parametrize("name", BOARDS)
def test_panels_lie_on_the_grid_without_covering_each_other(name: str) -> None:
    boxes = [(p["title"], p["gridPos"]) for p in INSTALLED[name]["panels"]]

    assert all(b["x"] + b["w"] <= 24 for _, b in boxes)
    assert [] == [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if _covers(a, b)]


def _covers(a: dict[str, int], b: dict[str, int]) -> bool:
    return (
        a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]
    )


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_has_an_id_of_its_own_and_asks_the_chosen_prometheus(name: str) -> None:
    every = INSTALLED[name]["panels"]

    assert len(every) == len({p["id"] for p in every})
    assert {"${datasource}"} == {t["datasource"]["uid"] for p in panels(INSTALLED[name]) for t in p["targets"]}


def test_a_link_leads_to_a_board_and_sets_variables_that_it_has() -> None:
    variables = {b["uid"]: {v["name"] for v in b["templating"]["list"]} for b in INSTALLED.values()}
    links = re.findall(r"/d/([\w-]+)\?([^\"]*)", json.dumps(INSTALLED))

    assert links
    for uid, parameters in links:
        assert set() == set(re.findall(r"var-(\w+)=", parameters)) - variables[uid], uid


def test_a_link_takes_its_values_from_columns_that_the_table_has() -> None:
    for board in INSTALLED.values():
        for panel in panels(board):
            for link in _links(panel):
                columns = set(re.findall(r"__data\.fields\.(\w+)", link))
                organized = next(t for t in panel["transformations"] if t["id"] == "organize")

                assert set() == columns - set(organized["options"]["includeByName"]), panel["title"]


def _links(panel: Any) -> Iterator[str]:
    for override in panel["fieldConfig"]["overrides"]:
        for p in override["properties"]:
            if p["id"] == "links":
                yield from (link["url"] for link in p["value"])
