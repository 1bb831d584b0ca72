"""A fabric of 32 machines in trouble, and what reaches people: the exporter, Prometheus and Alertmanager are real.

Four jobs have four troubles at once, each on one of its machines. The rules are the shipped ones with every duration a
sixtieth (minutes become seconds); all is scraped and evaluated once a second.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.durations import milliseconds
from alerts.files import SHIPPED, render
from alerts.generate import groups
from alerts.page import region, replace_region
from alerts.thresholds import load
from exporters import build
from exporters.config import parse
from exporters.http.server import Server, create_app
from tests.lab.alertmanager import Alertmanager, Webhook
from tests.lab.daemons import wait_for
from tests.lab.fabric import Fabric, FabricJob, slurm_commands
from tests.lab.prometheus import Prometheus
from tests.lab.servers import require

pytestmark = pytest.mark.server("prometheus", "alertmanager")

SCALE = 1 / 60
EVALUATION = 1.0
GROUP_WAIT = 0.5  # the example's 30 s, scaled
PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"


@dataclass(frozen=True)
class Scenario:
    """A trouble: whose job, on which machine, how counters run on each machine, and the alert that must arrive."""

    what: str
    job: FabricJob
    culprit: str
    alert: str
    receiver: str
    rates: Mapping[str, Mapping[str, float]]
    steps: Mapping[str, Mapping[str, float]]


def scenarios() -> list[Scenario]:
    """The four."""
    incast, storm = FabricJob(101, "vision", 1, 8), FabricJob(102, "nlp", 9, 16)
    lossy, silent = FabricJob(103, "theory", 17, 24), FabricJob(104, "speech", 25, 30)
    return [
        Scenario(
            "incast onto one machine", incast, "gn01", "RdmaCongestion", "pager",
            {"gn01": {"marked": 2e6, "cnp_sent": 1e5},
             **{node: {"cnp_handled": 1e4, "paused_us": 2e4} for node in incast.nodes[1:]}},
            {},
        ),
        Scenario(
            "pause storm from one slow receiver", storm, "gn09", "RdmaPauseStorm", "pager",
            {"gn09": {"pausing_us": 9e5}, **{node: {"paused_us": 8e5} for node in storm.nodes[1:]}},
            {"gn09": {"storms": 1}},
        ),
        Scenario(
            "a lossy link", lossy, "gn17", "RdmaRetriesExceeded", "pager",
            {"gn17": {"retransmissions": 500, "sequence_errors": 200, "ack_timeouts": 5, "retries_exceeded": 1},
             "gn18": {"out_of_sequence": 5e4}},
            {"gn17": {"retries_exceeded": 4}},
        ),
        Scenario(
            "congestion control off on one NIC", silent, "gn25", "RdmaCnpIgnored", "working-hours",
            {"gn25": {"cnp_ignored": 2e3, "cnp_handled": 0, "paused_us": 1e5}},
            {},
        ),
    ]  # fmt: skip


class Inbox:
    """What the webhook received, each with the time of its arrival."""

    def __init__(self, webhook: Webhook) -> None:
        self.mail: list[tuple[float, dict[str, Any]]] = []
        self._webhook, self._stop = webhook, threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                notification = self._webhook.next(timeout=0.2)
            except TimeoutError:
                continue
            self.mail.append((time.time(), notification))

    def of(self, job: str, status: str) -> list[tuple[float, dict[str, Any]]]:
        """The notifications about a job."""
        return [(at, n) for at, n in self.mail if n["groupLabels"].get("job_id") == job and n["status"] == status]

    def close(self) -> None:
        """Listen no more."""
        self._stop.set()
        self._thread.join()


@dataclass
class Story:
    """All that happened: when the trouble began, what arrived, what was held back, and the lab to ask."""

    began: float
    scenarios: list[Scenario]
    inbox: Inbox
    held_back: dict[str, set[str]]
    prometheus: Prometheus
    rules: dict[str, Any]
    since: int

    def job_id(self, scenario: Scenario) -> str:
        return f"{scenario.job.number}@{self.since}"

    def told(self, scenario: Scenario) -> list[tuple[float, str, dict[str, Any]]]:
        """Firing alerts of a scenario's job as they arrived first: when, at which receiver, the alert."""
        found: dict[str, tuple[float, str, dict[str, Any]]] = {}
        for at, note in self.inbox.of(self.job_id(scenario), "firing"):
            for alert in note["alerts"]:
                found.setdefault(alert["fingerprint"], (at, note["receiver"], alert))
        return list(found.values())

    def crossing(self, scenario: Scenario) -> tuple[float, float]:
        """When the alert's condition first held, by the data that Prometheus has, and how long it must last."""
        severity = "critical" if scenario.receiver == "pager" else "warning"
        rule = next(
            r
            for g in self.rules.values()
            for r in g["groups"][0]["rules"]
            if r.get("alert") == scenario.alert and r["labels"] == {"severity": severity, "area": "fabric"}
        )
        expr = f'({rule["expr"]}) and on (job_id) meterbridge_job_info{{job_id="{self.job_id(scenario)}"}}'
        at = self.began - EVALUATION
        while not self.prometheus.query(expr, at=at):
            at += 0.1
            assert at < self.began + 60, f"{scenario.alert} never held"
        return at, milliseconds(rule.get("for", "0s")) / 1000


