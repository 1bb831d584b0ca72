"""The example for Alertmanager: amtool accepts it, it routes by severity, and a real one inhibits consequences."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.files import SHIPPED
from tests.lab.alertmanager import Alertmanager, timestamp
from tests.lab.daemons import wait_for
from tests.lab.servers import program, require

EXAMPLE = SHIPPED.parent / "alertmanager.yaml"
JOB = {"scheduler": "slurm", "cluster": "hall", "job_id": "7@1", "project": "vision"}
OTHER = JOB | {"job_id": "8@1", "project": "nlp"}
PORT = {"node": "gn01", "device": "mlx5_0", "port": "1"}
ELSEWHERE = PORT | {"node": "gn02"}


def alert(name: str, severity: str, *labels: dict[str, str]) -> dict[str, str]:
    """The labels of an alert."""
    merged = {key: value for part in labels for key, value in part.items()}
    return {"alertname": name, "severity": severity, "area": "fabric", **merged}


@pytest.mark.server("alertmanager")
def test_amtool_accepts_the_example() -> None:
    done = subprocess.run(
        [program("amtool"), "check-config", str(EXAMPLE)], capture_output=True, check=False, timeout=60
    )

    assert 0 == done.returncode, done.stdout.decode()


@pytest.mark.server("alertmanager")
@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "pager"), ("warning", "working-hours"), ("info", "nobody")]
)
def test_only_pages_wake_somebody(severity: str, receiver: str) -> None:
    command = [program("amtool"), "config", "routes", "test", f"--config.file={EXAMPLE}", f"severity={severity}"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)

    assert receiver == done.stdout.decode().strip()


@pytest.fixture(scope="module")
def lab() -> Iterator[Alertmanager]:
    """A real Alertmanager with the inhibitions of the example."""
    require("alertmanager")
    example: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    example["route"] = {"receiver": "nobody"}
    example["receivers"] = [{"name": "nobody"}]
    with tempfile.TemporaryDirectory(prefix="inhibition-") as root, Alertmanager(Path(root), "", example) as running:
        yield running


CASES = {
    "a page and its warning": (
        alert("RdmaSlowReceiver", "critical", PORT, JOB),
        alert("RdmaSlowReceiver", "warning", PORT, JOB),
    ),
    "a storm and a victim of its job": (
        alert("RdmaPauseStorm", "critical", PORT, JOB),
        alert("RdmaPortPaused", "critical", ELSEWHERE, JOB),
    ),
    "a slow receiver and the job that it stops": (
        alert("RdmaSlowReceiver", "critical", PORT, JOB),
        alert("RdmaJobStopped", "critical", JOB),
    ),
    "a slow receiver for working hours and a pause for working hours": (
        alert("RdmaSlowReceiver", "warning", PORT, JOB),
        alert("RdmaPortPaused", "warning", ELSEWHERE, JOB),
    ),
    "a job that is stopped and one of its ports": (
        alert("RdmaJobStopped", "critical", JOB),
        alert("RdmaPortStuckInPause", "critical", PORT, JOB),
    ),
    "a card that is gone and what it said last": (
        alert("GpuLost", "critical", {"node": "gn01", "gpu": "0"}, JOB),
        alert("GpuXidHardware", "critical", {"node": "gn01", "gpu": "0"}, JOB),
    ),
    "an adapter that is gone and what its link said": (
        alert("RdmaDeviceLost", "critical", PORT, JOB),
        alert("RdmaLinkErrors", "warning", PORT, JOB),
    ),
    "a power brake and the node that falls behind": (
        alert("GpuPowerBrake", "critical", {"node": "gn01", "gpu": "0"}, JOB),
        alert("JobStragglerNode", "warning", {"node": "gn01"}, JOB),
    ),
    "a switch within the machine and the links of its cards": (
        alert("GpuNvswitchFault", "critical", {"node": "gn01"}),
        alert("GpuNvlinkDown", "critical", {"node": "gn01", "gpu": "0"}, JOB),
    ),
    "a link that is down and its errors": (
        alert("GpuNvlinkDown", "critical", {"node": "gn01", "gpu": "0"}, JOB),
        alert("GpuNvlinkErrors", "warning", {"node": "gn01", "gpu": "0"}, JOB),
    ),
    "a storm and the slow receiver it is": (
        alert("RdmaPauseStorm", "critical", PORT, JOB),
        alert("RdmaSlowReceiver", "critical", PORT, JOB),
    ),
    "a slow receiver and the congestion of its job": (
        alert("RdmaSlowReceiver", "critical", PORT, JOB),
        alert("RdmaCongestion", "critical", ELSEWHERE, JOB),
    ),
    "a broken connection and its timeouts": (
        alert("RdmaRetriesExceeded", "critical", PORT, JOB),
        alert("RdmaAckTimeouts", "warning", ELSEWHERE, JOB),
    ),
    "a broken connection and the stall of its job": (
        alert("RdmaRetriesExceeded", "critical", PORT, JOB),
        alert("RdmaJobStalled", "critical", JOB),
    ),
    "a lost machine and its job elsewhere": (
        alert("NodeLost", "critical", {"node": "gn01"}, JOB),
        alert("RdmaRetriesExceeded", "critical", ELSEWHERE, JOB),
    ),
    "congestion control that is off and its pauses": (
        alert("RdmaCnpIgnored", "warning", PORT, JOB),
        alert("RdmaPauseWithoutEcn", "warning", ELSEWHERE, JOB),
    ),
    "an old source and its failures": (
        alert("SourceStale", "critical", {"source": "dcgm"}),
        alert("SourceFailing", "warning", {"source": "dcgm"}),
    ),
}
APART = {
    "a slow receiver and another one": (
        alert("RdmaSlowReceiver", "critical", PORT, JOB),
        alert("RdmaSlowReceiver", "critical", ELSEWHERE, JOB),
    ),
    "a storm and a victim of another job": (
        alert("RdmaPauseStorm", "critical", PORT, JOB),
        alert("RdmaPortPaused", "critical", ELSEWHERE, OTHER),
    ),
    "a slow receiver for working hours and another job that stands still": (
        alert("RdmaSlowReceiver", "warning", PORT, JOB),
        alert("RdmaPortStuckInPause", "critical", ELSEWHERE, OTHER),
    ),
    "a slow receiver for working hours and a page of its own job": (
        alert("RdmaSlowReceiver", "warning", PORT, JOB),
        alert("RdmaPortStuckInPause", "critical", ELSEWHERE, JOB),
    ),
    "a slow receiver without a job and a port without a job": (
        alert("RdmaSlowReceiver", "critical", PORT),
        alert("RdmaPortStuckInPause", "critical", ELSEWHERE),
    ),
    "a slow receiver without a job and the page of a job": (
        alert("RdmaSlowReceiver", "warning", PORT),
        alert("RdmaPortStuckInPause", "critical", ELSEWHERE, JOB),
    ),
    "a job that is stopped and another one": (
        alert("RdmaJobStopped", "critical", JOB),
        alert("RdmaPortStuckInPause", "critical", ELSEWHERE, OTHER),
    ),
    "a card that is gone and another one": (
        alert("GpuLost", "critical", {"node": "gn01", "gpu": "0"}, JOB),
        alert("GpuXidHardware", "critical", {"node": "gn01", "gpu": "1"}, JOB),
    ),
    "an adapter that is gone and the link of another one": (
        alert("RdmaDeviceLost", "critical", PORT, JOB),
        alert("RdmaLinkErrors", "warning", PORT | {"device": "mlx5_1"}, JOB),
    ),
    "a switch of one machine and the link of a card of another": (
        alert("GpuNvswitchFault", "critical", {"node": "gn01"}),
        alert("GpuNvlinkDown", "critical", {"node": "gn02", "gpu": "0"}, JOB),
    ),
    "a power brake and another node that falls behind": (
        alert("GpuPowerBrake", "critical", {"node": "gn01", "gpu": "0"}, JOB),
        alert("JobStragglerNode", "warning", {"node": "gn02"}, JOB),
    ),
    "a storm and the congestion of another job": (
        alert("RdmaPauseStorm", "critical", PORT, JOB),
        alert("RdmaCongestion", "critical", ELSEWHERE, OTHER),
    ),
    "a lost machine and another job": (
        alert("NodeLost", "critical", {"node": "gn01"}, JOB),
        alert("RdmaRetriesExceeded", "critical", ELSEWHERE, OTHER),
    ),
    "a page and the warning of another port": (
        alert("RdmaCongestion", "critical", PORT, JOB),
        alert("RdmaCongestion", "warning", ELSEWHERE, JOB),
    ),
    "a storm on another fabric": (
        alert("RdmaPauseStorm", "critical", PORT, JOB, {"fabric": "a"}),
        alert("RdmaPortPaused", "critical", ELSEWHERE, OTHER, {"fabric": "b"}),
    ),
}


def inhibited(lab: Alertmanager, case: str, cause: dict[str, str], effect: dict[str, str]) -> list[Any]:
    """By what the effect is inhibited. The label keeps the cases apart where an inhibition is about a whole fabric."""
    apart = {"fabric": f"{case}-{effect.get('fabric', '')}"}
    own = {"fabric": f"{case}-{cause.get('fabric', '')}"}
    now = {"startsAt": timestamp(-1), "endsAt": timestamp(600)}
    lab.post([{"labels": cause | own, **now}, {"labels": effect | apart, **now}])

    def told() -> object:
        found = [a for a in lab.alerts() if a["labels"] == effect | apart and a["status"]["state"] != "unprocessed"]
        return found and found[0]["status"]

    status: Any = wait_for(told, 30, "state of the alert")
    return list(status["inhibitedBy"])


@pytest.mark.server("alertmanager")
@pytest.mark.parametrize("case", CASES)
def test_a_consequence_is_inhibited_by_its_cause(lab: Alertmanager, case: str) -> None:
    assert 1 == len(inhibited(lab, case, *CASES[case]))


@pytest.mark.server("alertmanager")
@pytest.mark.parametrize("case", APART)
def test_what_has_another_cause_still_pages(lab: Alertmanager, case: str) -> None:
    assert [] == inhibited(lab, case, *APART[case])
