"""The truth of a real Slurm, as slurmctld itself and whoever submitted the jobs know it, and a meter beside it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from click.testing import CliRunner
from sqlalchemy import Engine, func, select

from accounting.site import book
from accounting.store.database import read
from accounting.store.tables import node_days
from exporters import build
from exporters.config import Config, parse
from exporters.poll.registry import Collector
from meterbridge import main
from tests.hostile.truth import Truth, slurm_key
from tests.hostile.verdict import Books
from tests.lab.daemons import wait_for
from tests.lab.slurm import SlurmLab

ALICE = {"user": "alice", "account": "vision"}


@dataclass
class Meter:
    """A meter over some clusters, whose exporter is polled when a test says so."""

    folder: Path
    labs: Sequence[SlurmLab]
    more: dict[str, object] = field(default_factory=dict)
    opened: list[Engine] = field(default_factory=list)

    def __post_init__(self) -> None:
        now = time.time()
        self.start = int(now) - 1
        day = time.strftime("%Y-%m-%d", time.gmtime(now - 86_400))
        slurm = [
            {
                "cluster": lab.cluster,
                "environment": lab.environment,
                "live": {"interval": "1s"},
                "history": {"overlap": "1m", "since": day},
            }
            for lab in self.labs
        ]
        settings = {
            "site": "lab",
            "slurm": slurm,
            "ledger": {"url": f"sqlite:///{self.folder}/ledger.db", "gap": "10m"},
            "web": {"listen": "127.0.0.1:0"},
            "rates": {"currency": "CHF", "default": "1.00"},
        } | self.more
        self.settings = self.folder / "meterbridge.yaml"
        self.settings.write_text(yaml.safe_dump(settings))
        self.config: Config = parse(self.settings.read_text())
        self.collector: Collector = build.collector(self.config, book.recorder(self.config))

    def round(self) -> None:
        """One poll of every source."""
        self.collector.poll_all()
        self.collector.join()

    def command(self, *words: str, code: int = 0) -> str:
        """Run the command as an operator would; its output."""
        done = CliRunner().invoke(main, [words[0], "--config", str(self.settings), *words[1:]])
        assert code == done.exit_code, done.output
        return done.output

    def books(self, truth: Truth) -> Books:
        """What was read and reconciled, up to now."""
        self.command("ingest")
        self.command("reconcile")
        engine = book.ledger(self.config)
        self.opened.append(engine)
        with read(engine) as connection:
            truth.now = connection.execute(select(func.max(node_days.c.end_at))).scalar_one()
        return Books(engine, self.start // 86_400 * 86_400, [lab.cluster for lab in self.labs])

    def close(self) -> None:
        self.collector.stop()
        while self.opened:
            self.opened.pop().dispose()


def facts(lab: SlurmLab, job: str) -> dict[str, str]:
    """``scontrol show job`` of a job that slurmctld still remembers; times in epoch seconds."""
    printed = lab.run("scontrol", "-o", "show", "job", job, environment={"SLURM_TIME_FORMAT": "%s"})
    return dict(re.findall(r"(\w+)=(\S*)", printed))


def hands(lab: SlurmLab, job: str) -> dict[str, tuple[int, ...]]:
    """The cards of a running job on each node, as slurmctld has given them."""
    found: dict[str, tuple[int, ...]] = {}
    printed = lab.run("scontrol", "-d", "show", "job", job)
    for nodes, indices in re.findall(r"Nodes=(\S+) .*GRES=\S*\(IDX:([\d,-]+)\)", printed):
        for node in lab.run("scontrol", "show", "hostnames", nodes).split():
            ends = [part.partition("-")[::2] for part in indices.split(",")]
            found[node] = tuple(n for a, b in ends for n in range(int(a), int(b or a) + 1))
    return found


def learn(truth: Truth, lab: SlurmLab, jobs: dict[str, dict[str, tuple[int, ...]]]) -> None:
    """Take over jobs that have ended: their times from slurmctld, and their cards on each node."""
    for job, nodes in jobs.items():
        told = facts(lab, job)
        key = slurm_key(lab.cluster, int(job), int(told["SubmitTime"]))
        for node, cards in nodes.items():
            truth.take(key, node, cards, int(told["StartTime"])).end = int(told["EndTime"])
        truth.known.add(key)
        truth.shown.add(key)


def ended(lab: SlurmLab, job: str) -> None:
    """Wait until slurmctld has ended a job."""
    wait_for(lambda: facts(lab, job)["JobState"] not in {"RUNNING", "PENDING", "COMPLETING"}, 90, f"end of {job}")
