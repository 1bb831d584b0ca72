"""Short ways to say nouns, for tests: a Slurm cluster ``lab`` and a Kubernetes cluster ``kube``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from exporters.model import Claim, Job, JobKey, LinkKey, Node, NodeEvent, NodeKey, Record, Reject, Scheduler

DAY = 86_400
T0 = 1_790_812_800
"""2026-10-01 00:00:00 UTC."""


def run(number: int | str) -> JobKey:
    return JobKey(Scheduler.SLURM, "lab", f"{number}@{T0}")


def workload(name: str) -> JobKey:
    return JobKey(Scheduler.KUBERNETES, "kube", f"uid-{name}")


def gn(number: int) -> NodeKey:
    return NodeKey(Scheduler.SLURM, "lab", f"gn{number:02}")


def kn(number: int) -> NodeKey:
    return NodeKey(Scheduler.KUBERNETES, "kube", f"gn{number:02}")


def slurm_job(number: int | str, start: int | None = None, end: int | None = None, **more: str) -> Job:
    words = {"name": f"train-{number}", "user": "alice", "account": "vision", "partition": "gpu"} | more
    return Job(run(number), native_id=str(number), display_id=str(number), submit=T0, start=start, end=end, **words)  # type: ignore[arg-type]


def held(
    number: int | str,
    node: int,
    start: int,
    end: int | None,
    cards: int = 1,
    *,
    assumed: bool = False,
    model: str = "h100",
) -> Claim:
    return Claim(
        run(number),
        run(number).id,
        gn(node),
        cards * 1000,
        start,
        end,
        model,
        split_assumed=assumed,
        native_id=str(number),
    )


def ended(
    number: int | str, start: int, end: int, nodes: Iterable[int] = (1,), cards: int = 1, note: str = ""
) -> Record:
    """A run that held ``cards`` on each of ``nodes``. ``note`` only changes the raw text."""
    at = list(nodes)
    claims = tuple(held(number, n, start, end, cards, assumed=len(at) > 1) for n in at)
    raw = f"{number}|COMPLETED|{start}|{end}|{at}|{cards}|{note}"
    return Record("sacct", raw, slurm_job(number, start, end, state="COMPLETED"), claims)


def running(number: int | str, start: int, nodes: Iterable[int] = (1,), cards: int = 1, note: str = "") -> Record:
    at = list(nodes)
    claims = tuple(held(number, n, start, None, cards, assumed=len(at) > 1) for n in at)
    raw = f"{number}|RUNNING|{start}|Unknown|{at}|{cards}|{note}"
    return Record("sacct", raw, slurm_job(number, start, state="RUNNING"), claims, pending=True)


def waiting(number: int | str) -> Record:
    return Record("sacct", f"{number}|PENDING", slurm_job(number, state="PENDING"), pending=True)


def without(number: int | str, reason: str = "no gpu") -> Record:
    return Record("sacct", f"{number}|COMPLETED|{reason}", slurm_job(number, T0, T0 + 60), excluded=reason)


def pod(
    name: str,
    node: int,
    start: int,
    end: int | None = None,
    cards: int = 1,
    *,
    keys: Sequence[LinkKey] = (),
    basis: str = "",
) -> Claim:
    return Claim(
        workload(name),
        f"pod-{name}",
        kn(node),
        cards * 1000,
        start,
        end,
        "h100",
        keys=tuple(keys),
        end_basis=basis,
        native_id=f"vision/{name}",
    )


def pod_job(name: str, **more: str) -> Job:
    words = {"name": name, "user": "bob", "account": "vision", "partition": "", "kind": "Job"} | more
    return Job(workload(name), native_id=f"vision/Job/{name}", display_id=f"vision/Job/{name}", **words)  # type: ignore[arg-type]


def node(key: NodeKey, cards: int = 8, *, up: bool = True, reason: str = "", model: str = "h100") -> Node:
    return Node(key, cards * 1000, up, model, reason, (key.name,))


@dataclass
class History:
    """A history source that tells what it is given, whatever the window, like a sacct that repeats itself.

    ``older`` is told only to who asks for it by id; ``asked`` are the ids that were asked for.
    """

    rows: Sequence[Record | Reject] = ()
    node_events: Sequence[NodeEvent | Reject] = ()
    name: str = "sacct"
    cluster: str = "lab"
    windows: list[tuple[int, int]] = field(default_factory=list)
    older: Sequence[Record] = ()
    asked: list[list[str]] = field(default_factory=list)

    def records(self, start: int, end: int) -> Iterator[Record | Reject]:
        self.windows.append((start, end))
        yield from self.rows

    def again(self, native_ids: Sequence[str]) -> Iterator[Record | Reject]:
        self.asked.append(sorted(native_ids))
        yield from (r for r in (*self.rows, *self.older) if isinstance(r, Record) and r.job.native_id in native_ids)

    def events(self, start: int, end: int) -> Iterator[NodeEvent | Reject]:
        assert (start, end) == self.windows[-1]
        yield from self.node_events
