"""What every source of one Slurm site has in common, and a site with all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from exporters.model import NodeEvent, Record, Reject, Snapshot
from exporters.sources.slurm.history.sacct import Sacct
from exporters.sources.slurm.history.slurmdbd import Slurmdbd
from exporters.sources.slurm.live.slurmctld import Slurmctld
from exporters.sources.slurm.rest.rest_http import RestClient
from exporters.sources.slurm.rest.slurmrestd import Slurmrestd, SlurmrestdHistory
from tests.lab.jobs import Story
from tests.lab.slurm_rest import SlurmRest

HISTORIES = ("sacct", "slurmrestd by socket", "slurmrestd by token", "slurmdbd")
LIVES = ("json", "text", "slurmrestd by socket", "slurmrestd by token")


@dataclass(frozen=True)
class Site:
    """A cluster on which one job of every kind has run, and what listens there."""

    story: Story
    rest: SlurmRest
    token_file: Path

    def client(self, way: str) -> RestClient:
        """``... by socket`` or ``... by token``."""
        if way.endswith("socket"):
            return RestClient(self.rest.socket)
        return RestClient(self.rest.url, token_file=self.token_file)

    @property
    def database(self) -> str:
        """The address of slurmdbd's database."""
        database = self.story.lab.database
        return f"mariadb+pymysql://{database.user}:{database.password}@127.0.0.1:{database.port}/{database.database}"

    def history(self, way: str, step: int = 86_400, identity: str = "auto") -> Sacct | SlurmrestdHistory | Slurmdbd:
        """A history source; ``way`` is one of `HISTORIES`."""
        lab = self.story.lab
        if way == "sacct":
            sacct, sacctmgr = lab.command("sacct"), lab.command("sacctmgr")
            return Sacct(lab.cluster, sacct, lab.environment, sacctmgr=sacctmgr, step=step, identity=identity)
        if way == "slurmdbd":
            return Slurmdbd(lab.cluster, self.database, step=step, identity=identity)
        return SlurmrestdHistory(lab.cluster, self.client(way), step=step, identity=identity)

    def live(self, way: str, identity: str = "auto") -> Slurmctld | Slurmrestd:
        """A live source; ``way`` is one of `LIVES`."""
        lab = self.story.lab
        if way in {"json", "text"}:
            commands = lab.command("scontrol"), lab.command("squeue")
            return Slurmctld(lab.cluster, *commands, lab.environment, form=way, identity=identity)
        return Slurmrestd(lab.cluster, self.client(way), identity=identity)

    def records(self, way: str, step: int = 86_400, identity: str = "auto") -> dict[str, Record]:
        """Every record of the story by its key, without who told it and in which words. Rejects fail."""
        source = self.history(way, step, identity)
        found: dict[str, Record] = {}
        for item in source.records(self.story.start, self.story.end):
            assert not isinstance(item, Reject), item.reason
            assert str(item.job.key) not in found, f"{item.job.key} told twice"

            found[str(item.job.key)] = replace(item, raw="", source="")
        source.close()
        return found

    def events(self, way: str) -> list[NodeEvent | Reject]:
        """When nodes were away, in an order of their own."""
        return sorted(self.history(way).events(self.story.start, self.story.end), key=repr)

    def snapshot(self, way: str) -> Snapshot:
        """What runs now."""
        return self.live(way).poll(time.time())


def drained(site: Site, look: Callable[[], None]) -> None:
    """Look while ``cn01`` is drained with a reason and a comment of Slinky's operator."""
    run = site.story.lab.run
    comment = '{"podName":"worker-0","node":"k8s-7"}'
    run("scontrol", "update", "nodename=cn01", "state=drain", "reason=bad | fan", f"comment={comment}")
    try:
        look()
    finally:
        run("scontrol", "update", "nodename=cn01", "state=resume", "comment=")


@contextmanager
def opened(story: Story, folder: Path) -> Iterator[Site]:
    """Start what the other sources read."""
    with SlurmRest(story.lab) as rest:
        token_file = folder / "token"
        token_file.write_text(rest.token("alice"))
        yield Site(story, rest, token_file)


def nouns(snapshot: Snapshot) -> dict[str, list[str]]:
    """A snapshot's nouns in an order of their own."""
    kinds = ("jobs", "claims", "demands", "nodes", "rejects")
    return {kind: sorted(repr(item) for item in getattr(snapshot, kind)) for kind in kinds}
