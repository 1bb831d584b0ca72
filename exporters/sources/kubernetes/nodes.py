"""A Kubernetes node: which pools of GPU slots it has, and whether it takes work. Pure.

What a slot is worth is `exporters.sources.kubernetes.slots.schemes`. Capacity is not what is offered this second: a
device plugin that restarts leaves the node without a single slot while its pods keep their cards, so the node keeps
what it had (`NodeFacts.after`), or what its labels tell, and takes no work until the plugin is back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from exporters.model import MILLI_PER_GPU, Node, NodeKey, Scheduler
from exporters.sources.kubernetes.raw import Raw, items, part, texts
from exporters.sources.kubernetes.slots.resources import NO_RULES, Resources
from exporters.sources.kubernetes.slots.schemes import Offer, SlotPool, plain_model, pools_of
from exporters.sources.shares import card_memory_gib

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
class NodeFacts:
    """What a node object says.

    ``pools`` maps a resource name to its slots; ``cards`` is how many a label tells, 0 where none does.
    ``shares``: its labels say that plain slots are parts of cards. ``memory_gib`` is that of one card, 0 unknown.
    ``away``: it has cards, and no device plugin offers any right now. ``unmetered`` are resources that look like cards
    and have no rule. ``virtual`` is a virtual-kubelet node, which has no cards of its own; ``problems`` are sentences
    for people.
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
    shares: bool = False
    memory_gib: float = 0.0
    away: bool = False
    unmetered: Mapping[str, int] = field(default_factory=dict)

    def after(self, before: NodeFacts | None) -> NodeFacts:
        """What is known of the node now, ``before`` being what was: slots that no plugin offers any more are away."""
        if self.pools or self.virtual or before is None or not before.pools:
            return self
        return replace(self, pools=before.pools, model=self.model or before.model, away=True)


def node_facts(raw: Raw, rules: Resources = NO_RULES) -> NodeFacts:
    """Read one node object. Raises ValueError when it has no name or a capacity that is no number."""
    name = str(part(raw, "metadata").get("name") or "")
    if not name:
        raise ValueError("a node without metadata.name")
    labels = texts(raw, "metadata", "labels")
    up, reason = _state(raw)
    product = next((labels[key] for key in _MODEL_LABELS if labels.get(key)), "")
    virtual = labels.get("type") == "virtual-kubelet"
    offer = Offer(name, product, labels, texts(raw, "metadata", "annotations"))
    capacity: Raw = {} if virtual else part(raw, "status", "capacity")
    pools, problems = pools_of(offer, rules.counts(capacity), rules)
    return NodeFacts(
        name=name,
        model=plain_model(product),
        pools=pools,
        cards=0 if virtual else offer.cards,
        up=up,
        reason=reason,
        hostnames=_hostnames(raw, labels),
        virtual=virtual,
        problems=tuple(problems),
        shares=offer.shares,
        memory_gib=offer.memory_gib or card_memory_gib(product),
        unmetered=rules.unmetered(capacity),
    )


def nodes_of(cluster: str, facts: NodeFacts, devices: Mapping[str, int]) -> list[Node]:
    """The node's capacity, one `Node` per GPU model; ``devices`` are milliGPU per model offered through DRA.

    Where a device plugin and DRA offer the same cards, the labels' count is the limit. Where neither offers any, the
    node has the cards that its labels tell, and is down: nobody can be given one.
    """
    per_model: dict[str, int] = {}
    for pool in facts.pools.values():
        if pool.milligpu:
            model = pool.model or facts.model
            per_model[model] = per_model.get(model, 0) + pool.milligpu
    plugin = sum(per_model.values())
    for model, milligpu in () if facts.virtual else devices.items():
        per_model[model] = per_model.get(model, 0) + milligpu
    limit = max(facts.cards * MILLI_PER_GPU, plugin, sum(devices.values()))
    if facts.cards and len(per_model) == 1:
        per_model = {model: min(milligpu, limit) for model, milligpu in per_model.items()}
    up, reason, away = facts.up, facts.reason, facts.away and not devices
    if not per_model and facts.cards and not facts.unmetered:
        per_model, away = {facts.model: facts.cards * MILLI_PER_GPU}, True
    if away and up:
        up, reason = False, f"no device plugin offers its {sum(per_model.values()) / MILLI_PER_GPU:g} cards"
    key = NodeKey(Scheduler.KUBERNETES, cluster, facts.name)
    return [
        Node(key, milligpu, up, model, reason, facts.hostnames)
        for model, milligpu in sorted(per_model.items() or ((facts.model, 0),))
    ]


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
