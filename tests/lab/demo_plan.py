"""Which pods there were on the demo site: made to fit the recorded Slurm month, and otherwise what such a site runs.

The pods that belong to Slurm jobs (a NodeSet's slurmd, what slurm-bridge placed, PyTorchJobs inside a job, the unlinked
overlap) take their times from the recorded jobs. The plain workloads keep to the Kubernetes-only machines.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.lab.demo_nodes import NodePlan
from tests.lab.demo_objects import Owner, PodPlan
from tests.lab.demo_story import BRIDGED, CLUSTER, NODESET_PODS, OUTER, REPLACED
from tests.lab.demo_time import MONTH_START

GPU = "nvidia.com/gpu"
SLICE = "nvidia.com/mig-1g.10gb"
H100, A100 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB"
HOUR, DAY = 3600, 86_400


@dataclass(frozen=True)
class Span:
    """A recorded Slurm job in the month: its raw id, and when it ran."""

    job: str
    start: int
    end: int


def at(day: int, hour: float = 0.0) -> int:
    """A moment of the month; day 1 is its first, days before it are zero and negative."""
    return MONTH_START + (day - 1) * DAY + round(hour * HOUR)


def nodes() -> list[NodePlan]:
    """The Kubernetes nodes: NodeSet hosts, plain ones, one with MIG, and three that Slurm knows under the same name."""
    long_ago = at(-40)
    outage = ((at(20, 6.22), False, False), (at(21, 17.8), True, True))
    plain = [NodePlan(f"k{n:02d}", H100, 81_559, {GPU: 8}, long_ago, {"pool": "slurm"}) for n in range(1, 5)]
    plain += [NodePlan(f"k{n:02d}", H100, 81_559, {GPU: 8}, long_ago) for n in range(5, 8)]
    sliced = {"nvidia.com/mig-1g.10gb.count": "14", "nvidia.com/mig.strategy": "mixed"}
    bridged = {"scheduler.slinky.slurm.net/external-node": "true", "slinky.slurm.net/slurm-nodename": "br01"}
    taint = {"key": "slinky.slurm.net/managed-node", "value": "slurm-bridge-scheduler", "effect": "NoExecute"}
    return [
        *plain,
        NodePlan("k08", H100, 81_559, {GPU: 8}, long_ago, states=outage),
        NodePlan("k09", A100, 81_920, {GPU: 6, SLICE: 14, "cards": 8}, long_ago, sliced),
        NodePlan("br01", H100, 81_559, {GPU: 8}, long_ago, bridged, (taint,)),
        NodePlan("hy01", H100, 81_559, {GPU: 8}, long_ago),
        NodePlan("hy02", H100, 81_559, {GPU: 8}, long_ago),
    ]


def pods(jobs: Mapping[str, Sequence[Span]], lost: tuple[int, int], overlap: tuple[int, int]) -> list[PodPlan]:
    """Every pod. ``jobs`` are recorded jobs by name; ``lost`` is when the NodeSet's pod was gone and was back again;
    ``overlap`` is when pods ran on a machine that Slurm had given away whole.
    """
    plans = [*_nodeset(lost), *_bridged(jobs), *_inside(jobs), *_overlap(jobs, overlap), *_serving(), *_batch()]
    return sorted([*plans, *_single(jobs), *_slices()], key=lambda p: (p.start, p.namespace, p.name))


def _nodeset(lost: tuple[int, int]) -> Iterator[PodPlan]:
    owner = Owner("slinky.slurm.net/v1beta1", "NodeSet", "nodesets", "hpc1-worker-h100", created=at(-39))
    for index, (node, (name, machine)) in enumerate(NODESET_PODS.items()):
        gone = node == REPLACED[0]
        lives = [(name, at(-30, index / 7), lost[0] if gone else None)]
        if gone:
            lives.append((REPLACED[1], lost[1], None))
        for pod, start, end in lives:
            labels = {
                "app.kubernetes.io/component": "worker",
                "app.kubernetes.io/instance": "hpc1-worker-h100",
                "app.kubernetes.io/managed-by": "slurm-operator",
                "app.kubernetes.io/name": "slurmd",
                "nodeset.slinky.slurm.net/pod-hostname": node,
                "nodeset.slinky.slurm.net/pod-index": str(index),
                "nodeset.slinky.slurm.net/pod-name": pod,
                "nodeset.slinky.slurm.net/scaling-mode": "DaemonSet",
                "slinky.slurm.net/cluster": CLUSTER,
            }
            yield PodPlan(
                "slurm", pod, machine, {GPU: 8}, start, end, "deleted", None, labels, {}, owner, "slurmd", pull=9
            )


def _bridged(jobs: Mapping[str, Sequence[Span]]) -> Iterator[PodPlan]:
    """Pods that slurm-bridge placed: bound after the external job began, over before it ends."""
    wants = {"clip-embed": 4, "rag-index": 2, "fold-serve": 8}
    for number, (name, account, user, pod, *_) in enumerate(BRIDGED, start=1):
        (span,) = jobs[name]
        namespace, _, pod_name = pod.partition("/")
        root = pod_name.rsplit("-", 1)[0]
        labels = {"app": root, "scheduler.slinky.slurm.net/slurm-jobid": span.job}
        notes = {"slinky.slurm.net/slurm-node": "br01", "meterbridge.io/user": user}
        notes["slurmjob.slinky.slurm.net/account"] = account
        owner = Owner("batch/v1", "Job", "jobs", f"{root}-{number}", created=span.start - 30)
        life = (span.start + 45, span.end - 65)
        yield PodPlan(
            namespace, pod_name, "br01", {GPU: wants[root]}, *life, "succeeded", life[1] + 40, labels, notes, owner
        )


def _inside(jobs: Mapping[str, Sequence[Span]]) -> Iterator[PodPlan]:
    """PyTorchJobs that a Slurm job started on its own machines; the first leaves two of its cards unused."""
    shapes: dict[str, tuple[tuple[str, str, int], ...]] = {
        "sft-70b": (("master-0", "hy01", 2), ("worker-0", "hy01", 4)),
        "sft-70b-2": (("master-0", "hy01", 8), ("worker-0", "hy02", 8)),
    }
    for name, *_ in OUTER:
        (span,) = jobs[name]
        owner = Owner("kubeflow.org/v1", "PyTorchJob", "pytorchjobs", name, created=span.start + 100)
        for replica, node, count in shapes[name]:
            labels = {
                "meterbridge.io/slurm-cluster": CLUSTER,
                "meterbridge.io/slurm-job-id": span.job,
                **_training(name, replica),
            }
            life = (span.start + 130, span.end - 240)
            yield PodPlan(
                "llm", f"{name}-{replica}", node, {GPU: count}, *life, "succeeded", life[1] + HOUR, labels, {}, owner,
                "pytorch",
            )  # fmt: skip


def _training(name: str, replica: str) -> dict[str, str]:
    kind, index = replica.split("-")
    return {
        "training.kubeflow.org/job-name": name,
        "training.kubeflow.org/operator-name": "pytorchjob-controller",
        "training.kubeflow.org/replica-index": index,
        "training.kubeflow.org/replica-type": kind,
    }


def _overlap(jobs: Mapping[str, Sequence[Span]], overlap: tuple[int, int]) -> Iterator[PodPlan]:
    """The kubelet of hy02 does not know what Slurm has given away: once that matters, once there is room for both."""
    owner = Owner("batch/v1", "Job", "jobs", "tile-export")
    for suffix in ("8w2kd", "zq5tn"):
        yield PodPlan(
            "genomics", f"tile-export-{suffix}", "hy02", {GPU: 2}, *overlap, "succeeded", overlap[1] + HOUR,
            {"job-name": "tile-export"}, {"meterbridge.io/user": "frank"}, owner,
        )  # fmt: skip
    (half,) = jobs["hyb-half"]
    yield PodPlan(
        "vision", "flow-match", "hy02", {GPU: 4}, half.start + 5 * HOUR + 411, half.end - 7 * HOUR, "succeeded",
        half.end, {}, {"meterbridge.io/user": "alice"},
    )  # fmt: skip


def _serving() -> Iterator[PodPlan]:
    """Models that are served all month, scaled and rolled out now and then."""
    isvc = Owner("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices", "granite", created=at(-20))
    deployment = Owner("apps/v1", "Deployment", "deployments", "granite-predictor", parent=isvc, created=at(-20))
    replicas = Owner("apps/v1", "ReplicaSet", "replicasets", "granite-predictor-56447567b5", parent=deployment)
    labels = {"app": "isvc.granite-predictor", "serving.kserve.io/inferenceservice": "granite"}
    lives = (("9t2r5", "k05", at(-10, 9), None), ("dgjgq", "k05", at(-10, 9.2), None))
    for suffix, node, start, end in (*lives, ("xx7pl", "k06", at(8, 9.2), at(22, 18.05))):
        name = f"{replicas.name}-{suffix}"
        yield PodPlan(
            "llm", name, node, {GPU: 4}, start, end, "deleted", None, labels, {}, replicas, "kserve-container"
        )
    llama = Owner("apps/v1", "Deployment", "deployments", "vllm-llama", created=at(-60))
    for digest, suffix, start, end in (
        ("6d9f7c5b8d", "hq4wz", at(-6, 14), at(13, 10.1)),
        ("7b54d8f9c6", "k2v8n", at(13, 10.05), None),
    ):
        owner = Owner("apps/v1", "ReplicaSet", "replicasets", f"vllm-llama-{digest}", parent=llama, created=start - 5)
        name = f"{owner.name}-{suffix}"
        yield PodPlan(
            "llm", name, "k07", {GPU: 2}, start, end, "deleted", None, {"app": "vllm-llama"}, {}, owner, "vllm"
        )
    top = Owner("apps/v1", "Deployment", "deployments", "anonymize", created=at(-50))
    owner = Owner("apps/v1", "ReplicaSet", "replicasets", "anonymize-5c77f9cd9b", parent=top, created=at(-50))
    yield PodPlan(
        "imaging", f"{owner.name}-m5d4s", "k07", {GPU: 1}, at(-4, 11), None, labels={"app": "anonymize"}, owner=owner
    )


def _batch() -> Iterator[PodPlan]:
    """Jobs that come and go: nightly rendering, folding until the machine fails, fine-tuning, a Ray cluster."""
    chance = random.Random(31)
    for day in range(32):
        owner = Owner("batch/v1", "Job", "jobs", f"render-tiles-{day:02d}", {"cron": "render-tiles"})
        for index in range(2):
            start = at(day, 22) + chance.randrange(20, 90)
            end = start + round(chance.uniform(6.1, 8.2) * HOUR)
            yield PodPlan(
                "vision", f"{owner.name}-{_suffix(chance)}", "k06", {GPU: 2}, start, end, "succeeded", end + HOUR,
                {"job-name": owner.name, "index": str(index)}, {"meterbridge.io/user": "bob"}, owner,
            )  # fmt: skip
    for day in (1, 4, 7, 10, 13, 16):
        owner = Owner("batch/v1", "Job", "jobs", f"fold-{day:02d}")
        for _ in range(4):
            start = at(day, 7.5) + chance.randrange(5, 60)
            end = start + round(chance.uniform(26, 49) * HOUR)
            failed = chance.random() < 0.15
            yield PodPlan(
                "genomics", f"{owner.name}-{_suffix(chance)}", "k08", {GPU: 2}, start, end,
                "failed" if failed else "succeeded", end + HOUR, {"job-name": owner.name},
                {"meterbridge.io/user": "erin"}, owner,
            )  # fmt: skip
    for day in (5, 15):
        owner = Owner("kubeflow.org/v1", "PyTorchJob", "pytorchjobs", f"det-ft-{day:02d}")
        for replica in ("master-0", "worker-0"):
            life = (at(day, 10.3) + 7, at(day + 4, 3.1) + chance.randrange(900))
            yield PodPlan(
                "vision", f"{owner.name}-{replica}", "k07", {GPU: 2}, *life, "succeeded", life[1] + HOUR,
                _training(owner.name, replica), {"meterbridge.io/user": "alice"}, owner, "pytorch",
            )  # fmt: skip
    ray = Owner("ray.io/v1", "RayCluster", "rayclusters", "tune", created=at(22, 12))
    for index in range(5):
        kind = "head" if index == 0 else "worker"
        request = {} if index == 0 else {GPU: 1}
        labels = {"ray.io/cluster": "tune", "ray.io/node-type": kind, "ray.io/is-ray-node": "yes"}
        yield PodPlan(
            "llm", f"tune-{kind}-{_suffix(chance)}", "k08", request, at(22, 12) + 9 * index, at(29, 15.4), "deleted",
            None, labels, {"meterbridge.io/user": "dave"}, ray,
        )  # fmt: skip


def _single(jobs: Mapping[str, Sequence[Span]]) -> Iterator[PodPlan]:
    """A name that is used twice, a namespace nobody mapped, a key that does not fit, and a pod that waits."""
    book = Owner("apps/v1", "StatefulSet", "statefulsets", "notebook", created=at(-5))
    user = {"opendatahub.io/user": "bob"}
    for start, end in ((at(2, 8.2), at(12, 17.6)), (at(12, 17.7), at(30, 19.5))):
        yield PodPlan("vision", "notebook-0", "k07", {GPU: 1}, start, end, "deleted", None, user, {}, book, "notebook")
    yield PodPlan("sandbox", "try-flash", "k06", {GPU: 1}, at(3, 9.1), at(3, 19.4), "forced")
    owner = Owner("kubeflow.org/v1", "PyTorchJob", "pytorchjobs", "sneaky")
    span = jobs["pretrain-7b"][0]
    claimed = {"meterbridge.io/slurm-cluster": CLUSTER, "meterbridge.io/slurm-job-id": span.job}
    yield PodPlan(
        "sandbox", "sneaky-master-0", "k06", {GPU: 2}, at(6, 8.5), at(6, 17.2), "succeeded", at(6, 18.2),
        {**claimed, **_training("sneaky", "master-0")}, {}, owner, "pytorch",
    )  # fmt: skip
    yield PodPlan("sandbox", "huge", "", {GPU: 16}, at(30, 10))


def _slices() -> Iterator[PodPlan]:
    """The machine with six whole cards and two that are cut in seven."""
    chance = random.Random(32)
    top = Owner("apps/v1", "Deployment", "deployments", "label-assist", created=at(-15))
    owner = Owner("apps/v1", "ReplicaSet", "replicasets", "label-assist-68c9d4c7f5", parent=top, created=at(-15))
    for index in range(3):
        name = f"{owner.name}-{_suffix(chance)}"
        yield PodPlan("vision", name, "k09", {SLICE: 1}, at(-3, 8) + index, labels={"app": "label-assist"}, owner=owner)
    for day in range(2, 31, 3):
        job = Owner("batch/v1", "Job", "jobs", f"qc-{day:02d}")
        for _ in range(2):
            start = at(day, 5) + chance.randrange(120)
            end = start + round(chance.uniform(12, 30) * HOUR)
            yield PodPlan(
                "genomics", f"{job.name}-{_suffix(chance)}", "k09", {SLICE: 2}, start, end, "succeeded", end + HOUR,
                {"job-name": job.name}, {"meterbridge.io/user": "erin"}, job,
            )  # fmt: skip
    sweep = Owner("jobset.x-k8s.io/v1alpha2", "JobSet", "jobsets", "sweep", created=at(10, 9))
    for index in range(2):
        job = Owner("batch/v1", "Job", "jobs", f"sweep-w-{index}", parent=sweep, created=at(10, 9))
        labels = {"jobset.sigs.k8s.io/jobset-name": "sweep", "job-name": job.name}
        life = (at(10, 9) + 30, at(14, 2) + chance.randrange(HOUR))
        yield PodPlan(
            "llm",
            f"{job.name}-0-{_suffix(chance)}",
            "k09",
            {GPU: 2},
            *life,
            "succeeded",
            life[1] + DAY,
            labels,
            {},
            job,
        )
    yield PodPlan(
        "genomics", "imputation", "k09", {GPU: 4}, at(17, 13.6), at(27, 4.9), "succeeded", at(27, 12),
        {}, {"meterbridge.io/user": "frank"},
    )  # fmt: skip


def _suffix(chance: random.Random) -> str:
    """Five characters as Kubernetes makes them."""
    return "".join(chance.choices("bcdfghjklmnpqrstvwxz2456789", k=5))
