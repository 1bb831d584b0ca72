"""What the rows of the metric table are computed from, and how: one function per kind of row.

Each takes a `View`, the last join with the registry's own state, and yields ``(label values, value)``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, repeat

from exporters.exposition.family import Columns, Row
from exporters.join.projects import UNMAPPED
from exporters.join.site_picture import CardUse, Picture
from exporters.meters.fabric_state import Fabric
from exporters.meters.meter import Meter
from exporters.meters.use import Floats, Truths
from exporters.model import MILLI_PER_GPU, Disposition, Job, JobKey
from exporters.series.job_names import JobNames
from exporters.stages import Stages
from exporters.status import SourceStatus

Rows = Callable[["View"], Iterable[Row]]


@dataclass(frozen=True)
class View:
    """Everything that a row may be computed from."""

    picture: Picture
    jobs: Mapping[JobKey, Job]
    projects: Mapping[JobKey, str]
    meter: Meter
    sources: tuple[SourceStatus, ...]
    join_seconds: float = 0.0
    recorder_pending: int = 0
    recorder_last: float = 0.0
    fabric: Fabric = field(default_factory=Fabric)
    folded: frozenset[JobKey] = frozenset()
    stages: Stages = field(default_factory=Stages)
    names: JobNames = field(default_factory=JobNames)

    def project(self, job: JobKey) -> str:
        """The project that pays for a job."""
        return self.projects.get(job, UNMAPPED)


def _gpus(milligpu: int) -> float:
    return milligpu / MILLI_PER_GPU


def card_name(use: CardUse) -> tuple[str, str, str]:
    """The labels of a card: its machine, its index as far as it is known, its UUID."""
    s = use.sample
    return (use.machine, str(s.index) if s.index >= 0 else "", s.uuid)


def columns(labels: Sequence[tuple[str, ...]], values: Floats, told: Truths) -> Columns:
    """Rows in the order of ``labels``, of those that are told."""
    if told.all():
        return Columns(labels, values.tolist())
    return Columns(list(compress(labels, told.tolist())), values[told].tolist())


def by_job(view: View, values: Mapping[JobKey, float]) -> Iterable[Row]:
    """A number of each of some jobs. Where all of them hold cards, their labels are the very ones of other rows."""
    keys = view.meter.holding()
    found = [value for value in map(values.get, keys) if value is not None]
    return Columns(keys, found) if len(found) == len(keys) == len(values) else list(values.items())


def submitted(view: View) -> Iterable[Row]:
    """When each job that is shown was submitted, where its source says so."""
    return [(key, float(job.submit)) for key, job in view.jobs.items() if job.submit is not None]


def started(view: View) -> Iterable[Row]:
    """When each job that is shown started."""
    return [(key, float(job.start)) for key, job in view.jobs.items() if job.start is not None]


def limits(view: View) -> Iterable[Row]:
    """How long each job that is shown may run, where it has a limit."""
    return [(key, float(job.limit)) for key, job in view.jobs.items() if job.limit is not None]


def held_by_job(view: View) -> Iterable[Row]:
    """Cards counted on each job, per GPU model."""
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for h in view.picture.held:
        if h.disposition is Disposition.CHARGED:
            sums[*h.claim.job, h.model] += h.milligpu
    labels = sorted(sums)
    return Columns(labels, [_gpus(sums[one]) for one in labels])


def held_by_project(view: View) -> Iterable[Row]:
    """Cards counted on each project, per GPU model."""
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for h in view.picture.held:
        if h.disposition is Disposition.CHARGED:
            key = h.claim.job
            sums[view.project(key), key.scheduler, key.cluster, h.model] += h.milligpu
    return [(labels, _gpus(v)) for labels, v in sums.items()]


def shown(view: View) -> Iterable[Row]:
    """Cards that a linked job uses and another job is counted for."""
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for h in view.picture.shown:
        if h.outer is not None and h.link is not None:
            outer = h.outer.job
            sums[*h.claim.job, h.link.kind.value, *outer] += h.claim.milligpu
    return [(labels, _gpus(v)) for labels, v in sums.items()]


def cards(view: View) -> Iterable[Row]:
    """Which card is in whose hands."""
    rows = view.picture.card_rows
    return Columns(rows, [1.0] * len(rows))


def fleet(view: View) -> Iterable[Row]:
    """Cards of the fleet by model and disposition; every disposition always has a row."""
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for (_, model, disposition), milligpu in view.picture.node_rows:
        sums[model, disposition] += milligpu
    return [(labels, _gpus(v)) for labels, v in sums.items()]


def nodes(view: View) -> Iterable[Row]:
    """Cards of each machine by model and disposition."""
    rows = view.picture.node_rows
    return Columns([labels for labels, _ in rows], [_gpus(v) for _, v in rows])


def fleet_capacity(view: View) -> Iterable[Row]:
    """Cards of the fleet by model."""
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for (_, model), milligpu in view.picture.capacity.items():
        sums[(model,)] += milligpu
    return [(labels, _gpus(v)) for labels, v in sums.items()]


def pending(view: View) -> Iterable[Row]:
    """Cards that waiting jobs ask for, per scheduler."""
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for s in view.sources:  # a scheduler with nothing waiting says 0, not nothing
        if s.scheduler is not None:
            sums[s.scheduler, s.cluster] += 0
    for d in view.picture.demands:
        sums[d.job.scheduler, d.job.cluster] += d.milligpu
    return [(labels, _gpus(v)) for labels, v in sums.items()]


def disputed(view: View) -> Iterable[Row]:
    """Cards in dispute on each job, with the opponent."""
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for h in view.picture.held:
        if h.disposition is Disposition.DISPUTED:
            sums[(*h.claim.job, str(h.opponent.job) if h.opponent else "")] += h.milligpu
    return [(labels, _gpus(v)) for labels, v in sums.items()]


def job_info(view: View) -> Iterable[Row]:
    """What is known of each job besides numbers."""
    picture, jobs = view.picture, view.meter.jobs
    keys = jobs.in_order().keys
    seen = chain((h.claim.job for h in picture.held), (h.claim.job for h in picture.shown))
    others = {key for key in chain(seen, (d.job for d in picture.demands)) if key not in jobs}
    if others:
        keys = sorted([*keys, *others])
    rows = view.names.rows(keys, map(view.jobs.get, keys), map(view.projects.get, keys, repeat(UNMAPPED)))
    return Columns(rows, [1.0] * len(rows))


def final(view: View) -> Iterable[Row]:
    """The jobs whose totals stay as they are."""
    jobs = view.meter.final()
    return Columns(jobs, [1.0] * len(jobs))


def folded(view: View) -> Iterable[Row]:
    """Jobs without series of their own, by scheduler and cluster; each scheduler always has a row."""
    counts: dict[tuple[str, ...], int] = {(s.scheduler, s.cluster): 0 for s in view.sources if s.scheduler is not None}
    for key in view.folded:
        place = (key.scheduler, key.cluster)
        counts[place] = counts.get(place, 0) + 1
    return [(labels, float(count)) for labels, count in counts.items()]


def stage_seconds(view: View) -> Iterable[Row]:
    """CPU seconds of each stage of a round."""
    return [((stage,), seconds) for stage, seconds in view.stages.seconds.items()]


def stage_bytes(view: View) -> Iterable[Row]:
    """Bytes of each stage of a round."""
    return [((stage,), float(count)) for stage, count in view.stages.bytes.items()]


def job_uses(name: str) -> Rows:
    """The counter ``name`` (a field of `Use`) of each job; telemetry only of jobs that some reading told it of."""

    def rows(view: View) -> Iterable[Row]:
        jobs = view.meter.jobs.in_order()
        values, told = view.meter.jobs.column(jobs.rows, name)
        return columns(jobs.keys, values, told)

    return rows


def project_uses(name: str) -> Rows:
    """The counter ``name`` (a field of `Use`) of each project; telemetry only where some reading told it."""

    def rows(view: View) -> Iterable[Row]:
        keys = list(view.meter.projects)
        values, told = view.meter.projects.column(view.meter.projects.rows(keys), name)
        return [
            ((project, scheduler, cluster), value)
            for (scheduler, cluster, project), value, one in zip(keys, values.tolist(), told.tolist(), strict=True)
            if one
        ]

    return rows


def project_memory(view: View) -> Iterable[Row]:
    """GPU memory in use per project."""
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for key, used in view.meter.memory.items():
        sums[view.project(key), key.scheduler, key.cluster] += used
    return list(sums.items())


def source(pick: Callable[[SourceStatus], float]) -> Callable[[View], Iterable[Row]]:
    """A number of each source's status."""
    return lambda view: [((s.name, s.cluster), float(pick(s))) for s in view.sources]


