"""A hostile site under a meter: its sources, the exporter's rounds, and the ledger that hears of them.

The sources, the join, the recorder, the intake and the books are those of production; only what they ask is a fake.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

from sqlalchemy import Engine

from accounting.intake.history import ingest_history
from accounting.intake.live.live_recorder import LedgerRecorder
from exporters.join.projects import ProjectMap
from exporters.poll.registry import Collector, JoinSettings
from exporters.sources.base import Source, SourceError
from exporters.sources.slurm import run_command
from exporters.sources.slurm.history.sacct import Sacct
from exporters.sources.slurm.live.slurmctld import Slurmctld
from tests.hostile.slurm_said import Cluster, Commands
from tests.hostile.truth import GAP, START, TICK, Truth
from tests.hostile.verdict import Books, faults

OVERLAP = 1800
"""``history.overlap``: what is later than that is late."""


class Meter:
    """What an operator has set up. ``out``: nothing of it runs at present."""

    def __init__(
        self, engine: Engine, truth: Truth, clusters: Sequence[Cluster], others: Sequence[Source] = ()
    ) -> None:
        self.engine, self.truth, self.clusters, self.others = engine, truth, clusters, list(others)
        self.commands = Commands(clusters)
        names = [c.name for c in clusters]
        self.books = Books(engine, START, names)
        self.settings = JoinSettings(ProjectMap.of(()), interval=TICK, slurm_clusters=tuple(names))
        self.collector = self._started()
        self.due = truth.now + TICK

    def wait(self, seconds: int) -> None:
        """Time passes, and the sources are polled whenever that is due."""
        until = self.truth.now + seconds
        while self.due <= until:
            self.truth.now = self.due
            self.round()
            self.due += TICK
        self.truth.now = until

    def leave(self, seconds: int) -> None:
        """Time passes while no exporter runs."""
        self.truth.now += seconds
        self.due = self.truth.now + TICK

    def _started(self) -> Collector:
        live = [
            Slurmctld(c.name, ("scontrol", c.name), ("squeue", c.name), interval=TICK, cluster_name=c.name)
            for c in self.clusters
        ]
        recorder = LedgerRecorder(self.engine, gap=GAP, clock=lambda: self.truth.now)
        return Collector([*live, *self.others], self.settings, recorder, clock=lambda: self.truth.now)

    def restart(self) -> None:
        """The exporter is another process from now on; what it had not written is gone."""
        self.collector = self._started()

    def round(self) -> None:
        """The sources are polled, and what they say is joined and recorded."""
        with self._asking():
            self.collector.poll_all()
            self.collector.join()

    def faults(self) -> list[str]:
        """What the books say and is not so."""
        self.truth.believed = {job for c in self.clusters for job in c.believed()}
        return faults(self.truth, self.books)

    def ingest(self, since: int | None = None) -> None:
        """Slurm's history is read; of a slurmdbd that does not answer, nothing is."""
        with self._asking():
            for c in self.clusters:
                source = Sacct(c.name, ("sacct", c.name), sacctmgr=("sacctmgr", c.name), cluster_name=c.name)
                try:
                    ingest_history(self.engine, source, now=self.truth.now, start=START, overlap=OVERLAP, since=since)
                    c.last_read = self.truth.now
                except SourceError:
                    if not c.mute and not c.behind and not any(r.lost or r.told is None for r in c.runs):
                        raise

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with mock.patch.object(run_command, "run", self.commands.run):
            yield
