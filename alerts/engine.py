"""A Prometheus of its own on a loopback port, with recorded samples in its store, for as long as it is asked."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from alerts.thresholds import RulesError

MEND = "install Prometheus, which brings both (Debian: apt install prometheus)"
STARTS_WITHIN = 60.0
MOST_STEPS = 5000
"""Steps in one question: Prometheus refuses more than 11,000."""


class Engine:
    """A running Prometheus, asked over HTTP."""

    def __init__(self, port: int) -> None:
        self._port = port

    def held(self, expression: str, steps: list[float]) -> dict[tuple[tuple[str, str], ...], list[float]]:
        """At which of these evenly spaced moments the expression has which series. Raises `RulesError`."""
        found: dict[tuple[tuple[str, str], ...], list[float]] = {}
        gap = steps[1] - steps[0] if len(steps) > 1 else 1.0
        for first in range(0, len(steps), MOST_STEPS):
            part = steps[first : first + MOST_STEPS]
            words = {"query": expression, "start": f"{part[0]:.3f}", "end": f"{part[-1]:.3f}", "step": f"{gap:.3f}"}
            for series in self._ask("/api/v1/query_range", words)["result"]:
                labels = tuple(sorted((k, v) for k, v in series["metric"].items() if k != "__name__"))
                moments = found.setdefault(labels, [])
                moments += [part[round((at - part[0]) / gap)] for at, _ in series["values"]]
        return found

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._get("GET", "/-/ready", "")[0] == 200
        except OSError:
            return False

    def _ask(self, path: str, words: dict[str, str]) -> Any:
        status, body = self._get("POST", path, urlencode(words))
        answer = json.loads(body)
        if status != 200 or answer["status"] != "success":
            raise RulesError(f"prometheus refuses {words['query']}: {answer.get('error', status)}")
        return answer["data"]

    def _get(self, method: str, path: str, body: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            connection.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def engine(openmetrics: Path, folder: Path, lookback: float) -> Iterator[Engine]:
    """Load the samples below ``folder`` and run Prometheus on them.

    ``lookback`` is for how many seconds a sample is current: a scraped series that goes is marked as gone, a recorded
    one is not. Raises `RulesError` when a program is missing, or refuses the samples.
    """
    prometheus, promtool = _program("prometheus"), _program("promtool")
    store = folder / "data"
    made = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(openmetrics), str(store)],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        raise RulesError(f"promtool cannot load the recording: {made.stderr.decode(errors='replace').strip()}")
    settings = folder / "prometheus.yml"
    settings.write_text("global: {}\n")
    port = _free_port()
    log = folder / "prometheus.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                prometheus,
                f"--config.file={settings}",
                f"--storage.tsdb.path={store}",
                "--storage.tsdb.retention.time=100y",
                f"--query.lookback-delta={lookback:.0f}s",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        running = Engine(port)
        _wait(running, process, log)
        yield running
    finally:
        process.terminate()
        process.wait(30)


def _wait(running: Engine, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while not running.ready():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise RulesError(f"prometheus does not start: {' '.join(said) or 'it says nothing'}")
        time.sleep(0.05)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RulesError(f"replay needs the program {name} on PATH: {MEND}")
    return found


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
