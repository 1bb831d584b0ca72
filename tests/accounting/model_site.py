"""A model site for the state machine: what truly happens on it, hour by hour, and what its sources say of that.

Four machines. n1 is a node of both schedulers (bridged pods, PyTorchJobs inside jobs), n2 and n4 are Kubernetes' and
may
each run the NodeSet pod that is Slurm node ws0; n4's cards may be cut into MIG slices. n3 is Slurm's alone. Everything
happens on the hour, so that an hour is as good as a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from exporters.model import Claim, Job, JobKey, LinkKey, LinkKind, Node, NodeEvent, NodeKey, Record, Scheduler
from exporters.recorder import SourceReading

HOUR = 3600
START = 1_793_448_000 - 12 * HOUR
"""2026-10-31 00:00:00 UTC, the last day of a month."""

SLURM, KUBE = Scheduler.SLURM, Scheduler.KUBERNETES
CARDS = {"n1": 4, "n2": 4, "n3": 4, "n4": 2, "ws0": 2}
KUBE_MODEL = "NVIDIA-H100-SXM"
SLICE = "1g.10gb"
NODESET = "ws0"


def snode(name: str) -> NodeKey:
    return NodeKey(SLURM, "lab", name)


def knode(name: str) -> NodeKey:
    return NodeKey(KUBE, "kube", name)


@dataclass
class Run:
    """One run of a Slurm job: ``nodes`` is the true share of each node in milliGPU, ``names`` its pods' names."""

    number: int
    submit: int
    account: str
    nodes: dict[str, int]
    start: int | None = None
    end: int | None = None
    state: str = "PENDING"
    names: tuple[LinkKey, ...] = ()
    hidden: bool = False
    told: bool = False
    note: int = 0

    @property
    def key(self) -> JobKey:
        return JobKey(SLURM, "lab", f"{self.number}@{self.submit}")

    @property
    def runs(self) -> bool:
        return self.start is not None and self.end is None

    def claims(self, *, exact: bool) -> tuple[Claim, ...]:
        """The cards held; history knows only their sum over several nodes, and takes equal parts."""
        if self.start is None or not self.nodes:
            return ()
        shares, assumed = dict(self.nodes), len(self.nodes) > 1 and not exact
        if assumed:
            cards, rest = divmod(sum(shares.values()) // 1000, len(shares))
            shares = {name: 1000 * (cards + (n < rest)) for n, name in enumerate(shares)}
        return tuple(
            Claim(
                self.key, self.key.id, snode(name), milligpu, self.start, self.end, "h100",
                keys=self.names if self.end is not None else (), split_assumed=assumed, native_id=str(self.number),
                end_basis="" if self.end is None else "finished",
            )
            for name, milligpu in shares.items() if milligpu
        )  # fmt: skip

    def job(self) -> Job:
        return Job(
            self.key, str(self.number), str(self.number), f"train-{self.number}", "alice", self.account, "gpu",
            state=self.state, submit=self.submit, start=self.start, end=self.end,
        )  # fmt: skip

    def record(self) -> Record:
        """As sacct tells it now."""
        raw = f"{self.number}|{self.submit}|{self.state}|{self.start}|{self.end}|{self.nodes}|{self.names}|{self.note}"
        claims = self.claims(exact=False)
        waits = self.start is None and self.end is None
        why = "" if claims or waits else "never started" if self.start is None else "no gpu"
        return Record("sacct", raw, self.job(), () if why else claims, why, pending=self.end is None and not why)


@dataclass
class Pod:
    """A pod. ``remains``: its object stays after its end, so that a reader who was away still finds it."""

    name: str
    uid: str
    owner: str
    namespace: str
    node: str
    milligpu: int
    start: int
    end: int | None = None
    keys: tuple[LinkKey, ...] = ()
    profile: str = ""
    remains: bool = True
    end_told: bool = False

    @property
    def key(self) -> JobKey:
        return JobKey(KUBE, "kube", f"uid-of-{self.owner}")

    def claim(self, *, ended: bool) -> Claim:
        end = self.end if ended else None
        basis = "" if end is None else "finished" if self.remains else "deleted"
        return Claim(
            self.key, self.uid, knode(self.node), self.milligpu, self.start, end,
            "" if self.profile == SLICE else KUBE_MODEL, self.profile, keys=self.keys, end_basis=basis,
            native_id=f"{self.namespace}/{self.name}",
        )  # fmt: skip

    def job(self) -> Job:
        name = f"{self.namespace}/Job/{self.owner}"
        return Job(self.key, name, name, self.owner, "bob", self.namespace, "", kind="Job")


@dataclass
class NodeTruth:
    """What a scheduler would say of a node now."""

    cards: int
    up: bool = True
    reason: str = ""
    there: bool = True
    sliced: bool = False


@dataclass
class ModelSite:
    """What happens, and what is said of it. ``now`` is the site's clock.

    ``cards``: index and milliGPU of what each unit truly has of a machine, and ``tellings`` how the live side tells
    it (`tests.accounting.model_cards`).
    """

    now: int = START
    runs: list[Run] = field(default_factory=list)
    pods: list[Pod] = field(default_factory=list)
    slurm: dict[str, NodeTruth] = field(default_factory=dict)
    kube: dict[str, NodeTruth] = field(default_factory=dict)
    events: list[NodeEvent] = field(default_factory=list)
    kube_polled: int | None = None
    kube_missed: bool = False
    cards: dict[tuple[str, str], tuple[tuple[int, int], ...]] = field(default_factory=dict)
    tellings: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.slurm = {name: NodeTruth(CARDS[name]) for name in ("n1", "n3")}
        self.kube = {name: NodeTruth(CARDS[name]) for name in ("n1", "n2", "n4")}

    def next(self) -> int:
        self.count += 1
        return self.count

    # Slurm

    def submit(self, number: int, nodes: dict[str, int], account: str, *, start: bool) -> Run:
        """A new run of a number; a number that still waits or runs is not used again."""
        run = Run(number, self.now + self.next(), account, nodes)
        if start:
            run.start, run.state = self.now, "RUNNING"
        self.runs.append(run)
        return run

    def busy(self, number: int) -> bool:
        return any(r.number == number and r.end is None for r in self.runs)

    def end(self, run: Run, state: str) -> None:
        run.end, run.state = self.now, state

    def drain(self, name: str, reason: str, *, counted: bool) -> None:
        """A Slurm node is drained; ``counted``: the event says how many cards it has."""
        truth = self.slurm[name]
        truth.up, truth.reason = False, reason
        cards = truth.cards * 1000 if counted else None
        self.events.append(NodeEvent(snode(name), self.now, None, False, cards, reason))

    def resume_node(self, name: str) -> None:
        truth = self.slurm[name]
        truth.up, truth.reason = True, ""
        self.events = [replace(e, end=self.now) if e.key.name == name and e.end is None else e for e in self.events]

    # Kubernetes

    def pod(self, node: str, milligpu: int, namespace: str, *keys: LinkKey, **more: object) -> Pod:
        n = self.next()
        owner = str(more.pop("owner", f"job-{n}"))
        found = Pod(f"{owner}-{n}", f"pod-{n}", owner, namespace, node, milligpu, self.now, keys=keys, **more)  # type: ignore[arg-type]
        self.pods.append(found)
        return found

    def nodeset(self) -> Pod | None:
        """The pod that is Slurm node ws0 now."""
        return next((p for p in self.pods if p.end is None and any(k.kind is LinkKind.LENDS for k in p.keys)), None)

    # what is said

    def kube_nodes(self) -> Iterator[Node]:
        for name, t in self.kube.items():
            if not t.there:
                continue
            whole = t.cards - 1 if t.sliced else t.cards
            yield Node(knode(name), 1000 * whole, t.up, KUBE_MODEL, t.reason, (name,))
            if t.sliced:
                yield Node(knode(name), 1000, t.up, SLICE, t.reason, (name,))

    def slurm_nodes(self) -> Iterator[Node]:
        for name, t in self.slurm.items():
            if t.there:
                up = t.up if name != NODESET else self.nodeset() is not None
                yield Node(snode(name), 1000 * t.cards, up, "h100", t.reason if name != NODESET else "", (name,))

    def kube_reading(self) -> SourceReading:
        """What the Kubernetes source says now; an end is told once, and a removal that nobody watched never."""
        since = START - 1 if self.kube_polled is None else self.kube_polled
        held = [p for p in self.pods if p.end is None]
        over = [p for p in self.pods if p.end is not None and not p.end_told]
        told = [p for p in over if p.remains or (not self.kube_missed and p.end is not None and p.end > since)]
        for p in over:
            p.end_told = True
        self.kube_polled, self.kube_missed = self.now, False
        return SourceReading(
            "pods", "kube", self.now, [p.job() for p in (*held, *told)], [p.claim(ended=False) for p in held],
            [p.claim(ended=True) for p in told], list(self.kube_nodes()), scheduler="kubernetes",
        )  # fmt: skip

    def slurm_reading(self) -> SourceReading:
        there = [r for r in self.runs if r.runs]
        return SourceReading(
            "slurmctld", "lab", self.now, [r.job() for r in there], [c for r in there for c in r.claims(exact=True)],
            (), list(self.slurm_nodes()), scheduler="slurm",
        )  # fmt: skip

    def history(self) -> Sequence[Record]:
        for run in self.runs:
            run.told |= not run.hidden
        return [_CPU, *(r.record() for r in self.runs if not r.hidden)]


_CPU = Record(
    "sacct",
    "0|a job without cards",
    Job(JobKey(SLURM, "lab", f"0@{START}"), "0", "0", "cpu", "ada", "nlp", "cpu", state="COMPLETED", submit=START),
    excluded="no gpu",
)
"""A site is never without any job: an answer that names none, while slurmctld shows some, is none."""
