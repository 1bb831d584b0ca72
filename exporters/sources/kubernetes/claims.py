"""From pod facts and portions to claims, jobs, demands and link keys. Pure.

A pod yields at most one claim of its own, with the milliGPU of all its GPU resources. A ResourceClaim that several pods
use is counted once over the union of their intervals: its cards are held by one of the pods at a time, the one that has
had them longest; when that pod ends, the next one that still has them goes on from that second (`hand_over`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from exporters.model import MILLI_PER_GPU, Claim, Job, JobKey, LinkKey, LinkKind, NodeKey, Scheduler
from exporters.sources.kubernetes.nodes import NodeFacts
from exporters.sources.kubernetes.pod_facts import PodFacts
from exporters.sources.kubernetes.slots.portions import Portion, by_part
from exporters.sources.kubernetes.slots.resource_claims import Devices
from exporters.sources.shares import mig_weight

BRIDGE_LABEL = "scheduler.slinky.slurm.net/slurm-jobid"
HOSTNAME_LABEL = "nodeset.slinky.slurm.net/pod-hostname"
SLINKY_CLUSTER_LABEL = "slinky.slurm.net/cluster"
JOB_LABEL = "meterbridge.io/slurm-job-id"
CLUSTER_LABEL = "meterbridge.io/slurm-cluster"


@dataclass(frozen=True, slots=True)
class Root:
    """The workload at the top of a pod's owners. ``uid`` is empty where only its name is known."""

    kind: str
    name: str
    uid: str
    labels: Mapping[str, str]
    created: int | None = None


def link_keys(pod: PodFacts, node: NodeFacts | None, slurm_clusters: Mapping[str, str]) -> tuple[LinkKey, ...]:
    """The keys a pod carries to Slurm. A container's SLURM_JOB_ID is none: it may come from a tool without any Slurm.

    ``slurm_clusters`` maps the names that labels use to the site's Slurm clusters; a name it lacks is taken as it is.
    Labels that name no cluster mean ``slurm_clusters[""]``, or the only cluster there is.
    """

    def cluster(label: str) -> str:
        told = pod.labels.get(label, "") if label else ""
        if told:
            return slurm_clusters.get(told, told)
        known = set(slurm_clusters.values())
        return slurm_clusters.get("", known.pop() if len(known) == 1 else "")

    keys: list[LinkKey] = []
    if pod.slurm_name:
        evidence = f"{HOSTNAME_LABEL}={pod.slurm_name}"
        keys.append(LinkKey(LinkKind.LENDS, cluster(SLINKY_CLUSTER_LABEL), pod.slurm_name, evidence))
    for kind, label, of in ((LinkKind.SAME, BRIDGE_LABEL, ""), (LinkKind.INSIDE, JOB_LABEL, CLUSTER_LABEL)):
        job_id = pod.labels.get(label)
        if job_id:
            keys.append(LinkKey(kind, cluster(of), job_id, f"{label}={job_id}"))
    if node is not None and node.virtual:
        keys.append(LinkKey(LinkKind.STAND_IN, cluster(""), "", f"node {node.name} has label type=virtual-kubelet"))
    return tuple(keys)


def job_key(cluster: str, namespace: str, root: Root) -> JobKey:
    """A job is its root owner's UID. Where that is not known (its owners may not be read, and a label names it) the id
    is ``namespace/Kind/name``, the same for every pod that names it.
    """
    return JobKey(Scheduler.KUBERNETES, cluster, root.uid or f"{namespace}/{root.kind}/{root.name}")


Held = tuple[int, int | None]
"""``[start, end)``, end None while it lasts."""


