"""slurmctld's present through pyslurm (the extra ``pyslurm``), where it is built for the very release of the site.

pyslurm is libslurm's structures in Python: under another release it reads other memory than it thinks. So it is asked
only when both releases are the same, and refuses with a sentence when they are not.

The present only: its reading of accounting keeps one run of each job id (25.11: ``db.Jobs.load`` asks for no
duplicates), and requeued runs held cards too.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from exporters.model import Node, Reject, Scheduler, Snapshot
from exporters.sources.base import Source, SourceError
from exporters.sources.slurm import run_command, runs
from exporters.sources.slurm.hostlist import expand, task_count
from exporters.sources.slurm.live import live_job, node_text, queue_json
from exporters.sources.slurm.live.backoff import Backoff
from exporters.sources.slurm.live.live_job import SOURCE, FormError, LiveJob

MEND = "Read this cluster through the commands or slurmrestd instead (slurm.live.via)"


class PySlurm(Source):
    """A live source. ``scontrol`` tells the site's release; ``library`` is the module, without it the installed one."""

    name = "slurmctld"  # what is read is the same, whoever carries it
    scheduler: Scheduler | None = Scheduler.SLURM

    def __init__(
        self,
        cluster: str,
        scontrol: Sequence[str] = ("scontrol",),
        environment: Mapping[str, str] | None = None,
        interval: float = 15.0,
        timeout: float = 30.0,
        *,
        identity: str = "auto",
        library: Any = None,
    ) -> None:
        self.cluster = cluster
        self.interval = interval
        self._scontrol, self._environment, self._timeout = tuple(scontrol), environment, timeout
        self._library = library
        self._backoff = Backoff(interval)
        self._matches = False
        self._sluids = runs.by_sluid(identity)

    def poll(self, now: float) -> Snapshot:
        """Read jobs and nodes once. Raises `SourceError` when either cannot be read, or the releases differ."""
        with self._backoff.asking(now):
            library = self._matching()
            try:
                jobs, found = library.Jobs.load(), library.Nodes.load()
            except library.PyslurmError as error:
                self._matches = False  # the release may be another next time
                raise SourceError(f"pyslurm cannot read slurmctld: {error}. {MEND}") from error
        told = [*_nodes(found.values(), self.cluster)]
        slots = live_job.slots_of_nodes(told)
        queue = live_job.nouns([_read(job) for job in jobs.values()], self.cluster, int(now), slots=slots)
        try:
            return live_job.snapshot(queue, told, now)
        except FormError as error:
            raise SourceError(f"pyslurm's list of nodes: {error}. {MEND}") from error

    def _matching(self) -> Any:
        """The library, after its release was found to be the site's."""
        if self._library is None:
            try:
                self._library = importlib.import_module("pyslurm")
            except (ImportError, RuntimeError, OSError) as error:
                raise SourceError(f"pyslurm cannot be loaded: {error}. It is built on the host. {MEND}") from error
        if not self._matches:
            words = (*self._scontrol, "--version")
            printed = run_command.run(
                words, environment=self._environment, timeout=self._timeout, max_bytes=4096, mend=MEND
            ).decode(errors="replace")
            try:
                built, runs_here = runs.release_of(self._library.__version__), runs.release_of(printed)
            except ValueError as error:
                raise SourceError(f"pyslurm and {' '.join(words)}: {error}. {MEND}") from error
            if built != runs_here:
                raise SourceError(
                    f"pyslurm {self._library.__version__} is built for Slurm {_release(built)}, and this site runs "
                    f"{_release(runs_here)}: it would misread it. {MEND}"
                )
            if self._sluids and runs_here >= runs.SLUID_RELEASE:
                raise SourceError(
                    f"Slurm {_release(runs_here)} names runs by SLUID, which pyslurm does not tell. {MEND}, or name "
                    "runs by job id and submit time in every source of it (slurm.identity: submit)"
                )
            self._matches = True
        return self._library


def _read(job: Any) -> LiveJob | Reject:
    try:
        return _job(job)
    except queue_json.FAULTS as error:
        return Reject(SOURCE, f"pyslurm job {getattr(job, 'id', '?')}", f"a job that does not read: {error}")


def _job(job: Any) -> LiveJob:
    waiting = job.array_tasks_waiting or ""
    layout = job.get_resource_layout_per_node()
    tres = job.allocated_tres or job.requested_tres
    names = tuple(layout) or expand(job.allocated_nodes or "")
    detail = tuple(_gres_text(part["gres"]) for part in layout.values())
    return LiveJob(
        native_id=str(job.id),
        display_id=_display_id(job, waiting),
        name=job.name or "",
        user=job.user_name or str(job.user_id),
        account=job.account or "",
        partition=job.partition or "",
        qos=job.qos or "",
        states=tuple(str(job.state).split("+")),
        submit=job.submit_time or 0,
        start=job.start_time or 0,
        resize=job.resize_time or 0,
        nodes=names,
        node_count=job.num_nodes or 0,
        detail=detail if any(detail) else (),
        tres=",".join(f"gres/{name}={_count(item)}" for name, item in (tres.gres if tres else {}).items()),
        tasks=task_count(waiting) if waiting else 1,
        admin_comment=job.admin_comment or "",
        raw=f"pyslurm job {job.id}",
    )


def _display_id(job: Any, waiting: str) -> str:
    if job.array_id and waiting:
        return f"{job.array_id}_[{waiting}]"
    if job.array_id and job.array_task_id is not None:
        return f"{job.array_id}_{job.array_task_id}"
    leader = job.heterogeneous_id
    return f"{leader}+{job.heterogeneous_offset}" if leader else str(job.id)


def _nodes(found: Iterable[Any], cluster: str) -> Iterator[Node | Reject]:
    for node in found:
        said, by, since = node.reason or "", node.reason_user, node.reason_time
        facts = node_text.NodeFacts(
            name=node.name,
            states=tuple(node_text.state_words(node.state)),
            gres=_gres_text(node.configured_gres),
            hostname=node.hostname or "",
            reason=f"{said} [{by}@{since}]" if said and by and since else said,
            comment=node.comment or "",
        )
        try:
            yield from node_text.nodes_of(facts, cluster)
        except ValueError as error:
            yield Reject(SOURCE, f"pyslurm node {node.name}", f"a node that does not read: {error}")


def _gres_text(gres: Mapping[str, Any]) -> str:
    """Pyslurm's dict of GRES as Slurm itself writes it: ``gpu:h100:2(IDX:0-1)``."""
    told = []
    for name, item in gres.items():
        indexes = item.get("indexes") if isinstance(item, dict) else None
        told.append(f"{name}:{_count(item)}" + (f"(IDX:{indexes})" if indexes else ""))
    return ",".join(told)


def _count(item: Any) -> int:
    return int(item["count"] if isinstance(item, dict) else getattr(item, "count", item))


def _release(numbers: tuple[int, int]) -> str:
    return f"{numbers[0]}.{numbers[1]:02d}"
