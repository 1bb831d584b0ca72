"""CONTRIBUTING's recipes about what people see, followed on a copy of the repository: an alert, a panel."""

from __future__ import annotations

import pytest

from tests.contributing.tree import Tree

ALERT = """- alert: FleetIdle
  about: nothing
  when: |-
    sum(meterbridge_fleet_gpus{disposition="idle"}) / (sum(meterbridge_fleet_capacity_gpus) > 0) > ${idle_share}
  for: ${lasting}
  severity: info
  board: fleet
  summary: "{percent} of the fleet is idle"
  description: >-
    {percent} of the cards lie idle (limit ${idle_share}), and nobody asked for them.
"""
THRESHOLD = """idle_share:
  value: 0.5
  what: share of the fleet that may lie idle
  source: ours. Starting value, calibrate
"""
LOOK = """  promql_expr_test:
  - expr: count by (alertname, severity, node, gpu, job_id, project) (ALERTS{alertstate="firing"})
    eval_time: 15m
    exp_samples:"""
CASES = f"""- name: FleetIdle fires above half
  interval: 1m
  input_series:
  - {{series: 'meterbridge_fleet_gpus{{gpu_model="h100",disposition="idle"}}', values: '5x20'}}
  - {{series: 'meterbridge_fleet_capacity_gpus{{gpu_model="h100"}}', values: '8x20'}}
{LOOK}
    - {{labels: '{{alertname="FleetIdle", severity="info"}}', value: 1}}
- name: FleetIdle stays quiet at half
  interval: 1m
  input_series:
  - {{series: 'meterbridge_fleet_gpus{{gpu_model="h100",disposition="idle"}}', values: '4x20'}}
  - {{series: 'meterbridge_fleet_capacity_gpus{{gpu_model="h100"}}', values: '8x20'}}
{LOOK} []
"""
RUNBOOK = """# FleetIdle

## Meaning

More than half of the fleet lies idle.

## Impact

Cards that nobody uses are paid for all the same.

## Confirm

    sum by (gpu_model) (meterbridge_fleet_gpus{disposition="idle"})

## Mend

- Ask the projects that usually fill it.
"""
RULES = (
    "tests/alerts/test_rules.py",
    "tests/alerts/test_thresholds.py",
    "tests/test_docs.py::test_a_page_made_from_the_code_is_what_the_code_makes[alerts.md]",
    "tests/test_docs.py::test_every_page_can_be_reached_from_the_first_one",
    "tests/helm/test_chart.py::test_what_is_made_is_what_the_generator_makes",
)


CASES_FILE = "tests/alerts/scheduler.test.yaml"
FIRES = "tests/alerts/test_rules.py::test_alerts_fire_and_stay_quiet_as_their_cases_say[scheduler.test.yaml]"


def write_alert(tree: Tree) -> None:
    """The first step: the condition, its number, its texts."""
    tree.insert("alerts/groups/scheduler.yaml", ALERT)
    tree.insert("alerts/thresholds.yaml", THRESHOLD, before="long:\n")


def test_add_an_alert(tree: Tree) -> None:
    write_alert(tree)

    not_made = tree.failing("-m", "not server", *RULES)
    tree.make("alerts")
    not_told = tree.failing("-m", "not server", *RULES)
    tree.insert(CASES_FILE, CASES)
    tree.write("docs/runbooks/FleetIdle.md", RUNBOOK)
    tree.make("docs")
    tree.make("chart")

    assert {
        "test_the_shipped_rules_are_what_the_sources_make",
        "test_a_page_made_from_the_code_is_what_the_code_makes",
        "test_what_is_made_is_what_the_generator_makes",
    } == not_made
    assert {
        "test_every_alert_is_seen_firing_and_quiet",
        "test_every_severity_of_an_alert_is_seen_firing",
        "test_every_alert_has_a_runbook",
        "test_no_runbook_is_left_of_an_alert_that_is_gone",
        "test_a_page_made_from_the_code_is_what_the_code_makes",
        "test_what_is_made_is_what_the_generator_makes",
    } == not_told
    assert set() == tree.failing("-m", "not server", *RULES)
    assert "alert: FleetIdle" in tree.text("alerts/rules/scheduler.yaml")
    assert "alert: FleetIdle" in tree.text("helm/meterbridge/files/rules/scheduler.yaml")
    assert "| [FleetIdle](runbooks/FleetIdle.md) | `scheduler` | the site | info |" in tree.text("docs/alerts.md")
    assert "| `idle_share` | 0.5 | share of the fleet that may lie idle |" in tree.text("docs/alerts.md")


@pytest.mark.server("prometheus")
def test_an_added_alert_fires_as_its_cases_say_and_its_words_are_read(tree: Tree) -> None:
    write_alert(tree)
    tree.insert(CASES_FILE, CASES)
    tree.make("alerts")

    right = tree.failing(FIRES)
    tree.replace(CASES_FILE, "values: '5x20'", "values: '4x20'")
    wrong = tree.failing(FIRES)
    tree.replace(
        CASES_FILE,
        "values: '4x20'}\n  - {series: 'meterbridge_fleet_capacity",
        "values: '5x20'}\n  - {series: 'meterbridge_fleet_capacity",
    )
    tree.failing("tests/alerts/test_rules.py::test_what_people_read", "--update-golden")

    assert (set(), {"test_alerts_fire_and_stay_quiet_as_their_cases_say"}) == (right, wrong)
    assert "62.5% of the cards lie idle (limit 0.5)" in tree.text("tests/testdata/golden/alert-texts.txt")


PANEL = """        number(
            "Idle share",
            "Share of the fleet that lies idle.",
            'sum(meterbridge_fleet_gpus{disposition="idle"}) / sum(meterbridge_fleet_capacity_gpus)',
            unit="percentunit",
        ),
"""
BOARDS = ("tests/dashboards/test_boards.py", "tests/helm/test_chart.py::test_what_is_made_is_what_the_generator_makes")


def test_add_a_panel(tree: Tree) -> None:
    wrong = PANEL.replace("lies idle.", "lies idle").replace("meterbridge_fleet_gpus", "meterbridge_fleet_cards")
    tree.insert("dashboards/fleet.py", wrong, before="    ]\n    return board(")

    stale = tree.failing(*BOARDS)
    tree.make("dashboards")
    wrong_one = tree.failing(*BOARDS)
    tree.replace("dashboards/fleet.py", wrong, PANEL)
    tree.make("dashboards")
    tree.make("chart")
    written = tree.meterbridge("dashboards", "write", str(tree.root / "boards"))

    assert {"test_the_committed_json_is_what_the_code_makes"} == stale
    assert {
        "test_a_query_asks_only_for_families_and_labels_that_there_are",
        "test_every_panel_says_what_it_shows_and_in_what_unit",
        "test_what_is_made_is_what_the_generator_makes",
    } == wrong_one
    assert set() == tree.failing(*BOARDS)
    assert 0 == written.returncode
    assert '"title": "Idle share"' in tree.text("dashboards/json/fleet.json")
    assert '"title": "Idle share"' in tree.text("helm/meterbridge/files/dashboards/fleet.json")
    assert '"title": "Idle share"' in tree.text("boards/meterbridge-fleet.json")
