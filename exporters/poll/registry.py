"""The registry: has each source polled on its own clock (`exporters.poll.poller`), joins what they last said, and
serves it.

A scrape never reaches a source: it gets the page of the last join. One source that fails, hangs or lies never breaks
the others: its last good data stays, marked stale, and what it alone could have proved becomes `unknown`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeVar

from exporters.exposition.page import Page
from exporters.exposition.writer import Writer
from exporters.join.attribution import Memory, attribute, host_names
from exporters.join.holdings import holdings
from exporters.join.links import FOREVER
from exporters.join.machines import Rule, machines_of
from exporters.join.projects import ProjectMap
from exporters.join.samples import about_strays
from exporters.join.shard import WHOLE, Shard
from exporters.join.site_picture import Reading
from exporters.meters.fabric_meter import FabricMeter
from exporters.meters.meter import Meter
from exporters.meters.roster import Roster
from exporters.model import Claim, Job, JobKey, LinkKind, NodeKey, Snapshot
from exporters.poll.memory import tidy
from exporters.poll.poller import STALE_AFTER, Polled
from exporters.poll.recorder_queue import Handover
from exporters.recorder import Forget, Later, Recorder
from exporters.series import families
from exporters.series.job_names import JobNames
from exporters.series.view import View
from exporters.sources.base import Source
from exporters.stages import Stages
from exporters.status import SourceStatus, Target

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 3.0
"""Seconds that a source or the ledger may take to end: with the listener's, less than the ten that a service has."""


@dataclass(frozen=True)
class JoinSettings:
    """What a join depends on besides what sources say; the fields are those of `exporters.config.Config`."""

    projects: ProjectMap
    models: Mapping[str, str] = field(default_factory=dict)
    match: Rule = "short_name"
    machine_names: Mapping[str, str] = field(default_factory=dict)
    grace: int = 120
    interval: float = 15.0
    linger: float = 300.0
    lossless_priorities: tuple[int, ...] = ()
    max_jobs: int = 50_000
    shard: Shard = WHOLE
    slurm_clusters: tuple[str, ...] = ()


