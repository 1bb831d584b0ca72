"""Claims and keys as the real systems write them, in one line each, for tests of links, machines and the ledger.

Slurm runs are ``run(5120, 8000, ...)`` on node gn09 of cluster hpc1; pods are ``pod("bert-ft-worker-0", 4000, ...)`` on
node gn09 of Kubernetes cluster prod. Both default to the same machine and to being held from second 0 on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporters.join.cards import Hand
from exporters.join.links import find_links
from exporters.join.nesting import Nest, nest
from exporters.model import Claim, JobKey, LinkKey, LinkKind, NodeKey, Scheduler

SLURM, KUBE = Scheduler.SLURM, Scheduler.KUBERNETES
HOSTNAME_LABEL = "nodeset.slinky.slurm.net/pod-hostname"
BRIDGE_LABEL = "scheduler.slinky.slurm.net/slurm-jobid"
OUR_LABEL = "meterbridge.io/slurm-job-id"


def slurm_job(number: int, submit: int = 0, cluster: str = "hpc1") -> JobKey:
    return JobKey(SLURM, cluster, f"{number}@{submit}")


def workload(name: str, cluster: str = "prod") -> JobKey:
    return JobKey(KUBE, cluster, f"uid-of-{name}")


def run(
    number: int,
    milligpu: int,
    start: int = 0,
    end: int | None = None,
    *keys: LinkKey,
    node: str = "gn09",
    cluster: str = "hpc1",
    submit: int = 0,
    model: str = "h100",
    split_assumed: bool = False,
) -> Claim:
    """One run of a Slurm job on one node."""
    job = slurm_job(number, submit, cluster)
    place = NodeKey(SLURM, cluster, node)
    basis = "" if end is None else "finished"
    return Claim(
        job,
        job.id,
        place,
        milligpu,
        start,
        end,
        model,
        keys=keys,
        native_id=str(number),
        end_basis=basis,
        split_assumed=split_assumed,
    )


def pod(
    name: str,
    milligpu: int,
    start: int = 0,
    end: int | None = None,
    *keys: LinkKey,
    node: str = "gn09",
    cluster: str = "prod",
    namespace: str = "vision",
    owner: str = "",
    model: str = "NVIDIA-H100-80GB-HBM3",
    profile: str = "",
) -> Claim:
    """One pod; its job is ``owner`` (by default a workload of the pod's own name)."""
    place = NodeKey(KUBE, cluster, node)
    unit = f"pod-{name}"
    basis = "" if end is None else "finished"
    return Claim(
        workload(owner or name, cluster),
        unit,
        place,
        milligpu,
        start,
        end,
        model,
        profile,
        keys=keys,
        native_id=f"{namespace}/{name}",
        end_basis=basis,
    )


def lends(hostname: str, cluster: str = "hpc1") -> LinkKey:
    """What a Slinky NodeSet's pod carries: the Slurm node that it is."""
    return LinkKey(LinkKind.LENDS, cluster, hostname, f"{HOSTNAME_LABEL}={hostname}")


def bridged(number: int, cluster: str = "hpc1") -> LinkKey:
    """What slurm-bridge writes on a pod: the external job that it is."""
    return LinkKey(LinkKind.SAME, cluster, str(number), f"{BRIDGE_LABEL}={number}")


def made_by(number: int, cluster: str = "hpc1") -> LinkKey:
    """What a job script writes on the pods it makes: the job that holds their cards."""
    return LinkKey(LinkKind.INSIDE, cluster, str(number), f"{OUR_LABEL}={number}")


def names_pod(name: str, cluster: str = "") -> LinkKey:
    """What an external job's AdminComment tells: a pod that it is, by name."""
    return LinkKey(LinkKind.SAME, cluster, name, f"AdminComment names {name}")


def stands_in(node: str = "vk-slurm-01") -> LinkKey:
    """What a virtual-kubelet node makes of its pods."""
    return LinkKey(LinkKind.STAND_IN, "hpc1", "", f"node {node} has label type=virtual-kubelet")


def nested(
    claims: Sequence[Claim],
    at: int = 50,
    cards: Mapping[int, Sequence[int] | Hand] | None = None,
    down: Sequence[tuple[str, str]] = (),
    unread: Sequence[str] = (),
    capacity: int = 0,
) -> Nest:
    """The claims that are there at a moment, nested by the links among all of them."""
    active = [i for i, c in enumerate(claims) if c.start <= at and (c.end is None or at < c.end)]
    told = (cards or {}).items()
    known = {i: some if isinstance(some, Hand) else Hand(dict.fromkeys(some, 1000)) for i, some in told}
    links = find_links(claims, grace=120)
    return nest(active, claims, links, known, capacity=capacity, down=down, unread=unread)