def claims_of(
    cluster: str,
    pod: PodFacts,
    root: Root,
    held: Sequence[Portion],
    keys: tuple[LinkKey, ...],
    interval: Held,
    basis: str = "",
    turns: Mapping[str, Held] | None = None,
) -> list[tuple[Claim, str]]:
    """The claims of one pod, each with the UID of the shared ResourceClaim it stands for (empty: the pod's own).

    ``turns``: ResourceClaim UID -> when this pod is the one who holds it; a shared portion without a turn is no claim.
    A pod without GPUs that carries a link key still yields a claim, of 0 milliGPU: it says where a Slurm node or job
    is.
    """
    found: list[tuple[Claim, str]] = []
    if not held and keys:
        held = [Portion(0, "", "")]
    node = NodeKey(Scheduler.KUBERNETES, cluster, pod.node)
    for portion in held:
        when = (turns or {}).get(portion.shared) if portion.shared else interval
        if when is None:
            continue
        alone = len(held) == 1 or not portion.shared
        claim = Claim(
            job=job_key(cluster, pod.namespace, root),
            unit=pod.uid if alone else f"{pod.uid}/{portion.shared}",
            node=node,
            milligpu=portion.milligpu,
            start=when[0],
            end=when[1],
            model=portion.model,
            profile=portion.profile,
            uuids=portion.uuids,
            keys=keys,
            end_basis=basis,
            native_id=f"{pod.namespace}/{pod.name}",
        )
        found.append((claim, portion.shared))
    return found


def hand_over(users: Sequence[tuple[str, Held]], covered: int = 0) -> dict[str, Held]:
    """Which user holds a shared thing when, so that it is held once over the union of the users' intervals.

    ``users`` are (name, interval); before ``covered`` it was held by somebody who is no longer among them. The earliest
    user holds it until its end, then the earliest of those that still use it. Who never holds it is left out.

    >>> hand_over([("a", (11, 47)), ("b", (11, 67))])
    {'a': (11, 47), 'b': (47, 67)}
    """
    turns: dict[str, Held] = {}
    until: int | None = covered
    for name, (start, end) in sorted(users, key=lambda u: (u[1][0], u[0])):
        if until is None:
            break
        begin = max(start, until)
        if end is None or end > begin:
            turns[name] = (begin, end)
            until = end
    return turns


STATES = ("Running", "Pending", "Failed", "Deleted", "Succeeded")


def job_of(
    cluster: str,
    root: Root,
    pods: Sequence[PodFacts],
    phases: Collection[str],
    start: int | None,
    end: int | None,
    requester: str = "",
) -> Job:
    """The job that these pods are. Its labels are the root's, and over them those that all its pods carry.

    ``requester`` is whose namespace it is, where no pod names a user. ``phases`` are those of its pods, ``Deleted`` for
    one that was removed before it ended. Its state is the first that applies of Running, Pending, Failed, Deleted,
    Succeeded.
    """
    first = min(pods, key=lambda p: (p.created, p.uid))
    common = dict(first.labels)
    for pod in pods:
        if pod is not first:
            common = {k: v for k, v in common.items() if pod.labels.get(k) == v}
    native = f"{first.namespace}/{root.kind}/{root.name}"
    return Job(
        key=job_key(cluster, first.namespace, root),
        native_id=native,
        display_id=native,
        name=root.name,
        user=next((p.user for p in pods if p.user), requester),
        account=first.namespace,
        partition=next((p.queue for p in pods if p.queue), ""),
        qos=first.priority,
        kind=root.kind,
        state=next((s for s in STATES if s in phases), "Unknown"),
        submit=first.created if root.created is None else min(root.created, first.created),
        start=start,
        end=end,
        labels={**root.labels, **common},
    )


def wanted(pod: PodFacts, nodes: Collection[NodeFacts], devices: Devices | None) -> int:
    """MilliGPU that a waiting pod asks for. A slice is worth what it is on a node that offers it, or by its profile."""
    total = 0
    for resource, count in pod.requests.items():
        node = next((n for n in nodes if resource in n.pools and n.pools[resource].milligpu), None)
        if node is not None:
            pool = node.pools[resource]
            total += by_part(pool, pod.asked, count, node.memory_gib) if pool.by_part else pool.worth(count)
        elif "/mig-" in resource:
            total += int(count * MILLI_PER_GPU * _weight(resource))
        else:
            total += count * MILLI_PER_GPU
    if pod.part is not None and not pod.part.keeps:
        total += pod.part.devices * (pod.part.milligpu or MILLI_PER_GPU)
    if devices is not None:
        total += sum(devices.asked(pod.namespace, ref.name) for ref in pod.claims) * MILLI_PER_GPU
    return total


def _weight(resource: str) -> Fraction:
    try:
        return mig_weight(resource.partition("/mig-")[2])
    except ValueError:
        return Fraction(1)