def alertmanager_config(webhook: str) -> dict[str, Any]:
    """The example, its times scaled and its receivers pointed here."""
    config: dict[str, Any] = yaml.safe_load((SHIPPED.parent / "alertmanager.yaml").read_text())
    config["route"] |= {"group_wait": f"{int(GROUP_WAIT * 1000)}ms", "group_interval": "1s", "repeat_interval": "1h"}
    for route in config["route"]["routes"]:
        route["repeat_interval"] = "1h"
    for receiver in config["receivers"]:
        for hook in receiver.get("webhook_configs", []):
            hook["url"] = webhook
    return config


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """Health, then all four troubles at once until everybody was told, then health again."""
    require("prometheus")
    require("alertmanager")
    troubles = scenarios()
    made = groups(load().scale(SCALE))
    rules = {name: made[name] for name in ("recording", "fabric", "fabric-ecn", "fabric-ordered")}
    with (
        tempfile.TemporaryDirectory(prefix="fabric-") as folder,
        Fabric(32) as fabric,
        Webhook() as webhook,
        Alertmanager(_made(folder, "alertmanager"), webhook.url, alertmanager_config(webhook.url)) as alertmanager,
        Prometheus(
            _made(folder, "prometheus"), [render(name, text) for name, text in rules.items()], alertmanager.address
        ) as prometheus,
    ):
        since = int(time.time()) - 600
        commands = slurm_commands(Path(folder), [s.job for s in troubles], list(fabric.machines), since)
        projects = [{"project": f"p-{s.job.account}", "accounts": [s.job.account]} for s in troubles]
        settings = {
            "join_interval": "1s",
            "slurm": [{"cluster": "hall", "live": {**commands, "interval": "10s"}, "history": {"enabled": False}}],
            "rdma": {"node_exporters": {"targets": fabric.targets}, "interval": "1s"},
            "projects": projects,
            "web": {"listen": "127.0.0.1:0"},
        }
        config = parse(yaml.safe_dump(settings))
        collector = build.collector(config)
        server = Server(create_app(collector.page, collector.ready, collector.statuses), config.web.listen, None)
        inbox = Inbox(webhook)
        collector.start()
        server.start()
        try:
            prometheus.scrape("meterbridge", server.url + "/metrics")
            prometheus.wait("count(meterbridge_port:rdma_marked:ratio) == 32", timeout=60)
            time.sleep(milliseconds(load().scale(SCALE).word("window")) / 1000)  # a full window of health
            began = time.time()
            for s in troubles:
                for node in s.job.nodes:
                    fabric.machines[node].run(s.rates.get(node), s.steps.get(node))
            told = Story(began, troubles, inbox, {}, prometheus, rules, since)
            wait_for(lambda: all(_arrived(told, s) for s in troubles), 60, "all four alerts", poll=0.2)
            slowest = sum(milliseconds(load().scale(SCALE).word(name)) for name in ("window", "burst")) / 1000
            wait_for(lambda: time.time() - began > slowest, 60, "what is told last", poll=0.2)
            wait_for(lambda: _quiet_since(inbox, 3 * EVALUATION), 60, "end of the news", poll=0.2)
            for alert in alertmanager.alerts():
                if alert["status"]["inhibitedBy"]:
                    told.held_back.setdefault(alert["labels"]["job_id"], set()).add(alert["labels"]["alertname"])
            for machine in fabric.machines.values():
                machine.run()
            wait_for(lambda: all(_over(told, s) for s in troubles), 60, "the end of all four", poll=0.2)
            yield told
        finally:
            server.stop()
            collector.stop()
            inbox.close()


