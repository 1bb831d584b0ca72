"""The story that is recorded for the demo site: which jobs are submitted, and what happens to them, second by second.

Eight real minutes on a real Slurm with fake GPUs. `tests.lab.record_demo` plays it and records what Slurm prints, and a
time mapping then stretches those minutes to a month; durations here are recorded seconds, one of which becomes about
an hour and a half. Names of pods and of Kubernetes nodes are fixed here, since Slurm's records mention them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.lab.slurm import SlurmLab
from tests.lab.slurm_config import NodeGroup

SECONDS = 480
"""Length of the story."""

CLUSTER = "hpc1"

GROUPS = (
    NodeGroup(4, {"h100": 8}, prefix="h100-", partitions=("slinky",)),  # slurmd in the pods of a Slinky NodeSet
    NodeGroup(4, {"h100": 8}, prefix="gn", partitions=("batch",)),  # bare metal, Slurm only
    NodeGroup(2, {"h100": 8}, prefix="hy", partitions=("hybrid",)),  # slurmd and kubelet side by side
    NodeGroup(1, {"h100": 8}, prefix="br", partitions=("slurm-bridge",)),  # given to slurm-bridge
    NodeGroup(1, {"a100": 7, "a100_1g.10gb": 7}, prefix="mx", partitions=("mig",)),  # the eighth card is cut in seven
)

ACCOUNTS = {
    "vision": ["alice", "bob"],
    "llm-train": ["carol", "dave"],
    "genomics": ["erin", "frank"],
    "staff": ["grace"],
}
USERS = tuple(user for users in ACCOUNTS.values() for user in users)
QOS = {"urgent": ["Priority=100000", "Preempt=normal"]}

NAMES = {
    "vision": ("seg-unet", "det-r50", "clip-ft", "nerf-scene", "vit-l16", "ablation|lr=3e-4"),
    "llm-train": ("pretrain-3b", "sft-8b", "rlhf-ppo", "eval-mmlu", "distill-1b"),
    "genomics": ("varcall", "fold-batch", "basecall", "phylo", "=SUM(A1:A9)"),
    "staff": ("burn-in", "nccl-test"),
}

NODESET_PODS = {
    "h100-01": ("hpc1-worker-h100-qk7zd", "k01"),
    "h100-02": ("hpc1-worker-h100-m2x9c", "k02"),
    "h100-03": ("hpc1-worker-h100-t5vbn", "k03"),
    "h100-04": ("hpc1-worker-h100-w8r4f", "k04"),
}
"""Slurm node -> (pod, Kubernetes node) of the NodeSet at the beginning."""

REPLACED = ("h100-03", "hpc1-worker-h100-z6j3h")
"""The Slurm node whose pod is replaced in mid-month, and its new pod."""

FAILS_AT, RETURNS_AT = 240, 252

BRIDGED = (
    # name, account, user, pod, from, seconds
    ("bridge-clip", "vision", "alice", "vision/clip-embed-5x2vq", 18, 84),
    ("bridge-rag", "llm-train", "carol", "llm/rag-index-0", 124, 66),
    ("bridge-fold", "genomics", "erin", "genomics/fold-serve-9c7tr", 214, 96),
    ("bridge-clip2", "vision", "alice", "vision/clip-embed-hh4mz", 330, 104),
)
"""External jobs as slurm-bridge makes them, one per pod: whole node, pod in AdminComment, cancelled at its end."""

OUTER = (
    # name, nodes, from, seconds
    ("sft-70b", "hy01", 36, 118),
    ("sft-70b-2", "hy[01-02]", 226, 92),
)
"""Slurm jobs inside which a PyTorchJob runs."""

Action = Callable[[SlurmLab, dict[str, str]], None]


@dataclass(frozen=True)
class Step:
    """At ``second`` of the story, do something to the cluster; ``what`` says it for the log of the recording."""

    second: int
    what: str
    do: Action


def job(
    second: int, name: str, account: str, user: str, seconds: int, *options: str, script: str = "", handle: str = ""
) -> Step:
    """Submit a job that runs for so many seconds; later steps find its id under ``handle`` (or its name)."""

    def submit(lab: SlurmLab, ids: dict[str, str]) -> None:
        ids[handle or name] = lab.submit(script or f"sleep {seconds}", *options, user=user, account=account, name=name)

    return Step(second, f"submit {name} {' '.join(options)}", submit)


def command(second: int, *words: str) -> Step:
    """Run a client command; ``<handle>`` in a word becomes that job's id."""

    def run(lab: SlurmLab, ids: dict[str, str]) -> None:
        lab.run(*(re.sub(r"<([\w-]+)>", lambda found: ids[found[1]], word) for word in words))

    return Step(second, " ".join(words), run)


