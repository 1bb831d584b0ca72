"""The agent as it runs: its clock, its listener, its command, and what it costs to start."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from exporters.exposition.page import Page
from exporters.http.server import Server
from exporters.node import agent as module
from exporters.node.agent import Agent
from exporters.node.ethtool import Ethtool
from exporters.node.listener import create_agent_app
from exporters.node.paths import Paths
from meterbridge import main
from tests.exporters.node.fake_kubelet import FakeKubelet
from tests.exporters.node.fake_nic import FakeNic
from tests.exporters.node.trees import unpack
from tests.lab.daemons import Daemon, wait_for
from tests.lab.modules import modules_of
from tests.lab.ports import free
from tests.lab.prometheus import check_metrics

ROOT = Path(__file__).parents[3]
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
INFORMATION = "Model:           NVIDIA H100\nGPU UUID:        GPU-cccc\nDevice Minor:    2\n"
PODS = [
    {
        "name": "bert",
        "namespace": "nlp",
        "containers": [{"name": "main", "devices": [{"resource_name": "nvidia.com/gpu", "device_ids": ["GPU-aaaa"]}]}],
    }
]


class Machine:
    """Everything that an agent can meet on one machine, below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        unpack("mlx5", root / "sys")
        gpu = root / "proc/driver/nvidia/gpus/0000:19:00.0"
        gpu.mkdir(parents=True)
        (gpu / "information").write_text(INFORMATION)
        kernel = root / "proc/sys/kernel/random"
        kernel.mkdir(parents=True)
        (kernel / "boot_id").write_text(f"{BOOT}\n")
        (root / "spool").mkdir()
        (root / "spool/4711@gn01").write_text(f"job=4711\ngpus=2\nboot={BOOT}\nend=\n")
        (root / "spool/junk").write_text("junk\n")

    @property
    def socket(self) -> Path:
        return self.root / "kubelet.sock"

    @property
    def paths(self) -> Paths:
        return Paths(*(str(self.root / name) for name in ("sys", "proc", "cgroup", "spool", "kubelet.sock")))

    @property
    def options(self) -> list[str]:
        paths = self.paths
        return [
            f"--path.sysfs={paths.sysfs}",
            f"--path.procfs={paths.procfs}",
            f"--path.cgroup={paths.cgroup}",
            f"--path.spool={paths.spool}",
            f"--path.podresources={paths.podresources}",
        ]

    def agent(self, nic: FakeNic | None = None, interval: float = 15.0) -> Agent:
        return Agent(self.paths, Ethtool(nic or FakeNic()), "0", interval=interval)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def rows(body: bytes | str, family: str) -> list[dict[str, str]]:
    text = body.decode() if isinstance(body, bytes) else body
    return [s.labels for f in text_string_to_metric_families(text) for s in f.samples if s.name == family]


HOLDING = "meterbridge_agent_gpu_holding_info"


@pytest.mark.server("prometheus")
def test_a_whole_machine_on_one_page(machine: Machine) -> None:
    nic = FakeNic({"ens18np0": {"rx_prio3_pause_duration": 5_000_000, "tx_pause_storm_error_events": 2}})
    agent = machine.agent(nic)
    with FakeKubelet(machine.socket, PODS, PODS[0]["containers"][0]["devices"]):  # type: ignore[index]
        agent.read_holdings()
    body = agent.page().body()
    page = body.decode()

    assert [] == check_metrics(body)
    assert 'rdma_pause_received_seconds_total{device="mlx5_0",port="1",priority="3"} 5.0' in page
    assert 'rdma_pause_storm_events_total{device="mlx5_0",port="1",severity="error"} 2.0' in page
    assert 'meterbridge_agent_allocatable_gpus{resource="nvidia.com/gpu"} 1.0' in page
    assert [
        ("kubernetes", "nlp/bert", "main", "", "GPU-aaaa", "podresources"),
        ("slurm", "4711", "", "2", "GPU-cccc", "spool"),
    ] == [(r["scheduler"], r["owner"], r["container"], r["gpu"], r["uuid"], r["basis"]) for r in rows(page, HOLDING)]
    assert [{"basis": "spool", "what": "junk"}] == rows(page, "meterbridge_agent_holdings_unreadable")


