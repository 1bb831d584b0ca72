"""What kube-state-metrics' samples say of pods and nodes in the past. Pure.

Exactness: a pod's start is the very second that kube-state-metrics exports (bound, or first container started), its end
the second its last container finished. Where those were not exported, they are the first and the last scrape that
showed the pod: a start at most a scrape interval late, an end at most one early. Nothing is held that no sample shows.

What a slot is worth and which keys a pod carries is read by the very rules of the live side
(`exporters.sources.kubernetes`): the samples are put back into the objects that they were taken from, as far as
kube-state-metrics was told to export them (``--metric-labels-allowlist``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from exporters.model import MILLI_PER_GPU, Claim, Job, JobKey, LinkKey, NodeKey, Record, Reject, Scheduler
from exporters.sources.kubernetes.claims import link_keys
from exporters.sources.kubernetes.nodes import NodeFacts, node_facts
from exporters.sources.kubernetes.pod_facts import pod_facts
from exporters.sources.shares import mig_weight

SOURCE = "kube-state-metrics"
RECOVERED, SAMPLED = "recovered", "recovered by sampling"
"""What ended a claim: told to the second afterwards, or bounded by the last scrape that showed the pod."""

WHOLE = ("nvidia_com_gpu", "amd_com_gpu")
POD_LABELS = (
    "scheduler.slinky.slurm.net/slurm-jobid",
    "meterbridge.io/slurm-job-id",
    "meterbridge.io/slurm-cluster",
    "slinky.slurm.net/cluster",
    "nodeset.slinky.slurm.net/pod-hostname",
    "nodeset.slinky.slurm.net/scaling-mode",
    "app.kubernetes.io/name",
    "app.kubernetes.io/managed-by",
)
"""What ties a pod to Slurm."""

NODE_LABELS = (
    "type",
    "nvidia.com/gpu.count",
    "nvidia.com/gpu.memory",
    "nvidia.com/gpu.product",
    "nvidia.com/gpu.replicas",
    "amd.com/gpu.product-name",
    "cloud.google.com/gke-accelerator",
    "cloud.google.com/gke-gpu-partition-size",
    "cloud.google.com/gke-max-shared-clients-per-gpu",
    "amd.com/compute-memory-partition",
)
"""What tells the cards behind a node's slots."""

_MIG = re.compile(r"nvidia_com_mig_(?P<profile>\w+?)(?P<shared>_shared)?")
Spans = Sequence[tuple[int, int]]


@dataclass
class PodPast:
    """One pod as its series tell it; times are epoch seconds. ``first`` and ``last`` are scrapes that showed it."""

    namespace: str
    name: str
    uid: str
    node: str = ""
    requests: dict[tuple[str, str, bool], int] = field(default_factory=dict)  # container, resource, init -> count
    first: int = 0
    last: int = 0
    scheduled: int | None = None
    started: int | None = None
    completed: int | None = None
    ended_seen: int | None = None
    owners: list[tuple[str, str]] = field(default_factory=list)  # kind and name, from the pod's own to the root
    cards: set[str] = field(default_factory=set)
    labels: Mapping[str, str] = field(default_factory=dict)


