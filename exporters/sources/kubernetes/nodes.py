"""A Kubernetes node: which pools of GPU slots it has, what a slot is worth, and whether it takes work. Pure.

A resource's slots are worth the cards behind them. Whole cards are their own slots. For slices and replicas the cards
come from GPU Feature Discovery's labels (``nvidia.com/gpu.count``, ``.replicas``, ``nvidia.com/mig-<profile>.count``):
a node with 8 cards and 16 ``nvidia.com/gpu.shared`` shares 8000 milliGPU among 16 slots; a node with 8 cards of which 4
are whole shares the other 4000 among its MIG slots by `exporters.sources.shares`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from exporters.model import MILLI_PER_GPU, Node, NodeKey, Scheduler
from exporters.sources.kubernetes.raw import Raw, gpu_counts, items, number, part, texts
from exporters.sources.shares import (
    by_count,
    cards_needed,
    compute_slices,
    divide_cards,
    instances_per_card,
    mig_weight,
)
from exporters.sources.shares import card_memory_gib as memory_in_name

SHARED = "shared"
"""The profile of time-sliced (and MPS) replicas of whole cards."""

NODENAME_LABEL = "slinky.slurm.net/slurm-nodename"
_MODEL_LABELS = ("nvidia.com/gpu.product", "amd.com/gpu.product-name", "cloud.google.com/gke-accelerator")
_DOWN_TAINTS = {
    "node.kubernetes.io/not-ready": "not ready",
    "node.kubernetes.io/unreachable": "unreachable",
    "node.kubernetes.io/unschedulable": "cordoned",
    "node.kubernetes.io/out-of-service": "out of service",
    "node.kubernetes.io/network-unavailable": "network unavailable",
    "node.cloudprovider.kubernetes.io/uninitialized": "not initialized",
    "node.cloudprovider.kubernetes.io/shutdown": "shut down",
    "ToBeDeletedByClusterAutoscaler": "to be deleted by the cluster autoscaler",
}


@dataclass(frozen=True, slots=True)
class SlotPool:
    """``slots`` equal slots of one resource that share ``milligpu`` (0: nothing tells of the cards behind)."""

    slots: int
    milligpu: int
    profile: str = ""

    def worth(self, count: int) -> int:
        """MilliGPU of ``count`` slots."""
        return by_count(self.milligpu, self.slots, count)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node object says. ``pools`` maps a resource name to its slots; ``cards`` is GFD's card count, 0 unknown.

    ``virtual`` is a virtual-kubelet node, which has no cards of its own; ``problems`` are sentences for people.
    """

    name: str
    model: str
    pools: Mapping[str, SlotPool]
    cards: int
    up: bool
    reason: str
    hostnames: tuple[str, ...]
    virtual: bool = False
    problems: tuple[str, ...] = field(default=())


def node_facts(raw: Raw) -> NodeFacts:
    """Read one node object. Raises ValueError when it has no name or a capacity that is no number."""
    name = str(part(raw, "metadata").get("name") or "")
    if not name:
        raise ValueError("a node without metadata.name")
    labels = texts(raw, "metadata", "labels")
    up, reason = _state(raw)
    product = next((labels[key] for key in _MODEL_LABELS if labels.get(key)), "")
    virtual = labels.get("type") == "virtual-kubelet"
    pools, problems = ({}, ()) if virtual else _pools(name, product, labels, part(raw, "status", "capacity"))
    return NodeFacts(
        name=name,
        model=plain_model(product),
        pools=pools,
        cards=0 if single_profile(product) else number(labels.get("nvidia.com/gpu.count")),
        up=up,
        reason=reason,
        hostnames=_hostnames(raw, labels),
        virtual=virtual,
        problems=problems,
    )


def plain_model(product: str) -> str:
    """The card's model without what GPU Feature Discovery appends for sharing and for MIG's single strategy."""
    return product.partition("-MIG-")[0].removesuffix("-SHARED").replace(" ", "-")


def single_profile(product: str) -> str:
    """The MIG profile of a node whose every card is cut the same way (strategy *single*), else empty."""
    return product.partition("-MIG-")[2].removesuffix("-SHARED")


def nodes_of(cluster: str, facts: NodeFacts, devices: Mapping[str, int]) -> list[Node]:
    """The node's capacity, one `Node` per GPU model; ``devices`` are milliGPU per model offered through DRA.

    Where a device plugin and DRA offer the same cards, GPU Feature Discovery's count is the limit.
    """
    per_model: dict[str, int] = {}
    plugin = sum(pool.milligpu for pool in facts.pools.values())
    if plugin:
        per_model[facts.model] = plugin
    for model, milligpu in () if facts.virtual else devices.items():
        per_model[model] = per_model.get(model, 0) + milligpu
    limit = max(facts.cards * MILLI_PER_GPU, plugin, sum(devices.values()))
    if facts.cards and len(per_model) == 1:
        per_model = {model: min(milligpu, limit) for model, milligpu in per_model.items()}
    key = NodeKey(Scheduler.KUBERNETES, cluster, facts.name)
    return [
        Node(key, milligpu, facts.up, model, facts.reason, facts.hostnames)
        for model, milligpu in sorted(per_model.items() or ((facts.model, 0),))
    ]


