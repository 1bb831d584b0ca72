"""October on one machine of eight cards, with one dispute in it, and the front door's commands at any time.

Run 1 holds six cards from 01:00 to 03:00, pod a four from 02:00 to 04:00: two cards for an hour are in dispute.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

from click.testing import CliRunner, Result
from sqlalchemy import Engine

from accounting.intake.history import ingest_history
from accounting.store.calendar import period_named
from exporters.config import Config, parse
from exporters.model import Claim, Record
from meterbridge import main
from tests.accounting.readings import live
from tests.accounting.site import DAY, T0, History, ended, gn, kn, node, pod, pod_job

HOUR = 3600
NOVEMBER = period_named("2026-11").start
SETTLED = NOVEMBER + 2 * DAY
"""When October may be closed."""

SETTINGS = """
slurm: [{{cluster: lab, live: {{enabled: false}}}}]
kubernetes: [{{cluster: kube}}]
projects: [{{project: vision, accounts: [vision], namespaces: [vision]}}]
ledger: {{url: "{url}"}}
rates: {{currency: EUR, gpu_hour: {{h100: {price}}}}}
"""


def run_1(cards: int = 6, note: str = "", end: int = T0 + 3 * HOUR) -> Record:
    return ended(1, T0 + HOUR, end, cards=cards, note=note)


def told(engine: Engine, *rows: Record, now: int = SETTLED) -> None:
    """What Slurm's history says, read as far back as need be."""
    ingest_history(engine, History(rows), now=now, start=T0, overlap=90 * DAY, step=90 * DAY)


def seen(engine: Engine, until: int = SETTLED, pods: Sequence[Claim] | None = None) -> None:
    """What the live side saw: the machine all the time, and pod a."""
    nodes = [node(gn(1)), node(kn(1))]
    there = [pod("a", 1, T0 + 2 * HOUR, T0 + 4 * HOUR, 4)] if pods is None else list(pods)
    jobs = [pod_job("a")]
    begun = [replace(p, end=None) for p in there]
    live(engine, T0, nodes=nodes, jobs=jobs, gap=90 * DAY)
    live(engine, T0 + 3 * HOUR, nodes=nodes, claims=begun, jobs=jobs, gap=90 * DAY)
    live(engine, until, nodes=nodes, gone=there, jobs=jobs, gap=90 * DAY)


@dataclass
class Site:
    """A ledger with settings, and its front door. ``now`` is what the commands take for the time."""

    engine: Engine
    folder: Path
    price: str = "2.10"
    now: int = SETTLED
    extra: str = field(default="")

    @property
    def text(self) -> str:
        """The settings."""
        url = self.engine.url.render_as_string(hide_password=False)
        return SETTINGS.format(url=url, price=self.price) + self.extra

    def config(self) -> Config:
        """The settings as the code has them."""
        return parse(self.text)

    def run(self, *words: str, code: int = 0) -> str:
        """Type a command; its answer, or its error."""
        result = self.typed(*words, code=code)
        return result.output if code else result.stdout

    def typed(self, *words: str, code: int = 0) -> Result:
        """The same with all that it says."""
        path = self.folder / "meterbridge.yaml"
        path.write_text(self.text)
        with mock.patch("time.time", return_value=float(self.now)):
            result = CliRunner().invoke(main, [words[0], "--config", str(path), *words[1:]])
        assert code == result.exit_code, result.output
        return result

    def month(self, period: str) -> list[bytes]:
        """The bytes of a statement's three files."""
        self.run("statement", period, "--out", str(self.folder))
        return [
            (self.folder / f"chargeback-{period}{part}").read_bytes() for part in (".csv", "-summary.csv", "-notes.txt")
        ]

    def lines(self, period: str) -> list[dict[str, str]]:
        """The rows of its chargeback."""
        return list(csv.DictReader(self.month(period)[0].decode().splitlines()))


def october(engine: Engine, folder: Path) -> Site:
    """October as it is on the third of November, reconciled."""
    seen(engine)
    told(engine, run_1())
    site = Site(engine, folder)
    site.run("reconcile", "--period", "2026-10")
    return site
