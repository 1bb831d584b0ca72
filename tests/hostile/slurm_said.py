"""What the Slurm clusters of a hostile site do, and what sacct, squeue, scontrol and sacctmgr say of that.

The commands are fakes (those of `tests.field.slurm_commands`, called in this process), and speak for a slurmctld and a
slurmdbd that know different things: what slurmctld has not told slurmdbd yet, what it never will, and what slurmdbd has
lost. Every client shows the jobs of all clusters, whatever it is asked.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

from exporters.model import JobKey
from exporters.sources.base import SourceError
from tests.field import slurm_commands
from tests.hostile.truth import Held, Truth, slurm_key

CONFIG = "AccountingStorageTRES = cpu,mem,energy,node,billing,gres/gpu\nClusterName = {}\n"


@dataclass(eq=False)
class Run:
    """One run of a job. ``nodes`` maps each node to the indices of its cards.

    ``told`` is its row in slurmdbd; ``deaf``: slurmdbd never hears of its end.
    """

    number: int
    submit: int
    account: str
    nodes: dict[str, tuple[int, ...]]
    start: int
    held: list[Held] = field(default_factory=list)
    end: int | None = None
    state: str = "RUNNING"
    told: dict[str, Any] | None = None
    deaf: bool = False
    lost: bool = False
    end_read: bool = False

    @property
    def name(self) -> str:
        return f"{self.number}@{self.submit}"

    def row(self) -> dict[str, Any]:
        """As sacct tells it. Of several nodes it tells the sum alone."""
        cards = sum(map(len, self.nodes.values()))
        return {
            "JobIDRaw": str(self.number), "Submit": str(self.submit), "Start": str(self.start),
            "End": "Unknown" if self.end is None else str(self.end), "State": self.state,
            "AllocTRES": f"billing=1,cpu=8,gres/gpu:h100={cards},gres/gpu={cards},mem=8G,node={len(self.nodes)}",
            "NNodes": str(len(self.nodes)), "NodeList": ",".join(self.nodes), "Account": self.account,
        }  # fmt: skip

    def job(self, cluster: str, minors: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """As ``squeue --json`` tells it, which numbers cards by /dev/nvidiaN."""
        own = [[minors[n][c] for c in cards] if n in minors else cards for n, cards in self.nodes.items()]
        detail = [f"gpu:h100:{len(cards)}(IDX:{','.join(map(str, sorted(cards)))})" for cards in own]
        cards = sum(map(len, self.nodes.values()))
        return {
            "job_id": self.number, "job_state": ["RUNNING"], "submit_time": self.submit, "start_time": self.start,
            "nodes": ",".join(self.nodes), "node_count": len(self.nodes), "gres_detail": detail, "cluster": cluster,
            "tres_alloc_str": f"cpu=8,mem=8G,node={len(self.nodes)},billing=1,gres/gpu={cards}",
            "account": self.account,
        }  # fmt: skip


@dataclass
class Cluster:
    """One cluster. ``down``: node -> why and since when, as slurmctld and sacctmgr tell it.

    ``states`` are slurmctld's words for nodes that are not plainly there. ``mute`` says which servers do not answer,
    ``behind`` that slurmctld's words do not reach slurmdbd at present. ``minors`` are the numbers of a node's cards, in
    the order of NVML's, where they are others.
    """

    name: str
    truth: Truth
    nodes: dict[str, int]
    runs: list[Run] = field(default_factory=list)
    down: dict[str, tuple[int, str]] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    mute: set[str] = field(default_factory=set)
    behind: bool = False
    polls: list[int] = field(default_factory=list)
    last_read: int = 0
    minors: dict[str, Sequence[int]] = field(default_factory=dict)

    # what truly happens

    def key(self, run: Run) -> JobKey:
        return slurm_key(self.name, run.number, run.submit)

    def begin(self, number: int, wanted: Mapping[str, int], account: str) -> Run | None:
        """A job begins, if its cards are free. Numbers come again, as they do."""
        at = self.truth.now
        place = {node: self.truth.free(node, at)[:n] for node, n in wanted.items() if node not in self.states}
        if any(r.number == number and (r.end is None or r.end >= at) for r in self.runs):
            return None
        if not place or any(len(place.get(node, ())) < n or node in self.down for node, n in wanted.items()):
            return None
        run = Run(number, at - 1 - self.truth.next() % 50, account, {n: tuple(c) for n, c in place.items()}, at)
        if any(r.name == run.name for r in self.runs):
            return None
        run.held = [self.truth.take(self.key(run), node, cards, at) for node, cards in run.nodes.items()]
        self.runs.append(run)
        self.tell()
        return run

    def end(self, run: Run, state: str = "COMPLETED") -> None:
        """A job ends."""
        run.end, run.state = self.truth.now, state
        for h in run.held:
            h.end = run.end
        self.tell()

    def running(self) -> list[Run]:
        return [r for r in self.runs if r.end is None]

    def believed(self) -> set[JobKey]:
        """Runs that have ended, and nobody who was asked since could have known: slurmctld was not read in full and
        then slurmdbd, which has told no end.
        """
        found = set()
        for run in self.runs:
            if run.end is not None and not run.end_read:
                witness = next((at for at in self.polls if at > run.end), None)
                if witness is None or self.last_read < witness:
                    found.add(self.key(run))
        return found

    # what slurmdbd hears

    def tell(self) -> None:
        """What slurmctld knows goes to slurmdbd, unless it is behind."""
        if not self.behind:
            for run in self.runs:
                if not run.lost and not (run.deaf and run.told is not None and run.end is not None):
                    run.told = run.row()

    # what the clients print

    def rows(self) -> list[dict[str, Any]]:
        return [r.told for r in self.runs if r.told is not None]

    def queue(self) -> list[dict[str, Any]]:
        return [r.job(self.name, self.minors) for r in self.running()]

    def node_text(self) -> str:
        lines = []
        for name, cards in self.nodes.items():
            given = sum(len(r.nodes.get(name, ())) for r in self.running())
            state = self.states.get(name) or ("MIXED" if given else "IDLE") + ("+DRAIN" if name in self.down else "")
            reason = f" Reason={self.down[name][1]} [root@2026-10-31T00:00:00]" if name in self.down else ""
            tres = f"cpu=8,gres/gpu={given}" if given else ""
            lines.append(
                f"NodeName={name} Arch=x86_64 CPUTot=64 Gres=gpu:h100:{cards} NodeAddr={name} NodeHostName={name} "
                f"Version=24.05.2 State={state} AllocTRES={tres} Partitions=gpu{reason}\n"
            )
        return "".join(lines)

    def event_text(self) -> str:
        open_ = [self._event(node, since, "Unknown", why) for node, (since, why) in self.down.items()]
        return "".join([*self.events, *open_])

    def _event(self, node: str, since: int, end: str, why: str) -> str:
        state = "DRAIN" if why != "down" else "DOWN"
        return f"{node}|{since}|{end}|{state}|0|cpu=64,gres/gpu={self.nodes[node]}|{why}\n"

    def drain(self, node: str, why: str) -> None:
        self.down[node] = (self.truth.now, why)

    def resume(self, node: str) -> None:
        since, why = self.down.pop(node)
        if since < self.truth.now:
            self.events.append(self._event(node, since, str(self.truth.now), why))


class Commands:
    """The client commands of all clusters of the site, as `exporters.sources.slurm.run_command.run` runs them.

    ``words`` begin with the program and the cluster of its slurm.conf.
    """

    def __init__(self, clusters: Sequence[Cluster]) -> None:
        self.clusters = {c.name: c for c in clusters}

    def run(self, words: Sequence[str], **_: object) -> bytes:
        program, own, *rest = words
        asked = self.clusters[own]
        server = "slurmdbd" if program in {"sacct", "sacctmgr"} else "slurmctld"
        if server in asked.mute and "--helpformat" not in rest and "--version" not in rest:
            raise SourceError(f"{program}: error: {server} of {own} cannot be reached: Connection refused")
        if "--version" in rest:
            return b"slurm 24.05.2\n"
        call = _Call(self, own, [str(w) for w in rest])
        printed = io.StringIO()
        with redirect_stdout(printed):
            if program == "sacct":
                slurm_commands.sacct(call)
            elif program == "squeue":
                slurm_commands.squeue(call)
            elif program == "scontrol":
                print(asked.node_text() if "node" in rest else CONFIG.format(own), end="")
            else:
                print(asked.event_text(), end="")
        self._heard(asked, program, call, printed.getvalue())
        return printed.getvalue().encode()

    @staticmethod
    def _heard(asked: Cluster, program: str, call: _Call, printed: str) -> None:
        """Take note of what has been told."""
        truth, running = asked.truth, {asked.key(r) for r in asked.running()}
        if program == "squeue":
            truth.known |= running
            truth.shown |= running
            asked.polls.append(truth.now)
            truth.shows(asked.nodes)
        elif program == "sacct" and "--helpformat" not in call.words:
            fields, delimiter = call.option("--format").split(","), call.option("--delimiter")
            rows = [dict(zip(fields, line.split(delimiter), strict=True)) for line in printed.splitlines()]
            own = {f"{row['JobIDRaw']}@{row['Submit']}": row for row in rows if row["Cluster"] == asked.name}
            for run in asked.runs:
                if run.name in own:
                    truth.known.add(asked.key(run))
                    run.end_read = own[run.name]["End"].isdigit()


class _Call(slurm_commands.Call):
    """A call that is answered out of the site."""

    def __init__(self, commands: Commands, own: str, words: list[str]) -> None:
        self.commands, self.own, self.words = commands, own, words
        self.clusters = sorted(commands.clusters)

    def text(self, name: str, cluster: str = "") -> str:
        of = self.commands.clusters[cluster or self.own]
        return json.dumps(of.rows() if name == "jobs.json" else of.queue())
