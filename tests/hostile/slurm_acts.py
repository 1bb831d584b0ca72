"""What happens at the Slurm clusters of a hostile site, as values: ``ACTS`` draws them, `Site.act` does them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.hostile.site import Meter
from tests.hostile.slurm_said import Cluster, Run
from tests.hostile.truth import TICK, Truth

Act = tuple[Any, ...]


class SlurmSite:
    """Two clusters of one federation, with a node of one name in each, under a meter.

    ``blind`` are runs of which nobody can ever tell: they are in no record in the end.
    """

    def __init__(self, truth: Truth, meter: Meter) -> None:
        self.truth, self.meter = truth, meter

    @property
    def clusters(self) -> Sequence[Cluster]:
        return self.meter.clusters

    def act(self, name: str, *words: Any) -> None:
        """Do one."""
        getattr(self, name)(*words)

    # jobs

    def begin(self, which: int, number: int, wanted: dict[str, int], account: str) -> None:
        """A job begins, if there is room for it."""
        cluster = self.clusters[which]
        cluster.begin(number, {n: c for n, c in wanted.items() if n in cluster.nodes}, account)

    def brief(self, which: int, number: int, wanted: dict[str, int], account: str) -> None:
        """A job that perhaps no poll ever sees."""
        cluster = self.clusters[which]
        run = cluster.begin(number, {n: c for n, c in wanted.items() if n in cluster.nodes}, account)
        if run is not None:
            self.meter.wait(TICK // 3)
            cluster.end(run)

    def _pick(self, which: int, pick: int) -> tuple[Cluster, Run | None]:
        running = self.clusters[which].running()
        return self.clusters[which], running[pick % len(running)] if running else None

    def end(self, which: int, pick: int, state: str) -> None:
        cluster, run = self._pick(which, pick)
        if run is not None:
            cluster.end(run, state)

    def lose_end(self, which: int, pick: int) -> None:
        """The message of an end never reaches slurmdbd: a runaway."""
        cluster, run = self._pick(which, pick)
        if run is not None and run.told is not None:
            run.deaf = True
            cluster.end(run)

    def runaway(self, which: int, number: int, wanted: dict[str, int], account: str, before: int, after: int) -> None:
        """A job is seen or not, its end is lost, and the history is read."""
        cluster = self.clusters[which]
        run = cluster.begin(number, {n: c for n, c in wanted.items() if n in cluster.nodes}, account)
        if run is not None and run.told is not None:
            self.meter.wait(before)
            run.deaf = True
            cluster.end(run)
            self.meter.wait(after)
            self.day()

    def purged(self, which: int, number: int, wanted: dict[str, int], account: str, before: int, after: int) -> None:
        """A job is told, slurmdbd loses it, and it ends."""
        cluster = self.clusters[which]
        run = cluster.begin(number, {n: c for n, c in wanted.items() if n in cluster.nodes}, account)
        if run is not None and run.told is not None:
            self.meter.wait(before)
            self.read()
            run.lost, run.told = True, None
            self.meter.wait(after)
            cluster.end(run)
            self.meter.wait(TICK)
            self.day()

    def mend(self, which: int) -> None:
        """``sacctmgr show runawayjobs``, answered yes by somebody who knew when they ended."""
        for run in self.clusters[which].runs:
            run.deaf = False
        self.clusters[which].tell()

    def forget(self, which: int, pick: int) -> None:
        """slurmdbd loses a row (an old backup is put back, or somebody deletes it)."""
        told = [r for r in self.clusters[which].runs if r.told is not None]
        some = [r for r in told if r.end is None] or told
        if some:
            run = some[pick % len(some)]
            run.lost, run.told = True, None

    # nodes

    def drain_or_resume(self, which: int, node: str) -> None:
        cluster = self.clusters[which]
        if node in cluster.nodes:
            cluster.resume(node) if node in cluster.down else cluster.drain(node, "bad fan")

    def unsure(self, which: int) -> None:
        """A slurmctld that has just restarted: for seconds it knows no state of its nodes."""
        cluster = self.clusters[which]
        cluster.states |= dict.fromkeys(cluster.nodes, "UNKNOWN")
        self.meter.wait(TICK)
        cluster.states.clear()

    # what does not answer

    def mute(self, which: int, server: str) -> None:
        self.clusters[which].mute ^= {server}

    def behind(self, which: int) -> None:
        """What slurmctld tells slurmdbd waits, or arrives."""
        cluster = self.clusters[which]
        cluster.behind = not cluster.behind
        cluster.tell()

    # the meter

    def wait(self, seconds: int) -> None:
        self.meter.wait(seconds)

    def leave(self, ticks: int) -> None:
        """The exporter is down for a while, and begins again."""
        self.meter.leave(TICK * ticks)
        self.meter.restart()
        self.meter.round()

    def day(self) -> None:
        """What the service does: read, and book."""
        self.read()
        self.book()

    def read(self) -> None:
        self.meter.ingest()

    def read_all(self) -> None:
        """Everything is read once more, as ``settle`` does, or ``ingest --since``."""
        self.meter.ingest(since=self.meter.books.start)

    def book(self) -> None:
        self.meter.books.reconcile(self.truth.now)


def _of(name: str, *words: st.SearchStrategy[Any]) -> st.SearchStrategy[Act]:
    return st.tuples(st.just(name), *words)


_which = st.sampled_from([0, 0, 1])
_number = st.integers(1, 4)
_pick = st.integers(0, 5)
_account = st.sampled_from(["vision", "nlp"])
_wanted = st.sampled_from(
    [{"s1": 1}, {"s1": 2}, {"s2": 4}, {"s1": 2, "s2": 1}, {"s1": 1, "s2": 3}, {"s1": 4, "s2": 2}, {"s3": 1}]
)
_while = st.integers(1, 3 * TICK)
_seconds = st.integers(1, TICK)
_states = st.sampled_from(["COMPLETED", "FAILED", "CANCELLED by 0", "TIMEOUT", "NODE_FAIL"])

ACTS: st.SearchStrategy[Act] = st.one_of(
    _of("begin", _which, _number, _wanted, _account),
    _of("begin", _which, _number, _wanted, _account),
    _of("begin", _which, _number, _wanted, _account),
    _of("runaway", _which, _number, _wanted, _account, _while, _while),
    _of("purged", _which, _number, _wanted, _account, _while, _while),
    _of("brief", _which, _number, _wanted, _account),
    _of("end", _which, _pick, _states),
    _of("end", _which, _pick, _states),
    _of("lose_end", _which, _pick),
    _of("mend", _which),
    _of("forget", _which, _pick),
    _of("drain_or_resume", _which, st.sampled_from(["s1", "s2"])),
    _of("unsure", _which),
    _of("mute", _which, st.sampled_from(["slurmctld", "slurmdbd"])),
    _of("behind", _which),
    _of("wait", _seconds),
    _of("wait", _seconds),
    _of("wait", st.integers(TICK, 15 * TICK)),
    _of("leave", st.integers(1, 20)),
    _of("read"),
    _of("day"),
    _of("day"),
)