class Collector:
    """All sources of one exporter, joined. Thread-safe: every source polls in its own thread, joins take turns.

    ``clock`` gives now in epoch seconds; the demo and the tests drive it. Use `start`/`stop` for a running exporter, or
    `poll_all` and `join` for one round at a time.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        settings: JoinSettings,
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.recorder = recorder or Forget()
        self.clock = clock
        self._lock = threading.Lock()
        self._polled = [Polled(s, self._lock) for s in sources]
        names = [(p.source.name, p.source.cluster) for p in self._polled]
        if len(set(names)) != len(names):
            raise ValueError(f"two sources share a name: {sorted(names)}")
        device_interval = max([p.source.interval for p in self._polled if p.source.scheduler is None], default=15.0)
        gap = STALE_AFTER * device_interval
        self.meter = Meter(gap=gap, linger=settings.linger)
        self.fabric = FabricMeter(gap, math.ceil(gap / settings.interval), settings.lossless_priorities)
        self.roster = Roster(settings.max_jobs)
        self.stages = Stages()
        self._memory = Memory()
        self._names = JobNames()
        self._writer = Writer()
        self._page: Page | None = None
        self._view: View | None = None
        self._jobs: dict[JobKey, Job] = {}
        self._projects: dict[JobKey, str] = {}
        self._hosts: dict[str, str] = {}
        if not settings.shard.alone:
            for p in self._polled:
                p.source.leave_out(self._elsewhere)
        self._lenders: dict[tuple[str, str], Claim] = {}
        self._handover = Handover(self.recorder, self._polled, first=settings.shard.first)
        self._said: set[str] = set()
        self._joins = 0
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    # -- one round ------------------------------------------------------------------------------------------------

    def poll_all(self) -> list[SourceStatus]:
        """Poll every source once, in turn; their status afterwards."""
        for polled in self._polled:
            polled.poll(self.clock())
        return self.statuses()

    def statuses(self) -> list[SourceStatus]:
        """How every source is doing."""
        return [p.status() for p in self._polled]

    def targets(self) -> list[tuple[str, Sequence[Target]]]:
        """How every endpoint of every source that reads many is doing, by the source's name."""
        many = [(p.source.name, p.source.targets()) for p in self._polled]
        return [(name, targets) for name, targets in many if targets is not None]

    def join(self) -> View:
        """Join the last good data of all sources, write the page, and hand the round to the recorder."""
        began = time.perf_counter()
        now = self.clock()
        with self._lock:
            with self.stages.timed("join"):
                view = self._joined(now)
                telemetry = self.meter.step(view.picture, view.projects, self.roster.folded)
                self.roster.step(_shown(view))
                fabric = self.fabric.step(view.picture, view.projects, self.meter.jobs)
            view = replace(
                view,
                fabric=fabric,
                join_seconds=time.perf_counter() - began,
                recorder_pending=self._handover.waiting,
                recorder_last=self._handover.last,
                folded=self.roster.folded,
                stages=self.stages.plus(s for p in self._polled if (s := p.source.stages) is not None),
            )
            with self.stages.timed("write"):
                page = Page(self._writer.render(families(view)), self.stages)
            self.stages.add("write", 0.0, page.size)
            self._page = page
            self._view = view
            self._handover.add(now, Later(lambda: holdings(view.picture)), telemetry)
        self._handover.offer(now)  # outside the lock: a slow ledger delays no poll and no page
        return view

    def _joined(self, now: float) -> View:
        polled = [(p, p.snapshot) for p in self._polled if p.snapshot is not None]
        readings = [
            Reading(
                p.source.scheduler,
                p.source.cluster,
                p.fresh(now),
                s.jobs,
                s.claims,
                s.nodes,
                s.demands,
                s.samples if p.fresh(now) else (),
                s.ports if p.fresh(now) else (),
            )
            for p, s in polled
        ]
        machines = machines_of(
            [n for r in readings for n in r.nodes],
            [*self._remember_lenders(readings, polled)],
            rule=self.settings.match,
            names=self.settings.machine_names,
            clusters=self.settings.slurm_clusters,
        )
        if not self.settings.shard.alone:
            self._hosts = host_names([n for r in readings for n in r.nodes], machines)
        picture = attribute(
            readings,
            machines,
            self.settings.models,
            grace=self.settings.grace,
            now=now,
            memory=self._memory,
            shard=self.settings.shard,
        )
        strays = about_strays(picture.strays)
        said, self._said = self._said, {*machines.problems, *strays}
        for problem in self._said - said:
            log.warning("machines: %s", problem)
        projects = self.settings.projects.projects(picture.jobs, now)
        for h in chain(picture.shown, picture.held):  # jobs that their source no longer describes, or never did
            if h.claim.job not in projects:
                job = self._jobs.get(h.claim.job) or _nameless(h.claim)
                projects[h.claim.job] = self.settings.projects.project(job, now)
        for h in chain(picture.shown, picture.held):  # the remainder of an external job is its pods' project's
            if h.link and h.outer and h.link.kind is LinkKind.SAME:
                projects[h.outer.job] = projects[h.claim.job]
        self._jobs = self._with_shown(self._jobs, picture.jobs)
        self._projects = self._with_shown(self._projects, projects)
        return View(picture, self._jobs, self._projects, self.meter, self._statuses(strays), names=self._names)

    def _statuses(self, strays: Sequence[str]) -> tuple[SourceStatus, ...]:
        """How every source is doing; one that reads devices of unknown machines is not complete."""
        seen = [p.snapshot.samples if strays and p.snapshot is not None else () for p in self._polled]
        return tuple(
            replace(s, complete=False, problems=(*s.problems, *strays)) if any(one.values for one in samples) else s
            for s, samples in zip(self.statuses(), seen, strict=True)
        )

    def _with_shown(self, last: Mapping[JobKey, T], now: Mapping[JobKey, T]) -> dict[JobKey, T]:
        """What is known now, and the last of the jobs that are gone and still shown: it stays what it was."""
        found = {**last, **now}
        if len(found) > len(now):
            for key in set(last).difference(now, self.meter.jobs):
                del found[key]
        return found

    def _elsewhere(self, host: str) -> bool:
        """Whether a host is a machine that is known, and another shard's: its endpoints need not be read here."""
        machine = self._hosts.get(host.lower())
        return machine is not None and not self.settings.shard.owns(machine)

    def _remember_lenders(self, readings: Sequence[Reading], polled: Sequence[tuple[Polled, Snapshot]]) -> list[Claim]:
        """NodeSet pods seen so far, the latest of each Slurm node: its node is resolved by it even after it is gone."""
        claims = [c for r in readings for c in r.claims] + [c for _, s in polled for c in s.ended]
        for claim in sorted(
            (c for c in claims if c.keys), key=lambda c: (FOREVER if c.end is None else c.end, c.start)
        ):
            for key in claim.keys:
                if key.kind is LinkKind.LENDS:
                    self._lenders[key.cluster, key.value] = claim
        return list(self._lenders.values())

    # -- what is served -------------------------------------------------------------------------------------------

    def page(self) -> Page | None:
        """The page of the last join; None before the first."""
        return self._page

    def view(self) -> View | None:
        """The last join; None before the first."""
        return self._view

    def nodes(self) -> list[NodeKey]:
        """Every node that a source told of lately, as its own scheduler names it."""
        with self._lock:
            return sorted({n.key for p in self._polled if p.snapshot is not None for n in p.snapshot.nodes})

    def ready(self) -> bool:
        """True once every source was read at least once and joined: before that, a missing job proves nothing."""
        return self._view is not None and all(s.last_success > 0 for s in self._view.sources)

    # -- running --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Poll every source on its own clock and join on ours, until `stop`; record on a thread of its own."""
        self._handover.start()
        for p in self._polled:
            self._spawn(f"poll-{p.source.name}", p.source.interval, lambda p=p: p.poll(self.clock()))  # type: ignore[misc]
        self._spawn("join", self.settings.interval, self._round)

    def _round(self) -> None:
        self.join()
        self._joins += 1
        tidy(self._joins)

    def _spawn(self, name: str, interval: float, step: Callable[[], object]) -> None:
        def loop() -> None:
            due = time.monotonic()
            while not self._stop.is_set():
                step()
                due = max(due + interval, time.monotonic())
                self._stop.wait(due - time.monotonic())

        thread = threading.Thread(target=loop, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """Stop polling, close the sources, flush the recorder. What hangs is left behind after `PATIENCE` seconds."""
        self._stop.set()
        for p in self._polled:
            p.source.close()
        until = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(timeout=max(0.0, until - time.monotonic()))
        self._handover.stop(PATIENCE)


def _shown(view: View) -> Iterator[JobKey]:
    """The jobs that series name: those with cards first, then those that lately had some, then those that wait."""
    picture = view.picture
    yield from (h.claim.job for h in picture.held)
    yield from (h.claim.job for h in picture.shown)
    yield from view.meter.jobs
    yield from (claim.job for _, claim in picture.unplaced)
    yield from (d.job for d in picture.demands)


def _nameless(claim: Claim) -> Job:
    """A stand-in for a job that no source described."""
    return Job(claim.job, claim.native_id, claim.native_id, "", "", "", "")
