"""A site in virtual time: what its exporter served, round after round, under the shipped rules in their true durations.

The sources are stand-ins that say what a story tells them; the collector, its page and its joins are the exporter's,
and so is whatever it forgets in a restart. The pages become the input of `promtool test rules`, whose engine is
Prometheus' own. An hour of the site takes some seconds.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from alerts.files import SHIPPED
from alerts.generate import GROUPS
from exporters.exposition.line import parse_plain
from exporters.fabric_model import Port, PortCounter, PortOrigin, PortReading, PortSample
from exporters.join.projects import ProjectMap, ProjectRule
from exporters.model import Claim, Field, Job, Sample, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from tests.exporters import world as w
from tests.lab.prometheus import promtool

STEP = 30
"""Seconds between two rounds of the exporter, which is scraped as often."""

EVALUATION = 60
"""Seconds between two evaluations of the rules: Prometheus' own default, which is the slowest that sites have."""

BEGIN = 1200
"""When a story begins: after its jobs did."""

Rates = Mapping[PortCounter, float]
Series = tuple[str, tuple[tuple[str, str], ...]]
FILES = tuple(name for name in GROUPS if name != "shards")


@dataclass(frozen=True)
class Fired:
    """An alert that fires at a moment."""

    name: str
    severity: str
    labels: Mapping[str, str]