def test_scrapes_at_once_share_a_round(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = machine.agent()
    shared = agent.page() is agent.page()
    monkeypatch.setattr(module, "FRESH", 0.0)

    assert shared
    assert agent.page() is not agent.page()


def test_a_counter_is_as_fresh_as_the_scrape(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH", 0.0)
    agent = machine.agent()
    agent.page()
    folder = machine.root / "sys/class/infiniband/mlx5_0/ports/1/hw_counters"
    (folder / "req_rnr_retries_exceeded").write_text("77\n")

    assert b'retries_exceeded_total{device="mlx5_0",kind="rnr",port="1"} 77.0' in agent.page().body()


def test_holdings_are_read_on_their_own_clock_and_lost_when_the_kubelet_is(machine: Machine) -> None:
    agent = machine.agent(interval=0.05)
    with FakeKubelet(machine.socket, PODS):
        agent.start()
        wait_for(lambda: {h.owner for h in agent.round().holdings} == {"nlp/bert", "4711"}, 10, "both holdings")
    wait_for(lambda: agent.round().sources == {"podresources": False, "spool": True}, 10, "the kubelet's absence")
    left = {h.owner for h in agent.round().holdings}
    agent.stop()

    assert {"4711"} == left


def test_holdings_that_grew_old_are_shown_no_more(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = machine.agent()
    agent.read_holdings()
    fresh = agent.round()
    monkeypatch.setattr(module, "STALE", -1)
    stale = agent.round()

    assert ({"4711"}, {"spool": True}) == ({h.owner for h in fresh.holdings}, fresh.sources)
    assert ((), {"spool": False}) == (stale.holdings, stale.sources)


def test_a_round_of_holdings_that_fails_is_logged_and_the_next_one_comes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    agent = machine.agent(interval=0.01)
    rounds = threading.Semaphore(0)

    def fail() -> None:
        rounds.release()
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(agent, "read_holdings", fail)
    agent.start()
    assert all(rounds.acquire(timeout=10) for _ in range(2))
    agent.stop()

    assert "a fault of ours" in caplog.text


def test_each_reason_is_logged_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    agent = machine.agent(FakeNic(refuses=True))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            agent.round()
            agent.read_holdings()

    assert 3 == len(caplog.records)  # ethtool of two ports, and the junk in the spool


@pytest.fixture
def served(machine: Machine) -> Iterator[Server]:
    server = Server(create_agent_app(machine.agent().page), "127.0.0.1:0")
    server.start()
    yield server
    server.stop()


def test_the_listener_serves_every_form_that_is_asked_for(served: Server) -> None:
    with httpx2.Client(base_url=served.url) as client:
        plain = client.get("/metrics", headers={"Accept-Encoding": "identity"})
        packed = client.get("/metrics", headers={"Accept-Encoding": "gzip", "Accept": "application/openmetrics-text"})
        people = client.get("/")
        healthy = client.get("/-/healthy")

    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert ("gzip", "# EOF") == (packed.headers["content-encoding"], packed.text.splitlines()[-1])
    assert "default-src 'none'" in people.headers["content-security-policy"]
    assert (200, 200) == (people.status_code, healthy.status_code)


def test_a_device_that_hangs_is_an_answer_in_time_and_one_thread_waits_for_it() -> None:
    release, begun = threading.Event(), []

    def stuck() -> Page:
        begun.append(1)
        release.wait(20)
        return Page(())

    async def ask() -> list[int]:
        transport = httpx2.ASGITransport(create_agent_app(stuck, patience=0.05))
        async with httpx2.AsyncClient(transport=transport, base_url="http://agent") as client:
            answers = [await client.get("/metrics"), await client.get("/metrics"), await client.get("/-/healthy")]
            release.set()
            answers.append(await client.get("/metrics"))
        return [answer.status_code for answer in answers]

    assert ([503, 503, 200, 200], 1) == (asyncio.run(ask()), len(begun))


def test_once_prints_the_page(machine: Machine) -> None:
    result = CliRunner().invoke(main, ["node", "--once", "--all", *machine.options])

    assert 0 == result.exit_code
    assert [("4711", "2", "GPU-cccc")] == [(r["owner"], r["gpu"], r["uuid"]) for r in rows(result.stdout, HOLDING)]
    assert "meterbridge_agent_rdma_receive_bytes_total" in result.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--web.listen-address=nowhere"], "nowhere"),
        (["--web.listen-address=127.0.0.1:0", "--web.config.file=/no/such/file"], "/no/such/file"),
        (["--interval=0"], "interval"),
    ],
)
def test_wrong_options_are_one_sentence_and_exit_2(machine: Machine, options: list[str], says: str) -> None:
    result = CliRunner().invoke(main, ["node", *options, *machine.options])

    assert 2 == result.exit_code
    assert says in result.output


def test_the_agent_as_a_process_stays_small_and_ends_when_told(machine: Machine, tmp_path: Path) -> None:
    (port,) = free()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(ROOT / "meterbridge.py"), "--log-format", "json", "node", *machine.options]
    daemon = Daemon(
        "node", [*command, f"--web.listen-address=127.0.0.1:{port}"], tmp_path / "log", {"PYTHONPATH": str(ROOT)}
    )
    try:
        with FakeKubelet(machine.socket, PODS):
            daemon.ready(lambda: answers(url))
            wait_for(lambda: len(rows(httpx2.get(f"{url}/metrics").text, HOLDING)) == 2, 10, "both holdings")
            status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    finally:
        daemon.terminate()
        code = daemon.process.wait(10)
    resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024

    assert 0 == code
    assert resident < 50
    assert '"message": "serving http://127.0.0.1' in (tmp_path / "log").read_text()


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/-/healthy").status_code == 200
    except httpx2.TransportError:
        return False


def test_the_agent_loads_nothing_heavy(machine: Machine) -> None:
    loaded = modules_of("node", "--once", *machine.options)

    assert "exporters.node.agent" in loaded
    top = {name.partition(".")[0] for name in loaded}
    assert set() == top & {"numpy", "pandas", "sqlalchemy", "kubernetes", "pydantic", "grpc", "google", "accounting"}