def _pools(
    name: str, product: str, labels: Mapping[str, str], capacity: Raw
) -> tuple[dict[str, SlotPool], tuple[str, ...]]:
    """Slots and their worth per resource, and what could not be told."""
    counts = gpu_counts(capacity)
    cards = number(labels.get("nvidia.com/gpu.count"))
    replicas = max(1, number(labels.get("nvidia.com/gpu.replicas")))
    pools: dict[str, SlotPool] = {}
    problems: list[str] = []
    mig: list[str] = []
    for resource, slots in sorted(counts.items()):
        vendor, _, kind = resource.partition("/")
        if kind.startswith("mig-"):
            mig.append(resource)
        elif vendor == "nvidia.com" and single_profile(product):
            pools[resource] = _single(product, slots, replicas)
        elif kind.endswith(".shared") or (replicas > 1 and vendor == "nvidia.com"):
            physical = slots // replicas if replicas > 1 else cards
            if not physical:
                problems.append(
                    f"node {name} offers {slots} {resource} and has no nvidia.com/gpu.replicas or nvidia.com/gpu.count "
                    "label: run GPU Feature Discovery, or its shares cannot be told"
                )
            pools[resource] = SlotPool(slots, physical * MILLI_PER_GPU, SHARED)
        else:
            pools[resource] = SlotPool(slots, slots * MILLI_PER_GPU)
    used = sum(pool.milligpu for pool in pools.values()) // MILLI_PER_GPU
    pools.update(_mig(mig, counts, labels, product, cards - used))
    return pools, tuple(problems)


def _single(product: str, slots: int, replicas: int) -> SlotPool:
    """MIG strategy *single*: ``nvidia.com/gpu`` counts instances, and every card is cut the same way."""
    profile, model = single_profile(product), plain_model(product)
    fit = instances_per_card(profile, slices=compute_slices(model), memory_gib=memory_in_name(model))
    instances = slots // replicas
    return SlotPool(slots, -(-instances // fit) * MILLI_PER_GPU, profile)


def _mig(
    resources: Iterable[str], counts: Mapping[str, int], labels: Mapping[str, str], product: str, cards: int
) -> dict[str, SlotPool]:
    """MIG strategy *mixed*: the cards that are not whole are shared by all slices on them, by weight."""
    resources = list(resources)
    if not resources:
        return {}
    slices = compute_slices(product)
    memory = number(labels.get("nvidia.com/gpu.memory")) / 1024 or memory_in_name(product)
    weights: list[Fraction] = []
    instances: list[int] = []
    profiles: list[str] = []
    for resource in resources:
        base = resource.removesuffix(".shared")
        profile = base.partition("/mig-")[2]
        replicas = max(1, number(labels.get(f"{base}.replicas")))
        profiles.append(profile)
        weights.append(mig_weight(profile, slices=slices, memory_gib=memory))
        instances.append(max(1, counts[resource] // replicas))
    if cards <= 0:
        cards = cards_needed([w * n for w, n in zip(weights, instances, strict=True)])
    shares = divide_cards(cards, weights, instances)
    return {
        resource: SlotPool(counts[resource], share, profile)
        for resource, share, profile in zip(resources, shares, profiles, strict=True)
    }


def _state(raw: Raw) -> tuple[bool, str]:
    """Whether the node takes work, and why not, in its own words."""
    reasons: list[str] = []
    said: set[str] = set()  # what the taints would only repeat
    ready = next((c for c in items(raw, "status", "conditions") if c.get("type") == "Ready"), {})
    if ready.get("status") != "True":
        why = ": ".join(str(ready[k]) for k in ("reason", "message") if ready.get(k)) or "no Ready condition"
        reasons.append(f"not ready ({why})")
        said |= {"not ready", "unreachable"}
    if part(raw, "spec").get("unschedulable"):
        reasons.append("cordoned")
        said.add("cordoned")
    for taint in items(raw, "spec", "taints"):
        word = _DOWN_TAINTS.get(str(taint.get("key")))
        if word and word not in said and taint.get("effect") != "PreferNoSchedule":
            reasons.append(word)
            said.add(word)
    return not reasons, "; ".join(reasons)


def _hostnames(raw: Raw, labels: Mapping[str, str]) -> tuple[str, ...]:
    names = [labels.get(NODENAME_LABEL), labels.get("kubernetes.io/hostname")]
    addresses = items(raw, "status", "addresses")
    names += [str(a.get("address") or "") for a in addresses if a.get("type") in ("Hostname", "InternalDNS")]
    return tuple(dict.fromkeys(name for name in names if name))
