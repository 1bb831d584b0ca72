"""Debian's Prometheus scraping the same endpoints: what a round costs it, counted by its own count of scrapes."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.bench.worker import resident
from tests.lab.ports import free
from tests.lab.servers import program

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Scraping:
    """A running Prometheus."""

    pid: int
    url: str
    endpoints: int

    def rounds(self) -> float:
        """How many times it has scraped the whole fleet."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        name = "prometheus_target_interval_length_seconds_count"
        scrapes = sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
        return scrapes / self.endpoints

    def cpu(self) -> float:
        """CPU seconds it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> int:
        """Resident bytes."""
        return resident(self.pid)

    def wait(self, rounds: float) -> None:
        """Until it has scraped the fleet that many times."""
        while self.rounds() < rounds:
            time.sleep(0.5)

    def series(self) -> int:
        """Series in its head."""
        with urllib.request.urlopen(f"{self.url}/api/v1/status/tsdb") as answer:
            return int(json.load(answer)["data"]["headStats"]["numSeries"])


@contextmanager
def scraping(urls: Sequence[str], interval: int) -> Iterator[Scraping]:
    """A Prometheus that scrapes these endpoints."""
    port = free()[0]
    targets = [urlsplit(url).netloc for url in urls]
    config = {
        "global": {"scrape_interval": f"{interval}s", "scrape_timeout": f"{interval}s"},
        "scrape_configs": [{"job_name": "dcgm", "static_configs": [{"targets": targets}]}],
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            found = Scraping(process.pid, f"http://127.0.0.1:{port}", len(urls))
            _until_up(found)
            yield found
            process.terminate()
            process.wait()


def _until_up(server: Scraping) -> None:
    for _ in range(300):
        try:
            server.rounds()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("Prometheus did not come up")
