"""A whole exporter in a process of its own, read round by round: what a round costs in CPU and memory.

``python -m tests.bench.worker`` takes a JSON object on its standard input (see `Order`) and prints one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from exporters.exposition.negotiate import Form
from exporters.exposition.page import Page
from exporters.http.server import Server, create_app
from exporters.poll.memory import settle
from exporters.poll.registry import Collector, JoinSettings
from exporters.sources.devices.dcgm import Dcgm
from tests.bench.site import Queue, projects

ROUND = 15.0
"""Seconds from one round to the next, by the clock that the exporter is given."""
WARM = 3
"""Rounds before the first that counts: then every page is known, and as many jobs linger as ever will."""


@dataclass
class Order:
    """What to measure: ``rounds`` of these endpoints with ``jobs`` jobs, of which ``turnover`` change per round."""

    targets: Sequence[str] = field(default_factory=list)
    jobs: int = 2000
    turnover: int = 0
    rounds: int = 5
    interval: float = 3.0
    linger: float = 300.0


def work(order: Order) -> dict[str, Any]:
    """CPU seconds of each round with its stages, and the memory at the end."""
    now = [time.time()]
    collector = exporter(order, now)
    settle()
    stages = []
    for n in range(order.rounds + WARM):
        now[0] += ROUND
        found, page = one_round(collector)
        stages += [found] if n >= WARM else []
    size, packed = page.size, len(page.body(Form.TEXT, compressed=True))
    read = endpoints(collector)
    series = page.body().count(b"\n") - 2 * page.body().count(b"# TYPE")
    collector.stop()
    return {
        "seconds": [sum(found.values()) for found in stages],
        "stages": stages,
        "rss": resident(),
        "size": size,
        "packed": packed,
        "series": series,
        "read": read,
    }


def beside(order: Order) -> dict[str, Any]:
    """CPU seconds of each round without and with turnover: two exporters in one process that take turns.

    A busy machine is now faster, now slower; two rounds one after the other see the same of it.
    """
    now = [time.time()]
    exporters = [exporter(replace(order, turnover=0), now), exporter(order, now)]
    settle()
    seconds: list[list[float]] = [[], []]
    for n in range(order.rounds + WARM):
        now[0] += ROUND
        for which in (0, 1) if n % 2 else (1, 0):
            found, _ = one_round(exporters[which])
            seconds[which] += [sum(found.values())] if n >= WARM else []
    read = [endpoints(collector) for collector in exporters]
    for collector in exporters:
        collector.stop()
    return {"calm": seconds[0], "busy": seconds[1], "read": read}


def exporter(order: Order, now: Sequence[float]) -> Collector:
    """A whole exporter whose clock says what is the first of ``now``."""
    queue = Queue(len(order.targets), order.jobs, order.turnover)
    return Collector([queue, devices(order)], JoinSettings(projects(), linger=order.linger), clock=lambda: now[0])


def one_round(collector: Collector) -> tuple[dict[str, float], Page]:
    """CPU seconds of a round's stages, and its page."""
    begun = time.process_time()
    collector.poll_all()
    polled = time.process_time()
    collector.join()
    joined = time.process_time()
    page = collector.page()
    assert page is not None
    page.body(Form.TEXT, compressed=True)
    ended = time.process_time()
    return {"poll": polled - begun, "join": joined - polled, "compress": ended - joined}, page


def endpoints(collector: Collector) -> tuple[int, int]:
    """How many endpoints the last round read, and how many it did not."""
    (read,) = {s.targets for s in collector.statuses() if s.targets}
    return read


def devices(order: Order) -> Dcgm:
    """The endpoints, asked within ``order.interval`` and at moments that are `ROUND` apart: no round has missed one."""
    dcgm = Dcgm(targets=order.targets, interval=order.interval)
    dcgm.interval = ROUND
    return dcgm


def answers(order: Order) -> dict[str, Any]:
    """How long /metrics took, asked all the time from another process while rounds ran."""
    collector = Collector(
        [Queue(len(order.targets), order.jobs), devices(order)],
        JoinSettings(projects()),
    )
    settle()
    collector.poll_all()
    collector.join()
    server = Server(create_app(collector.page, collector.ready), "127.0.0.1:0")
    server.start()
    with subprocess.Popen(
        [sys.executable, "-c", _ASK, server.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        for _ in range(order.rounds):
            collector.poll_all()
            collector.join()
        seconds = sorted(json.loads(client.communicate("stop\n")[0]))
    server.stop()
    collector.stop()
    return {"p99": seconds[int(len(seconds) * 0.99)], "median": seconds[len(seconds) // 2], "asked": len(seconds)}


_ASK = """
import http.client, json, select, sys, time
from urllib.parse import urlsplit
connection = http.client.HTTPConnection(urlsplit(sys.argv[1]).netloc)
seconds = []
while not select.select([sys.stdin], [], [], 0.1)[0]:
    begun = time.perf_counter()
    connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    connection.getresponse().read()
    seconds.append(time.perf_counter() - begun)
json.dump(seconds, sys.stdout)
"""


def resident(pid: int | str = "self") -> int:
    """Resident bytes of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS:"))


def run(order: Order) -> dict[str, Any]:
    """Have a process of its own measure rounds."""
    return _apart("work", order)


def churn(order: Order) -> dict[str, Any]:
    """Have a process of its own measure rounds without and with turnover, in turns."""
    return _apart("beside", order)


def serve(order: Order) -> dict[str, Any]:
    """Have a process of its own measure answers."""
    return _apart("answers", order)


def _apart(what: str, order: Order) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.worker", what],
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
    measure = {"work": work, "beside": beside, "answers": answers}[sys.argv[1]]
    json.dump(measure(Order(**json.load(sys.stdin))), sys.stdout)
