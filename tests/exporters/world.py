"""Small hand-made sites for tests of the live side. Nouns only: nothing here reads a system."""

from __future__ import annotations

from collections.abc import Mapping

from exporters.fabric_model import Port, PortCounter, PortOrigin, PortReading, PortSample
from exporters.model import Claim, Field, Job, JobKey, LinkKey, LinkKind, Node, NodeKey, Sample, Scheduler, Snapshot
from exporters.sources.base import Source

SLURM, KUBE = Scheduler.SLURM, Scheduler.KUBERNETES


class StubSource(Source):
    """A source that says what it was told to say: a stand-in for a system, for tests of the registry."""

    def __init__(self, name: str, cluster: str, scheduler: Scheduler | None, interval: float = 15.0) -> None:
        self.name, self.cluster, self.scheduler, self.interval = name, cluster, scheduler, interval
        self.says: Snapshot | Exception = Snapshot(at=0.0)
        self.acknowledged: list[float] = []
        self.closed = False
        self.polls = 0

    def poll(self, now: float) -> Snapshot:
        self.polls += 1
        if isinstance(self.says, Exception):
            raise self.says
        s = self.says
        return Snapshot(
            now, s.jobs, s.claims, s.ended, s.nodes, s.demands, s.samples, s.rejects, s.complete, s.problems, s.ports
        )

    def acknowledge(self, at: float) -> None:
        self.acknowledged.append(at)

    def close(self) -> None:
        self.closed = True


def slurm_node(name: str, milligpu: int = 8000, *, up: bool = True, hostnames: tuple[str, ...] = ()) -> Node:
    return Node(NodeKey(SLURM, "lab", name), milligpu, up, "h100", "" if up else "drained", hostnames)


def kube_node(name: str, milligpu: int = 8000, *, up: bool = True, hostnames: tuple[str, ...] = ()) -> Node:
    model = "NVIDIA-H100-80GB-HBM3" if milligpu else ""
    return Node(NodeKey(KUBE, "k1", name), milligpu, up, model, "" if up else "cordoned", hostnames)


def slurm_job(number: int, account: str = "vision", submit: int = 900) -> Job:
    key = JobKey(SLURM, "lab", f"{number}@{submit}")
    return Job(key, str(number), str(number), f"train-{number}", "alice", account, "gpu", state="RUNNING", start=1000)


def slurm_claim(
    job: Job, node: str, milligpu: int, indices: tuple[int, ...] = (), start: int = 1000, end: int | None = None
) -> Claim:
    return Claim(
        job.key,
        job.key.id,
        NodeKey(SLURM, "lab", node),
        milligpu,
        start,
        end,
        "h100",
        indices=indices,
        native_id=job.native_id,
    )


def pod_job(name: str, namespace: str = "llm", labels: Mapping[str, str] | None = None) -> Job:
    key = JobKey(KUBE, "k1", f"uid-{name}")
    shown = f"{namespace}/Deployment/{name}"
    return Job(key, shown, shown, name, "", namespace, "", kind="Deployment", state="Running", labels=labels or {})


def pod_claim(
    job: Job,
    node: str,
    milligpu: int,
    *keys: LinkKey,
    pod: str = "",
    start: int = 1000,
    end: int | None = None,
    profile: str = "",
    uuids: tuple[str, ...] = (),
) -> Claim:
    name = pod or f"{job.name}-0"
    return Claim(
        job.key,
        f"pod-{name}",
        NodeKey(KUBE, "k1", node),
        milligpu,
        start,
        end,
        profile=profile,
        uuids=uuids,
        keys=keys,
        native_id=f"{job.account}/{name}",
    )


def lends(node: str) -> LinkKey:
    return LinkKey(LinkKind.LENDS, "lab", node, "label nodeset.slinky.slurm.net/pod-hostname")


def same(job: Job) -> LinkKey:
    return LinkKey(LinkKind.SAME, "lab", job.native_id, "label scheduler.slinky.slurm.net/slurm-jobid")


def inside(job: Job) -> LinkKey:
    return LinkKey(LinkKind.INSIDE, "lab", job.native_id, "label meterbridge.io/slurm-job-id")


def samples(
    host: str,
    at: float,
    values: Mapping[Field, float],
    count: int = 8,
    pods: Mapping[int, tuple[tuple[str, str, str], ...]] | None = None,
    jobs: Mapping[int, tuple[str, ...]] | None = None,
) -> tuple[Sample, ...]:
    pods, jobs = pods or {}, jobs or {}
    return tuple(
        Sample(
            host, f"GPU-{host}-{i}", i, "NVIDIA H100", dict(values), at, pods=pods.get(i, ()), hpc_jobs=jobs.get(i, ())
        )
        for i in range(count)
    )


def port(
    host: str,
    at: float,
    counters: Mapping[PortCounter, float],
    device: str = "mlx5_0",
    *,
    up: bool | None = True,
    origin: PortOrigin = PortOrigin.INFINIBAND,
) -> PortSample:
    reading = PortReading(origin, tuple(counters), tuple(counters.values()))
    return PortSample(Port(host, device, "1"), (reading,), at, up, 5e10)
