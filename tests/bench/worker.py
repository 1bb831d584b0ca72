"""A whole exporter in a process of its own, read round by round: what a round costs in CPU and memory.

``python -m tests.bench.worker`` takes a JSON object on its standard input (see `Order`) and prints one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from exporters.collector import Collector, JoinSettings
from exporters.exposition.negotiate import Form
from exporters.memory import settle
from exporters.sources.dcgm import Dcgm
from tests.bench.site import Queue, projects


@dataclass
class Order:
    """What to measure: ``rounds`` of these endpoints with ``jobs`` jobs, of which ``turnover`` change per round."""

    targets: Sequence[str] = field(default_factory=list)
    jobs: int = 2000
    turnover: int = 0
    rounds: int = 5
    interval: float = 3.0


def work(order: Order) -> dict[str, Any]:
    """CPU seconds of each round with its stages, and the memory at the end."""
    queue = Queue(len(order.targets), order.jobs, order.turnover)
    now = [time.time()]
    dcgm = Dcgm(targets=order.targets, interval=order.interval)
    collector = Collector([queue, dcgm], JoinSettings(projects()), clock=lambda: now[0])
    settle()
    seconds, stages = [], []
    for n in range(order.rounds + 2):
        now[0] += 15.0
        begun = time.process_time()
        collector.poll_all()
        polled = time.process_time()
        collector.join()
        joined = time.process_time()
        page = collector.page()
        assert page is not None
        size, packed = len(page.body()), len(page.body(Form.TEXT, compressed=True))
        ended = time.process_time()
        if n >= 2:
            seconds.append(ended - begun)
            stages.append({"poll": polled - begun, "join": joined - polled, "compress": ended - joined})
    (read,) = {s.targets for s in collector.statuses() if s.targets}
    series = page.body().count(b"\n") - 2 * page.body().count(b"# TYPE")
    collector.stop()
    return {
        "seconds": seconds,
        "stages": stages,
        "rss": resident(),
        "size": size,
        "packed": packed,
        "series": series,
        "read": read,
    }


def resident(pid: int | str = "self") -> int:
    """Resident bytes of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS:"))


def run(order: Order) -> dict[str, Any]:
    """Have a process of its own do it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.worker"],
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    json.dump(work(Order(**json.load(sys.stdin))), sys.stdout)
