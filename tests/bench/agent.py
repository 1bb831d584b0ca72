"""The node agent on a machine with eight ports: its memory, and the CPU of one round every 15 s.

It runs as it is installed, a process of its own that Prometheus scrapes, beside a kubelet with 100 pods and a spool of
16 jobs. The drivers' statistics cannot be had without the cards, so a fake driver with 4,000 of them per interface is
read in this process, and its cost is added.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from exporters.node import agent
from exporters.node.ethtool import Ethtool
from tests.bench.measure import Figure, figure
from tests.exporters.node.fake_kubelet import FakeKubelet
from tests.exporters.node.fake_nic import FakeNic
from tests.lab.daemons import Daemon
from tests.lab.ports import free

PORTS = 8
ROUNDS = 3
SCRAPES = 4
ROOT = Path(__file__).parents[2]
TREE = ROOT / "tests" / "testdata" / "sysfs" / "mlx5.tree"
HEADERS = {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"}
_TICK = os.sysconf("SC_CLK_TCK")


def figures() -> list[Figure]:
    """Resident memory in MB, and CPU per round in ms."""
    with tempfile.TemporaryDirectory(prefix="agent-bench-") as folder, _running(Path(folder)) as (pid, url):
        memory, cpu = [], []
        for _ in range(ROUNDS):
            begun = _cpu(pid)
            for _ in range(SCRAPES):
                time.sleep(agent.FRESH)  # a page may be shared for that long: each scrape is a round of its own
                httpx2.get(f"{url}/metrics", headers=HEADERS).raise_for_status()
            cpu.append((_cpu(pid) - begun) * 1000 / SCRAPES)
            memory.append(_resident_mb(pid))
    drivers = _drivers()
    return [
        figure("node agent memory", memory, "MB", 50, "lower"),
        figure("node agent round", [one + drivers for one in cpu], "ms CPU", 75, "lower"),
    ]


@contextmanager
def _running(root: Path) -> Iterator[tuple[int, str]]:
    _machine(root)
    (port,) = free()
    url = f"http://127.0.0.1:{port}"
    options = {
        "path.sysfs": root / "sys",
        "path.procfs": root / "proc",
        "path.cgroup": root / "cgroup",
        "path.spool": root / "spool",
        "path.podresources": root / "kubelet.sock",
        "web.listen-address": f"127.0.0.1:{port}",
        "interval": 1,  # a look at the holdings for every scrape, as with 15 s each
    }
    command = [
        sys.executable,
        str(ROOT / "meterbridge.py"),
        "node",
        *(f"--{key}={value}" for key, value in options.items()),
    ]
    with FakeKubelet(root / "kubelet.sock", [_pod(i) for i in range(100)]):
        daemon = Daemon("node", command, root / "log", {"PYTHONPATH": str(ROOT)})
        try:
            daemon.ready(lambda: _answers(url))
            yield daemon.process.pid, url
        finally:
            daemon.stop()


def _machine(root: Path) -> None:
    """Eight ports on eight PCI functions: the first device of the full tree, over and over, and 16 jobs."""
    device = "pci0000:15/0000:15:01.0/0000:16:00.0/0000:17:00.0/0000:18:00.0"
    lines = [line for line in TREE.read_text().splitlines() if f"{device}/infiniband/mlx5_0/" in line and " = " in line]
    for number in range(PORTS):
        place = f"devices/pci0000:1{number}/0000:1{number}:01.0/0000:2{number}:00.0"
        for line in lines:
            path, _, text = line.partition(" = ")
            path = path.replace(f"devices/{device}", place).replace("mlx5_0", f"mlx5_{number}")
            (root / "sys" / path).parent.mkdir(parents=True, exist_ok=True)
            (root / "sys" / path).write_text(f"{text}\n")
        name = f"mlx5_{number}"
        (root / "sys" / place / "infiniband" / name / "device").symlink_to("../..")
        (root / "sys/class/infiniband").mkdir(parents=True, exist_ok=True)
        (root / "sys/class/infiniband" / name).symlink_to(f"../../{place}/infiniband/{name}")
    (root / "spool").mkdir()
    for job in range(16):
        (root / "spool" / f"{job}@n").write_text(f"job={job}\ngpus={job}\nend=\n")


def _pod(number: int) -> dict[str, object]:
    devices = [{"resource_name": "nvidia.com/gpu", "device_ids": [f"GPU-{number}"]}]
    return {"name": f"pod-{number}", "namespace": "vision", "containers": [{"name": "main", "devices": devices}]}


def _drivers() -> float:
    """Milliseconds of CPU to read the statistics of all ports' drivers once they are known."""
    names = [f"rx{i % 128}_xdp_{i}" for i in range(3900)]
    names += [f"{way}_prio{p}_pause{kind}" for way in ("rx", "tx") for p in range(8) for kind in ("", "_duration")]
    interfaces = [f"ens{i}" for i in range(PORTS)]
    ethtool = Ethtool(FakeNic({interface: dict.fromkeys(names, 1) for interface in interfaces}))
    for interface in interfaces:
        ethtool.quantities(interface)
    begun = time.process_time()
    for interface in interfaces:
        ethtool.quantities(interface)
    return (time.process_time() - begun) * 1000


def _cpu(pid: int) -> float:
    spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(spent[11]) + int(spent[12])) / _TICK


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/-/healthy").status_code == 200
    except httpx2.TransportError:
        return False