def steps() -> list[Step]:
    """The whole story in order."""
    told = [
        *_special(),
        *_bridge(),
        *_nodeset(),
        *_stream("batch", 21, 3.1, SECONDS),
        *_stream("slinky", 22, 3.6, SECONDS),
    ]
    return sorted(told, key=lambda step: step.second)


def _special() -> Iterator[Step]:
    """One of every kind."""
    urgent = ("--qos=urgent",)
    yield job(1, "pretrain-7b", "llm-train", "carol", 150, "-p", "slinky", "--nodes=2", "--gres=gpu:8")
    yield job(2, "vit-l16", "vision", "bob", 75, "-p", "batch", "--gres=gpu:h100:4")
    yield job(3, "hyb-detect", "vision", "alice", 104, "-p", "hybrid", "-w", "hy02", "--gres=gpu:8")
    yield job(4, "stage-data", "genomics", "frank", 40, "-p", "batch", "--cpus-per-task=16")
    yield job(5, "mig-notebook", "vision", "bob", 70, "-p", "mig", "--gres=gpu:a100_1g.10gb:2")
    yield job(6, "a100-finetune", "genomics", "erin", 120, "-p", "mig", "--gres=gpu:a100:4")
    yield job(12, "align", "genomics", "erin", 9, "-p", "batch", "--gres=gpu:1", "--array=0-23%4")
    yield job(28, "jupyter", "vision", "bob", 160, "-p", "slinky", "--gres=gpu:2")
    yield job(30, "mig-sweep", "llm-train", "dave", 55, "-p", "mig", "--gres=gpu:a100_1g.10gb:4")
    for name, nodes, second, seconds in OUTER:
        count = 2 if "[" in nodes else 1
        yield job(
            second, name, "llm-train", "dave", seconds, "-p", "hybrid", "-w", nodes, f"--nodes={count}", "--gres=gpu:8"
        )
    yield job(
        64, "pipeline", "vision", "bob", 30,
        "-p", "batch", "--cpus-per-task=8", ":", "-p", "batch", "--gres=gpu:4",
    )  # fmt: skip
    yield job(80, "long-eval", "llm-train", "dave", 60, "-p", "batch", "--gres=gpu:2", *urgent, handle="suspended")
    yield command(112, "scontrol", "suspend", "<suspended>")
    yield command(130, "scontrol", "resume", "<suspended>")
    yield job(104, "hotfix-train", "llm-train", "carol", 40, "-p", "batch", "--gres=gpu:8", *urgent)
    yield job(20, "impatient", "staff", "grace", 10, "-p", "mig", "--gres=gpu:a100:7")
    yield command(44, "scancel", "<impatient>")
    yield job(100, "tune-lr", "vision", "bob", 20, "-p", "hybrid", "-w", "hy02", "--gres=gpu:4", "--array=0-5")
    yield command(135, "scancel", "<tune-lr>_[4-5]")
    yield job(
        126, "varcall-wgs", "genomics", "frank", 70, "-p", "batch", "--gres=gpu:4", "--qos=urgent", handle="requeued"
    )
    yield command(158, "scontrol", "requeue", "<requeued>")
    yield command(164, "scontrol", "update", "nodename=gn04", "state=drain", "reason=bad fan, ticket 4711")
    yield command(246, "scontrol", "update", "nodename=gn04", "state=resume")
    yield job(150, "bad-config", "vision", "alice", 3, "-p", "batch", "--gres=gpu:1", script="sleep 3; exit 1")
    yield job(160, "a100-finetune-2", "genomics", "erin", 180, "-p", "mig", "--gres=gpu:a100:7")
    yield job(200, "mig-notebook", "vision", "bob", 160, "-p", "mig", "--gres=gpu:a100_1g.10gb:1")
    yield job(210, "mig-notebook", "vision", "alice", 90, "-p", "mig", "--gres=gpu:a100_1g.10gb:3")
    yield job(290, "pack", "staff", "grace", 30, "-p", "batch", "--cpus-per-task=32")
    yield job(340, "hyb-half", "vision", "alice", 70, "-p", "hybrid", "-w", "hy02", "--gres=gpu:4")
    yield job(350, "hyb-solo", "genomics", "frank", 110, "-p", "hybrid", "-w", "hy01", "--gres=gpu:6")
    yield job(360, "a100-last", "llm-train", "carol", 300, "-p", "mig", "--gres=gpu:a100:5")
    yield job(
        400, "pretrain-13b", "llm-train", "carol", 300, "-p", "slinky", "--nodes=2", "--gres=gpu:8", "--qos=urgent"
    )
    yield job(470, "too-big-for-now", "llm-train", "dave", 60, "-p", "batch", "--nodes=4", "--gres=gpu:8")