def memory_by_job(view: View) -> Iterable[Row]:
    """GPU memory in use per job."""
    return by_job(view, view.meter.memory)


def orphaned(view: View) -> Iterable[Row]:
    """Cards that a job holds and its own pods leave unused."""
    return [(key, _gpus(milligpu)) for key, milligpu in view.picture.orphaned.items()]


def unplaced(view: View) -> Iterable[Row]:
    """Cards claimed on machines of which no capacity is known."""
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for machine, claim in view.picture.unplaced:
        sums[*claim.job, machine] += claim.milligpu
    return [(labels, _gpus(v)) for labels, v in sums.items()]


def devices(view: View) -> Iterable[Row]:
    """Devices read in the last round, by whether an owner is known."""
    owned = sum(1 for c in view.picture.cards if c.shares)
    return [(("true",), float(owned)), (("false",), float(len(view.picture.cards) - owned))]


def source_targets(view: View) -> Iterable[Row]:
    """Endpoints of each source that reads many, by whether the last round read them."""
    for s in view.sources:
        if s.targets is not None:
            for state, count in zip(("read", "failed"), s.targets, strict=True):
                yield ((s.name, s.cluster, state), float(count))


def unmetered(view: View) -> Iterable[Row]:
    """Devices of each source that have no rule."""
    return [((s.name, s.cluster, name), float(n)) for s in view.sources for name, n in sorted(s.unmetered.items())]


def source_age(view: View) -> Iterable[Row]:
    """Age of each source's data at the join."""
    return [
        ((s.name, s.cluster), view.picture.at - s.last_success if s.last_success else float("inf"))
        for s in view.sources
    ]
