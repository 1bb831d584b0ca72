"""A real Prometheus on a free loopback port, and promtool."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2
import yaml

from tests.lab.daemons import Daemon, wait_for
from tests.lab.ports import free
from tests.lab.servers import program

Vector = list[tuple[dict[str, str], float]]


def promtool(*arguments: str, text: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool. ``text`` is what it reads from its standard input; its output is decoded."""
    done = subprocess.run([program("promtool"), *arguments], input=text, capture_output=True, check=False, timeout=120)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


def check_metrics(page: bytes) -> list[str]:
    """What ``promtool check metrics`` has against a page, line by line; empty when all is well."""
    done = promtool("check", "metrics", text=page)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return said or ([] if done.returncode == 0 else [f"promtool ended with {done.returncode}"])


class Prometheus:
    """One server below ``root``. Scrape jobs come and go while it runs; every job is scraped once a second.

    Prometheus takes up new jobs every five seconds, so add all the jobs of a module before waiting for any.
    ``rules`` are rule files' texts, ``alertmanager`` the ``host:port`` that alerts go to, ``options`` further flags.
    """

    def __init__(
        self, root: Path, rules: Sequence[str] = (), alertmanager: str = "", options: Sequence[str] = ()
    ) -> None:
        self.root = root
        self.url = f"http://127.0.0.1:{free()[0]}"
        self._rules = tuple(rules)
        self._alertmanager = alertmanager
        self._options = tuple(options)
        self._jobs: dict[str, dict[str, Any]] = {}
        self._daemon: Daemon | None = None

    def __enter__(self) -> Prometheus:
        self._write()
        self._daemon = Daemon(
            "prometheus",
            [
                program("prometheus"),
                f"--config.file={self.root / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.root / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--web.enable-lifecycle",
                "--web.enable-remote-write-receiver",
                "--log.level=warn",
                *self._options,
            ],
            self.root / "prometheus.log",
        )
        self._daemon.ready(self._answers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._daemon is not None:
            self._daemon.stop()

    def scrape(self, job: str, url: str, **options: Any) -> None:
        """Scrape ``url`` as ``job`` from now on. ``options`` are Prometheus' own: ``basic_auth``, ``tls_config``."""
        scheme, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        self._jobs[job] = {
            "job_name": job,
            "scheme": scheme,
            "metrics_path": f"/{path}",
            "static_configs": [{"targets": [host]}],
            **options,
        }
        self._reload()

    def forget(self, job: str) -> None:
        """Scrape this job no more."""
        self._jobs.pop(job, None)
        self._reload()

    def query(self, expression: str, at: float | None = None) -> Vector:
        """An instant query: labels and value of each series. Raises RuntimeError with Prometheus' words."""
        parameters = {"query": expression} | ({"time": str(at)} if at is not None else {})
        answer = httpx2.get(f"{self.url}/api/v1/query", params=parameters).json()
        if answer["status"] != "success":
            raise RuntimeError(f"{expression}: {answer['error']}")
        return [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]

    def wait(self, expression: str, timeout: float = 30) -> Vector:
        """The query's result once it has one. Raises TimeoutError with what the targets say."""

        def ask() -> Vector:
            return self.query(expression)

        try:
            return wait_for(ask, timeout, f"answer to {expression}", poll=0.1)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; targets: {self.targets()}") from error

    def targets(self) -> dict[str, tuple[str, str]]:
        """Each job's health and last error."""
        active = httpx2.get(f"{self.url}/api/v1/targets").json()["data"]["activeTargets"]
        return {target["scrapePool"]: (target["health"], target["lastError"]) for target in active}

    def alerts(self) -> list[Mapping[str, Any]]:
        """The alerts that are pending or firing."""
        found: list[Mapping[str, Any]] = httpx2.get(f"{self.url}/api/v1/alerts").json()["data"]["alerts"]
        return found

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/-/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def _reload(self) -> None:
        self._write()
        answer = httpx2.post(f"{self.url}/-/reload", timeout=30)
        if answer.status_code != 200:
            raise RuntimeError(f"prometheus refuses its configuration: {answer.text}")

    def _write(self) -> None:
        files = []
        for number, text in enumerate(self._rules):
            file = self.root / f"rules-{number}.yml"
            file.write_text(text)
            files.append(str(file))
        config: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": files,
            "scrape_configs": list(self._jobs.values()),
        }
        if self._alertmanager:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [self._alertmanager]}]}]}
        (self.root / "prometheus.yml").write_text(yaml.safe_dump(config))
