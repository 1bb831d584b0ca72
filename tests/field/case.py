"""A case of the field: files of a site, what is done, and what must come of it. `tests.field.test_field` says the form.

Commands run in this process, through the front door; only Slurm's own commands are processes, as they are at a site.
"""

from __future__ import annotations

import hashlib
import json
import re
import resource
import shlex
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from accounting.service import site_service
from accounting.site import book
from exporters import build
from exporters.config import load
from exporters.poll.registry import Collector
from meterbridge import main
from tests.field.cluster import Cluster

HERE = Path(__file__).parent
TOKEN = "field-" * 8
_SPAN = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FORMS = {"iso:": "%Y-%m-%dT%H:%M:%SZ", "day:": "%Y-%m-%d", "month:": "%Y-%m"}
_TIME = re.compile(r"@(iso:|day:|month:)?(T0|NOW)((?:[+-](?:\d+[smhd])+)*)@")
QUIET = 0.4
"""Seconds in which the watches of a running exporter hear of a change."""


@contextmanager
def _files_up_to(size: int) -> Iterator[None]:
    """No file of this process may become larger (0: as before)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size or soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Case:
    """One case, laid out in a folder of its own."""

    def __init__(self, told: Path | dict[str, Any], here: Path, cluster: Cluster) -> None:
        """``told`` is the case's folder, or what its case.yaml says with its files in it."""
        self.here, self.cluster = here, cluster
        self.about: dict[str, Any]
        if isinstance(told, dict):
            self.about, self.source = told, _written(told["files"], here / "source")
        else:
            self.about, self.source = yaml.safe_load((told / "case.yaml").read_text()), told
        begun = str(self.about["T0"])
        self.floating = begun.startswith("now")
        minute = int(time.time()) // 60 * 60
        self.t0 = minute + seconds(begun[3:]) if self.floating else int(datetime.fromisoformat(begun).timestamp())
        self.codes: dict[str, int] = {}
        self.said: dict[str, str] = {}
        self.page = self.printed = ""
        self.collector: Collector | None = None
        self.overlay: dict[str, Any] = {}
        self.kube = False
        self.lay(self.source)

    # -- files ----------------------------------------------------------------------------------------------------

    def render(self, text: str) -> str:
        """Times and addresses filled in."""

        def moment(found: re.Match[str]) -> str:
            at = (self.t0 if found[2] == "T0" else int(time.time())) + seconds(found[3])
            return time.strftime(_FORMS[found[1]], time.gmtime(at)) if found[1] else str(at)

        port = self.cluster.url.rpartition(":")[2]
        for name, value in (("@URL@", self.cluster.url), ("@PORT@", port), ("@DIR@", str(self.here))):
            text = text.replace(name, value)
        return _TIME.sub(moment, text)

    def lay(self, folder: Path, *, expire: bool = False) -> None:
        """Take over the files of a folder."""
        for path in sorted(p for pattern in ("slurm/*/*", "pages/*") for p in folder.glob(pattern)):
            to = self.here / path.relative_to(folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_text(self.render(path.read_text()))
            if path.parent.name == "pages":
                self.cluster.pages[path.name] = to.read_text()
        if (folder / "kube.yaml").exists():
            self.kube = True
            self.cluster.show(yaml.safe_load(self.render((folder / "kube.yaml").read_text())), expire=expire)
        if (folder / "settings.yaml").exists():
            self.overlay = yaml.safe_load(self.render((folder / "settings.yaml").read_text()))
        self.settle({})

    def settle(self, more: dict[str, Any]) -> None:
        """Write the settings: what every case has, the case's own over it, and ``more``."""
        mode = "federated" if self.about.get("federation") else "alone"
        slurm = []
        for folder in sorted((self.here / "slurm").glob("*")):
            words = {
                name: [sys.executable, "-I", "-S", str(HERE / "slurm_commands.py"), name, str(folder), mode]
                for name in ("squeue", "scontrol", "sacct", "sacctmgr")
            }
            live = {"squeue": words["squeue"], "scontrol": words["scontrol"], "interval": "2s"}
            past = {"sacct": words["sacct"], "sacctmgr": words["sacctmgr"], "window": "31d"}
            past["since"] = self.render("@day:T0-1d@")
            slurm.append({"cluster": folder.name, "live": live, "history": past})
        kubernetes = [{"cluster": "k", "kubeconfig": str(self.here / "kubeconfig"), "interval": "2s"}]
        plain = {
            "site": "case",
            "time_zone": "UTC",
            "rates": {"currency": "EUR", "default": "1.00"},
            "ledger": {"url": f"sqlite:///{self.here}/ledger.db", "settle": "1m"},
            "service": {"listen": "127.0.0.1:0", "tokens_file": str(self.here / "tokens.yaml")},
            **({"slurm": slurm} if slurm else {}),
            **({"kubernetes": kubernetes} if self.kube else {}),
        }
        self.overlay = over(self.overlay, more)
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        tokens = {"tokens": [{"name": "a", "role": "admin", "sha256": digest}]}
        user: dict[str, Any] = {"name": "k", "user": {}}
        kubeconfig = {
            "current-context": "k",
            "clusters": [{"name": "k", "cluster": {"server": self.cluster.url}}],
            "contexts": [{"name": "k", "context": {"cluster": "k", "user": "k"}}],
            "users": [user],
        }
        for name, content in (("tokens.yaml", tokens), ("kubeconfig", kubeconfig)):
            (self.here / name).write_text(yaml.safe_dump(content))
        (self.here / "meterbridge.yaml").write_text(yaml.safe_dump(over(plain, self.overlay)))

    # -- steps ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Every step, in order; what runs is stopped at the end."""
        try:
            for step in self.about["steps"]:
                self._step(*next(iter(step.items())), step) if isinstance(step, dict) else self._step(step, None, {})
        finally:
            self.stop()

    def _step(self, name: str, value: Any, more: Mapping[str, Any]) -> None:
        known: dict[str, Callable[[], object]] = {
            "once": self.once,
            "watch": lambda: self.watch(value),
            "stop": self.stop,
            "books": self.books,
            "files": lambda: self.lay(self.source / value, expire=bool(more.get("expire"))),
            "settings": lambda: self.settle(yaml.safe_load(self.render(yaml.safe_dump(value)))),
            "sql": lambda: self.sql(value),
            "write": lambda: [(self.here / p).write_text(self.render(t)) for p, t in value.items()],
            "serve": lambda: None,  # the service is started by those who ask it
            "get": lambda: self.get(value),
            "run": lambda: self.command(value, more.get("as", ""), more.get("fsize", 0)),
        }
        known[name]() if name in known else self.command(name)

    def command(self, line: str, name: str = "", fsize: int = 0) -> None:
        """One command line of meterbridge; with ``fsize`` no file may become larger, as on a full disk."""
        words = shlex.split(self.render(line))
        name = name or words[0]
        if words[0] == "statement" and "--out" not in words:
            words += ["--out", str(self.here / "out")]
        with _files_up_to(fsize):
            told = CliRunner().invoke(main, words, env={"METERBRIDGE_CONFIG": str(self.here / "meterbridge.yaml")})
        assert told.exception is None or isinstance(told.exception, SystemExit), told.exc_info
        self.codes[name], self.said[name] = told.exit_code, self.said.get(name, "") + told.output
        self.printed = told.stdout

    def once(self) -> None:
        self.command("exporter --once", "once")
        self.page = self.printed

    def watch(self, rounds: int) -> None:
        """A running exporter, for so many rounds."""
        config = load(self.here / "meterbridge.yaml")
        if self.collector is None:
            self.collector = build.collector(config, book.recorder(config))
        for _ in range(rounds + 1):
            time.sleep(QUIET)
            self.collector.poll_all()
            self.collector.join()
        page = self.collector.page()
        self.page = page.body().decode() if page else ""

    def stop(self) -> None:
        if self.collector is not None:
            self.collector.stop()
        self.collector = None

    def books(self) -> None:
        """Ingest, reconcile, and a statement of the month of T0 (of all months since, where T0 is relative to now)."""
        self.command("ingest")
        self.command("reconcile")
        now = int(time.time())
        days = [*range(self.t0, now, 86_400), now] if self.floating else [self.t0]
        for month in sorted({time.strftime("%Y-%m", time.gmtime(t)) for t in days}):
            self.command(f"statement {month}")

    def sql(self, statements: list[str]) -> None:
        with sqlite3.connect(self.here / "ledger.db") as ledger:
            changed = [ledger.execute(self.render(s)).rowcount for s in statements]
        ledger.close()
        assert all(changed), f"{statements} changed {changed} rows"

    def get(self, what: dict[str, Any]) -> None:
        """Ask the accounting service, until the answer has what is waited for."""
        service = site_service.service(load(self.here / "meterbridge.yaml"))
        service.start()
        headers = {"Authorization": f"Bearer {TOKEN}"} if what.get("token") else {}
        try:
            end = time.monotonic() + 20
            while True:
                request = urllib.request.Request(service.url + self.render(what["path"]), headers=headers)
                try:
                    with urllib.request.urlopen(request, timeout=20) as answer:
                        code, text = answer.status, answer.read().decode()
                except urllib.error.HTTPError as error:
                    code, text = error.code, error.read().decode()
                    error.close()
                if re.search(what.get("until", ""), text) or time.monotonic() > end:
                    break
                time.sleep(0.3)
        finally:
            service.stop()
        self.codes[what["as"]], self.said[what["as"]] = code, text


def _written(files: Mapping[str, Any], folder: Path) -> Path:
    """A case's files written out: a text as it is, anything else as JSON, which is YAML, too."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def seconds(text: str) -> int:
    """``+1h30m-5s`` in seconds."""
    total = 0
    for sign, body in re.findall(r"([+-])((?:\d+[smhd])+)", text):
        total += (-1 if sign == "-" else 1) * sum(int(n) * _SPAN[u] for n, u in re.findall(r"(\d+)([smhd])", body))
    return total


def over(below: Any, above: Any) -> Any:
    """Settings laid over others; a map over a list goes to each of its items."""
    if isinstance(below, list) and isinstance(above, dict):
        return [over(item, above) for item in below]
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{k: over(below.get(k), v) for k, v in above.items()}}
    return above


def dump(case: Case) -> str:
    """What was said, for a person who looks into a failure."""
    return json.dumps({"codes": case.codes, "said": {k: v[-1500:] for k, v in case.said.items()}}, indent=1)