class VirtualSite:
    """Machines with ports and eight cards each; every counter grows at the rate that ``rates`` gives it.

    A story sets ``rates`` (of a machine and device: per second), ``cards`` (of a machine: what its cards tell, None
    where their exporter is down) or ``cards_of`` (of a machine and an index), ``up`` and ``ports`` (of a machine and
    device; None where it is not read), and lets time pass with `run`.
    """

    def __init__(self, machines: Sequence[str], devices: Sequence[str] = ("mlx5_0",)) -> None:
        self.now = BEGIN
        self.machines, self.devices = tuple(machines), tuple(devices)
        self.rates: Callable[[str, str], Rates] = lambda _machine, _device: {}
        self.cards: Callable[[str], Mapping[Field, float] | None] = lambda _machine: None
        self.up: Callable[[str, str], bool | None] = lambda _machine, _device: True
        self.ports: Callable[[str, str], Port | None] = lambda machine, device: Port(machine, device, "1")
        self.node_up: Callable[[str], bool] = lambda _machine: True
        self.complete = True
        self.series: dict[Series, dict[int, float]] = {}
        self._counted: dict[tuple[str, str], dict[PortCounter, float]] = {}
        self.claims: tuple[tuple[Job, Claim], ...] = ()
        self.cards_of: Callable[[str, int], Mapping[Field, float] | None] | None = None
        self._collector: Collector | None = None
        self.restart()

    def hold(self, *claims: tuple[Job, Claim]) -> None:
        """From now on these claims are held, and no others."""
        self.claims = claims

    @staticmethod
    def on(claim: Claim, indices: tuple[int, ...]) -> Claim:
        """A claim on these cards of its machine."""
        return replace(claim, indices=indices)

    def restart(self) -> None:
        """An exporter that knows nothing of what was before."""
        self._sources = [
            w.StubSource("slurmctld", "lab", w.SLURM),
            w.StubSource("rdma", "", None),
            w.StubSource("dcgm", "", None),
        ]
        projects = ProjectMap.of([ProjectRule(a, "account", a) for a in ("vision", "nlp", "theory")])
        settings = JoinSettings(projects, lossless_priorities=(3,), linger=60.0)
        self._collector = Collector(self._sources, settings, None, lambda: float(self.now))

    def run(self, minutes: float, *, down: bool = False) -> None:
        """Let time pass; with ``down`` nobody is there to be scraped, though all goes on."""
        for _ in range(round(minutes * 60 / STEP)):
            self.now += STEP
            for machine in self.machines:
                for device in self.devices:
                    counted = self._counted.setdefault((machine, device), {})
                    for counter, rate in self.rates(machine, device).items():
                        counted[counter] = counted.get(counter, 0.0) + rate * STEP
            if not down:
                self._scrape()

    def _scrape(self) -> None:
        slurm, rdma, dcgm = self._sources
        at = float(self.now)
        slurm.says = Snapshot(
            at,
            jobs=tuple(dict.fromkeys(job for job, _ in self.claims)),
            claims=tuple(claim for _, claim in self.claims),
            nodes=tuple(w.slurm_node(m, up=self.node_up(m)) for m in self.machines),
        )
        rdma.says = Snapshot(at, ports=tuple(self._ports(at)), complete=self.complete)
        dcgm.says = Snapshot(at, samples=tuple(self._samples(at)))
        assert self._collector is not None
        self._collector.poll_all()
        self._collector.join()
        page = self._collector.page()
        assert page is not None
        for line in page.body().decode().splitlines():
            if not line.startswith("#") and (found := parse_plain(line, {})) is not None and found.name in _read():
                key = (found.name, tuple(sorted(found.labels.items())))
                self.series.setdefault(key, {})[self.now // STEP] = found.value
        self.series.setdefault(("up", (("instance", "mb:9811"), ("job", "meterbridge"))), {})[self.now // STEP] = 1.0

    def _ports(self, at: float) -> Iterator[PortSample]:
        for machine in self.machines:
            for device in self.devices:
                port = self.ports(machine, device)
                if port is not None:
                    counted = self._counted[machine, device]
                    reading = PortReading(PortOrigin.INFINIBAND, tuple(counted), tuple(counted.values()))
                    yield PortSample(port, (reading,), at, self.up(machine, device), 5e10)

    def _samples(self, at: float) -> Iterator[Sample]:
        for machine in self.machines:
            for sample in w.samples(machine, at, {}):
                values = self.cards_of(machine, sample.index) if self.cards_of else self.cards(machine)
                if values is not None:
                    yield replace(sample, values=values)

    def firing(self, every: int = 60, name: str = "") -> dict[int, list[Fired]]:
        """What fires at every so many seconds since the site began, of one alert or of all of them; in minutes."""
        first = BEGIN
        looks = list(range(first + every, self.now + 1, every))
        expression = f'ALERTS{{alertstate="firing"{f",alertname={name!r}" if name else ""}}}'.replace("'", '"')
        text = {
            "rule_files": [str(SHIPPED / f"{file}.yaml") for file in (_files(name) if name else FILES)],
            "evaluation_interval": f"{EVALUATION}s",
            "tests": [
                {
                    "interval": f"{STEP}s",
                    "input_series": [
                        {"series": _selector(key), "values": _values(values)} for key, values in self.series.items()
                    ],
                    "promql_expr_test": [
                        {"expr": expression, "eval_time": f"{at}s", "exp_samples": []} for at in looks
                    ],
                }
            ],
        }
        with tempfile.TemporaryDirectory(prefix="virtual-") as folder:
            path = Path(folder) / "story.yaml"
            path.write_text(yaml.dump(text, Dumper=yaml.CSafeDumper, width=10**9))
            done = promtool("test", "rules", str(path))
        said = done.stdout + done.stderr
        assert done.returncode == 0 or "got:" in said, said[:2000]
        found: dict[int, list[Fired]] = {}
        for at, got in re.findall(r"time: (\S+),\s+exp: nil\s+got: (.*)", said):
            minute = (_seconds(at) - first) // 60
            found[minute] = [_fired(row) for row in re.findall(r"ALERTS\{.*?\} 1E\+00|\{[^{}]*\} 1E\+00", got)]
        return found


def pages(told: Mapping[int, Sequence[Fired]]) -> set[tuple[str, ...]]:
    """The pages of a story: name of the alert, and the job and place it names. One that fires for long is one."""
    return {
        (f.name, *(f.labels[k] for k in ("job_id", "node", "device", "gpu") if k in f.labels))
        for fired in told.values()
        for f in fired
        if f.severity == "critical"
    }


def minutes(told: Mapping[int, Sequence[Fired]], name: str, severity: str = "critical") -> list[int]:
    """In which minutes of the story an alert fires."""
    return sorted(at for at, fired in told.items() if any((f.name, f.severity) == (name, severity) for f in fired))


def whole(number: int, *machines: str, account: str = "vision", milligpu: int = 8000) -> list[tuple[Job, Claim]]:
    """A job on whole machines (or a part of each)."""
    job = w.slurm_job(number, account)
    return [(job, w.slurm_claim(job, machine, milligpu)) for machine in machines]


@cache
def _read() -> frozenset[str]:
    """The families that the rules read: no other needs to be kept."""
    text = "".join((SHIPPED / f"{file}.yaml").read_text() for file in FILES)
    return frozenset(re.findall(r"\bmeterbridge_[a-z0-9_]+\b", text))


def _files(alert: str) -> tuple[str, ...]:
    """The rule files that one alert needs."""
    return "recording", next(f for f in FILES if f"alert: {alert}\n" in (SHIPPED / f"{f}.yaml").read_text())


def _selector(key: Series) -> str:
    name, labels = key
    return name + "{" + ",".join(f"{k}={yaml_string(v)}" for k, v in labels) + "}"


def yaml_string(value: str) -> str:
    """A label's value as PromQL writes it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _values(values: Mapping[int, float]) -> str:
    """Samples by round as promtool writes them; the first round without one is marked as gone, as a scrape does."""
    first, last = min(values), max(values)
    words: list[str] = [f"_x{first}"] if first else []
    gone = False
    for n in range(first, last + 1):
        if n in values:
            words.append(repr(float(values[n])).replace("inf", "Inf").replace("nan", "NaN"))
            gone = False
        else:
            words.append("_" if gone else "stale")
            gone = True
    words.append("stale")
    return " ".join(words)


def _seconds(text: str) -> int:
    found: dict[str, Any] = {unit: int(number) for number, unit in re.findall(r"(\d+)([dhms])", text)}
    return int(found.get("d", 0) * 86400 + found.get("h", 0) * 3600 + found.get("m", 0) * 60 + found.get("s", 0))


def _fired(row: str) -> Fired:
    labels = {k: v.encode().decode("unicode_escape") for k, v in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', row)}
    return Fired(labels["alertname"], labels["severity"], labels)