def labels_of(series: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Kubernetes' own labels out of those that kube-state-metrics makes of them, where it exports them.

    >>> labels_of({"label_nvidia_com_gpu_count": "8", "node": "gn01"}, NODE_LABELS)
    {'nvidia.com/gpu.count': '8'}
    """
    told = {name: series.get("label_" + re.sub(r"\W", "_", name), "") for name in names}
    return {name: value for name, value in told.items() if value}


def resource_name(told: str) -> str:
    """Kubernetes' name of a resource, in which kube-state-metrics writes _ for all that is no letter or digit.

    >>> [resource_name(r) for r in ("nvidia_com_gpu_shared", "nvidia_com_mig_3g_40gb", "amd_com_cpx_nps4")]
    ['nvidia.com/gpu.shared', 'nvidia.com/mig-3g.40gb', 'amd.com/cpx_nps4']
    """
    if mig := _MIG.fullmatch(told):
        shared = ".shared" if mig["shared"] else ""
        return f"nvidia.com/mig-{mig['profile'].replace('_', '.')}{shared}"
    vendor, _, kind = told.partition("_com_")
    if vendor == "amd":  # its partitions have an underscore of their own
        return f"amd.com/{kind}"
    return f"{vendor}.com/{kind.replace('_', '.')}"


def node_past(name: str, labels: Mapping[str, str], capacity: Mapping[str, int]) -> NodeFacts:
    """A node as the live side would have read it; ``capacity`` by kube-state-metrics' names of resources."""
    slots = {resource_name(resource): str(count) for resource, count in capacity.items()}
    return node_facts({"metadata": {"name": name, "labels": dict(labels)}, "status": {"capacity": slots}})


def keys_of(pod: PodPast, node: NodeFacts | None, slurm_clusters: Mapping[str, str]) -> tuple[LinkKey, ...]:
    """The keys to Slurm that the pod's labels carry."""
    if not pod.labels and (node is None or not node.virtual):
        return ()
    meta = {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "labels": dict(pod.labels)}
    born = {"creationTimestamp": "1970-01-01T00:00:00Z"}  # its start is told by other samples
    facts = pod_facts({"metadata": meta | born, "spec": {"nodeName": pod.node}})
    return link_keys(facts, node, slurm_clusters)


def counts(pod: PodPast) -> dict[str, int]:
    """The pod's effective request per resource: the larger of its init containers' and the sum of the others'."""
    plain: dict[str, int] = {}
    init: dict[str, int] = {}
    for (_, resource, is_init), count in pod.requests.items():
        if is_init:
            init[resource] = max(init.get(resource, 0), count)
        else:
            plain[resource] = plain.get(resource, 0) + count
    return {r: max(plain.get(r, 0), init.get(r, 0)) for r in sorted(plain.keys() | init.keys())}


def worth(resource: str, count: int, node: NodeFacts | None = None) -> tuple[int, str]:
    """MilliGPU and profile of so many of a resource: what the node's slots are worth, as live.

    Of a node whose capacity was not exported it is what the name tells; raises ValueError where that is not enough.
    """
    pool = node.pools.get(resource_name(resource)) if node is not None else None
    if pool is not None and pool.milligpu:
        return pool.worth(count), pool.profile
    if resource in WHOLE:
        return count * MILLI_PER_GPU, ""
    profile = resource.partition("_com_mig_")[2].replace("_", ".")  # kube-state-metrics writes _ for . - and /
    if not profile:
        raise ValueError(f"its past does not tell how many cards are behind {resource}; only whole cards and MIG do")
    return int(count * MILLI_PER_GPU * mig_weight(profile)), profile


def record_of(
    pod: PodPast,
    cluster: str,
    seen: Spans,
    *,
    hold_from: Literal["scheduled", "started"],
    raw: str,
    node: NodeFacts | None = None,
    slurm_clusters: Mapping[str, str] | None = None,
) -> Record | Reject | None:
    """What a pod held; None when it never had a node. ``seen`` is when there were scrapes, ``node`` what that had."""
    if not pod.node:
        return None
    held, profiles = 0, []
    try:
        for resource, count in counts(pod).items():
            milligpu, profile = worth(resource, count, node)
            held += milligpu
            profiles += [profile] if profile else []
    except ValueError as e:
        return Reject(SOURCE, raw, f"pod {pod.namespace}/{pod.name}: {e}", float(pod.last))
    told = pod.scheduled if hold_from == "scheduled" else pod.started
    start = pod.first if told is None else told
    end, basis = ending(pod, seen)
    kind, name = pod.owners[-1] if pod.owners else ("Pod", pod.name)
    native = f"{pod.namespace}/{kind}/{name}"
    key = JobKey(Scheduler.KUBERNETES, cluster, native if pod.owners else pod.uid)
    state = "Running" if end is None else "Succeeded"
    job = Job(key, native, native, name, "", pod.namespace, "", kind=kind, state=state, start=start, end=end)
    if held == 0:
        return Record(SOURCE, raw, job, excluded="no gpu")
    claim = Claim(
        key,
        pod.uid,
        NodeKey(Scheduler.KUBERNETES, cluster, pod.node),
        held,
        start,
        end if end is None else max(start, end),
        node.model if node is not None else "",
        profile="+".join(profiles),
        uuids=tuple(sorted(pod.cards)) if len(pod.cards) * MILLI_PER_GPU == held else (),
        keys=keys_of(pod, node, slurm_clusters or {}),
        end_basis=basis,
        native_id=f"{pod.namespace}/{pod.name}",
    )
    return Record(SOURCE, raw, job, (claim,), pending=end is None)


def ending(pod: PodPast, seen: Spans) -> tuple[int | None, str]:
    """When a pod's cards were free again, and how that is known; None while the last scrape still showed it."""
    if pod.completed is not None:
        return pod.completed, RECOVERED
    if pod.ended_seen is not None:
        return pod.ended_seen, SAMPLED
    if not seen or pod.last >= seen[-1][1]:
        return None, ""
    return pod.last, SAMPLED


def spans(scrapes: Sequence[int], hole: float) -> list[tuple[int, int]]:
    """Stretches over which there was a scrape at least every ``hole`` seconds.

    >>> spans([0, 30, 60, 400, 430], 75)
    [(0, 60), (400, 430)]
    """
    found: list[tuple[int, int]] = []
    for at in sorted(set(scrapes)):
        if found and at - found[-1][1] <= hole:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
    return found


def within(some: Spans, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of ``some`` that lie in ``[start, end)``."""
    for a, b in some:
        if max(a, start) < min(b, end):
            yield max(a, start), min(b, end)


def root_of(
    owner: tuple[str, str], namespace: str, above: Mapping[tuple[str, str, str], tuple[str, str]]
) -> list[tuple[str, str]]:
    """A pod's owners from its own to the root. ``above``: (namespace, kind, name) -> the owner's kind and name."""
    chain = [owner]
    while (up := above.get((namespace, *chain[-1]))) is not None and up not in chain:
        chain.append(up)
    return chain