def _made(folder: str, name: str) -> Path:
    path = Path(folder) / name
    path.mkdir()
    return path


def _arrived(story: Story, scenario: Scenario) -> bool:
    return any(a["labels"]["alertname"] == scenario.alert for _, r, a in story.told(scenario) if r == scenario.receiver)


def _over(story: Story, scenario: Scenario) -> bool:
    found = story.inbox.of(story.job_id(scenario), "resolved")
    return any(note["receiver"] == scenario.receiver for _, note in found)


def _quiet_since(inbox: Inbox, seconds: float) -> bool:
    return time.time() - inbox.mail[-1][0] > seconds


@pytest.mark.parametrize("number", range(4))
def test_the_alert_names_job_project_and_machine(story: Story, number: int) -> None:
    scenario = story.scenarios[number]
    (told,) = [
        a for _, r, a in story.told(scenario) if (r, a["labels"]["alertname"]) == (scenario.receiver, scenario.alert)
    ]

    named = {key: told["labels"][key] for key in ("node", "device", "port", "job_id", "project", "shared")}
    expected = {"device": "mlx5_0", "port": "1", "shared": "false", "node": scenario.culprit}
    assert expected | {"job_id": story.job_id(scenario), "project": f"p-{scenario.job.account}"} == named
    assert f"(job {scenario.job.number}, project p-{scenario.job.account})" in told["annotations"]["summary"]


@pytest.mark.parametrize("number", range(4))
def test_people_are_told_within_two_evaluations_of_the_threshold(story: Story, number: int) -> None:
    scenario = story.scenarios[number]
    arrived = min(
        at for at, r, a in story.told(scenario) if (r, a["labels"]["alertname"]) == (scenario.receiver, scenario.alert)
    )
    crossed, lasting = story.crossing(scenario)

    assert arrived - crossed - lasting - GROUP_WAIT <= 2 * EVALUATION


@pytest.mark.parametrize("number", range(3))
def test_one_cause_is_one_page(story: Story, number: int) -> None:
    scenario = story.scenarios[number]
    pages = [note for _, note in story.inbox.of(story.job_id(scenario), "firing") if note["receiver"] == "pager"]

    assert [[scenario.alert]] == [[a["labels"]["alertname"] for a in note["alerts"]] for note in pages]


def test_nobody_is_paged_for_machines_and_jobs_that_are_well(story: Story) -> None:
    pages = [a for _, note in story.inbox.mail if note["receiver"] == "pager" for a in note["alerts"]]

    assert {s.culprit for s in story.scenarios[:3]} == {a["labels"].get("node") for a in pages}


def test_the_storm_holds_back_what_it_does_to_others(story: Story) -> None:
    storm = story.scenarios[1]

    assert {"RdmaPortPaused", "RdmaSlowReceiver"} <= story.held_back[story.job_id(storm)]


def test_the_table_of_the_page_is_what_happened(story: Story, request: pytest.FixtureRequest) -> None:
    """Alerts and where they went are compared; seconds, which differ from run to run, are only written."""
    rows = [
        "| scenario | paged | seconds from trouble to page | in working hours | held back by its cause |",
        "|---|---|---|---|---|",
    ]
    for s in story.scenarios:
        told = story.told(s)
        by = {r: sorted({a["labels"]["alertname"] for _, x, a in told if x == r}) for r in ("pager", "working-hours")}
        seconds = [at - story.began for at, r, _ in told if r == "pager"]
        held = sorted(story.held_back.get(story.job_id(s), set()) - set(by["pager"]) - set(by["working-hours"]))
        first = f"{min(seconds):.1f}" if seconds else "-"
        rows.append(f"| {s.what} | {_names(by['pager'])} | {first} | {_names(by['working-hours'])} | {_names(held)} |")
    table = "\n".join(rows)
    text = PAGE.read_text()
    if request.config.getoption("--update-golden"):
        PAGE.write_text(replace_region(text, "scenarios", table))
        return

    assert _without_seconds(region(text, "scenarios")) == _without_seconds(table), "--update-golden rewrites it"


def _names(alerts: list[str]) -> str:
    return ", ".join(alerts) or "-"


def _without_seconds(table: str) -> list[list[str]]:
    return [[c.strip() for n, c in enumerate(row.split("|")) if n != 3] for row in table.splitlines()]