def _bridge() -> Iterator[Step]:
    """External jobs: ordinary jobs of that shape (this release has no EXTERNAL_JOB flag), cancelled at their end."""
    for name, account, user, pod, second, seconds in BRIDGED:
        options = ("-p", "slurm-bridge", "--exclusive", "--gres=gpu:8", f"--comment={name}")
        yield job(second, name, account, user, 1000, *options)
        comment = json.dumps({"pods": [pod]}, separators=(",", ":"))
        yield _update(second, name, f"AdminComment={comment}")
        yield command(second + seconds, "scancel", f"<{name}>")


def _update(second: int, handle: str, setting: str) -> Step:
    return Step(
        second,
        f"scontrol update {handle} {setting}",
        lambda lab, ids: void(lab.run("scontrol", "update", f"jobid={ids[handle]}", setting)),
    )


def void(_: object) -> None:
    """Drop a result."""


def _nodeset() -> Iterator[Step]:
    """What slurm-operator writes on its nodes, and the pod that is lost and replaced."""
    for node, (pod, machine) in NODESET_PODS.items():
        yield _pod_comment(0, node, pod, machine)
    node, pod = REPLACED
    yield job(222, "sft-8b", "llm-train", "dave", 70, "-p", "slinky", "-w", node, "--gres=gpu:2", handle="unlucky")
    yield Step(FAILS_AT, f"kill slurmd of {node}", lambda lab, _: lab.stop_node(node))
    lost = f"reason=slurm-operator: pod {NODESET_PODS[node][0]} is gone"
    yield command(FAILS_AT + 1, "scontrol", "update", f"nodename={node}", "state=down", lost)
    yield Step(RETURNS_AT, f"start slurmd of {node}", lambda lab, _: lab.start_node(node, wait=False))
    yield _pod_comment(RETURNS_AT, node, pod, NODESET_PODS[node][1])


def _pod_comment(second: int, node: str, pod: str, machine: str) -> Step:
    about = {"namespace": "slurm", "podName": pod, "node": machine, "nodeSetName": "hpc1-worker-h100"}
    return command(
        second, "scontrol", "update", f"nodename={node}", f"comment={json.dumps(about, separators=(',', ':'))}"
    )


def _stream(partition: str, seed: int, every: float, until: int) -> Iterator[Step]:
    """A steady stream of ordinary jobs that keeps a partition of 32 cards busy most of the time."""
    chance = random.Random(seed)
    second = 2.0
    while second < until:
        account = chance.choices(list(ACCOUNTS), weights=(5, 5, 4, 1))[0]
        gpus = chance.choices((1, 2, 4, 8), weights=(30, 28, 27, 15))[0]
        seconds = max(3, min(110, round(chance.lognormvariate(2.9, 0.8))))
        name = chance.choice(NAMES[account])
        user = chance.choice(ACCOUNTS[account])
        yield job(int(second), name, account, user, seconds, "-p", partition, f"--gres=gpu:{gpus}")
        second += chance.expovariate(1 / every)
