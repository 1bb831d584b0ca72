"""What the pods and nodes of a hostile site do, and what the API server and a watch of it tell of that.

The objects are as Kubernetes 1.36 writes them. The watch is a fake that hands events to the handlers of the source: at
once while it is connected, later or never otherwise; a list is compared with what was known, as after 410 Gone. The
source's store, its handlers and its snapshots are those of production, also what it keeps over a restart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from exporters.model import Scheduler, Snapshot
from exporters.sources.base import Source, SourceError
from exporters.sources.kubernetes.claims import Root
from exporters.sources.kubernetes.watch.entries import Kept
from exporters.sources.kubernetes.watch.handlers import NodeHandler, PodHandler
from exporters.sources.kubernetes.watch.snapshot import snapshot
from exporters.sources.kubernetes.watch.store import Store
from tests.hostile.truth import START, TICK, Held, Truth, kube_key

Raw = dict[str, Any]
HAMI = "GPU-1,10,81920,100,NVIDIA-H100,0,true:GPU-2,10,81920,100,NVIDIA-H100,0,true:"
H100 = "NVIDIA-H100-80GB-HBM3"


@dataclass(frozen=True)
class Scheme:
    """How a node's cards are given out: each in ``parts`` slots of ``resource``. ``cores``: a slot is what a pod asks
    of it, in percent.
    """

    resource: str
    cards: int
    parts: int = 1
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    cores: bool = False

    @property
    def tells_cards(self) -> bool:
        """Whether labels tell the cards while no plugin offers any; those of MIG's single strategy count slices."""
        return "nvidia.com/gpu.count" in self.labels and "-MIG-" not in self.labels["nvidia.com/gpu.product"]


def _gfd(product: str, count: int, **more: str) -> dict[str, str]:
    return {"nvidia.com/gpu.product": product, "nvidia.com/gpu.count": str(count), **more}


SCHEMES = {
    "whole": Scheme("nvidia.com/gpu", 8, labels=_gfd(H100, 8)),
    "unlabelled": Scheme("nvidia.com/gpu", 4),
    "sliced": Scheme(
        "nvidia.com/gpu", 2, 4,
        _gfd(f"{H100}-SHARED", 2) | {"nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.sharing-strategy": "time-slicing"},
    ),
    "renamed": Scheme(
        "nvidia.com/gpu.shared", 2, 3,
        _gfd(H100, 2) | {"nvidia.com/gpu.replicas": "3", "nvidia.com/gpu.sharing-strategy": "mps"},
    ),
    "gke": Scheme(
        "nvidia.com/gpu", 1, 4,
        {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4", "cloud.google.com/gke-max-shared-clients-per-gpu": "4"},
    ),
    "mig-single": Scheme(
        "nvidia.com/gpu", 2, 7,
        _gfd(f"{H100}-MIG-1g.10gb", 14) | {"nvidia.com/mig.strategy": "single", "nvidia.com/gpu.memory": "9728"},
    ),
    "mig-mixed": Scheme("nvidia.com/mig-3g.40gb", 2, 2, _gfd(H100, 2) | {"nvidia.com/mig.strategy": "mixed"}),
    "cpx": Scheme(
        "amd.com/gpu", 2, 8,
        {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "amd.com/compute-partitioning": "cpx"},
    ),
    "hami": Scheme("nvidia.com/gpu", 2, 10, _gfd(H100, 2), {"hami.io/node-nvidia-register": HAMI}, cores=True),
}  # fmt: skip


def iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(eq=False)
class Pod:
    """A pod: bound at ``bound``, running since ``started``, ``parts`` of a card's parts in its hands.

    ``phase`` and ``reason`` are as the kubelet writes them, ``rejected``: it has dropped what it had written before.
    """

    name: str
    uid: str
    node: str
    count: int
    cores: int
    created: int
    bound: int
    started: int | None = None
    finished: int | None = None
    phase: str = "Pending"
    reason: str = ""
    rejected: bool = False
    held: Held | None = None

    def raw(self, scheme: Scheme) -> Raw:
        wants = {scheme.resource: str(self.count)}
        if scheme.cores:
            wants["nvidia.com/gpucores"] = str(self.cores)
        status: Raw = {"phase": self.phase}
        if self.reason:
            status |= {"reason": self.reason, "message": "Pod was rejected" if self.rejected else "node was low"}
        if not self.rejected:
            status["conditions"] = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(self.bound)}]
            if self.started is not None:
                began = {"startedAt": iso(self.started)}
                over = {"terminated": {**began, "finishedAt": iso(self.finished or 0), "exitCode": 0}}
                state = {"running": began} if self.finished is None else over
                status["containerStatuses"] = [{"name": "c", "restartCount": 0, "state": state}]
        return {
            "metadata": {
                "name": self.name, "namespace": "team", "uid": self.uid, "creationTimestamp": iso(self.created),
            },
            "spec": {
                "nodeName": self.node,
                "containers": [{"name": "c", "resources": {"limits": wants, "requests": wants}}],
            },
            "status": status,
        }  # fmt: skip


@dataclass
class ApiServer:
    """Objects, and all that was ever told of pods; ``away`` are nodes whose device plugin offers nothing now."""

    truth: Truth
    nodes: dict[str, Scheme]
    pods: dict[str, Pod] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    cordoned: set[str] = field(default_factory=set)
    log: list[tuple[int, str, Raw, int]] = field(default_factory=list)
    version: int = 100

    def node(self, name: str) -> Raw:
        scheme = self.nodes[name]
        slots = "0" if name in self.away else str(scheme.cards * scheme.parts)
        return {
            "metadata": {
                "name": name, "uid": f"node-{name}", "labels": scheme.labels, "annotations": scheme.annotations,
            },
            "spec": {"unschedulable": True} if name in self.cordoned else {},
            "status": {
                "capacity": {"cpu": "64", scheme.resource: slots},
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "Hostname", "address": name}],
            },
        }  # fmt: skip

    def tell(self, kind: str, pod: Pod, at: int, **meta: Any) -> None:
        """An event of a pod."""
        self.version += 1
        raw = json.loads(json.dumps(pod.raw(self.nodes[pod.node])))
        raw["metadata"] |= {"resourceVersion": str(self.version), **meta}
        self.log.append((self.version, kind, raw, at))

    def untold(self) -> set[str]:
        """Nodes of which nothing tells the cards now."""
        return {name for name in self.away if not self.nodes[name].tells_cards}

    def listed(self) -> list[Raw]:
        last: dict[str, Raw] = {raw["metadata"]["uid"]: raw for _, _, raw, _ in self.log}
        return [last[uid] for uid in self.pods]

    def room(self, node: str, count: int, cores: int) -> tuple[int, Fraction] | None:
        """A card with room for so many of its parts (whole cards: their number), and how much that is of a card."""
        scheme = self.nodes[node]
        here = [h for h in self.truth.held if h.machine == node and h.end is None]
        part = Fraction(cores, 100) if scheme.cores else Fraction(count, scheme.parts)
        if scheme.parts == 1:
            return (0, Fraction(count)) if count <= len(self.truth.free(node, self.truth.now)) else None
        for card in range(scheme.cards):
            taken = [h for h in here if card in h.cards]
            full = scheme.cores and len(taken) >= scheme.parts
            if not full and sum(h.milligpu for h in taken) + 1000 * part <= 1000:
                return card, part
        return None


class Watched(Source):
    """The source of production, but for the connection. ``cut``: it hears of nothing, and polls fail."""

    name = "pods"
    scheduler: Scheduler | None = Scheduler.KUBERNETES
    interval = TICK

    def __init__(self, api: ApiServer) -> None:
        self.api, self.cluster, self.cut = api, "kube", False
        self.at = float(START)
        self.kept, self.saved = Kept(), 0
        self.start(resume=False)

    def start(self, *, resume: bool, gone: bool = False) -> None:
        """A new process; what an earlier one kept, it goes on from. ``gone``: the server has forgotten that place."""
        kept = self.kept if resume else Kept()
        self.store = Store("kube", "scheduled", kept=kept, kept_at=kept.seen)
        self.store.dra = False
        self.pods, self.nodes = PodHandler(self.store, lambda: self.at), NodeHandler(self.store, lambda: self.at)
        self.read = self.saved if resume and kept.seen and not gone else 0
        self.fresh = True

    def hear(self) -> None:
        """What has happened is told at once, when it happens."""
        if not self.cut and not self.fresh:
            self._catch_up(late=False)

    def _catch_up(self, *, late: bool) -> None:
        for version, kind, raw, at in self.api.log:
            if version > self.read:
                self.at = self.api.truth.now if late else at
                facts = self.pods.reduce(raw)
                if facts is not None:
                    self.pods.change(kind, facts)
                self.read = version

    def connect(self, *, gone: bool = False) -> None:
        """The watch is opened again where it was cut, or, where that is gone, all is listed."""
        self.at = self.api.truth.now
        self.nodes.replace([self.api.node(name) for name in self.api.nodes])
        if gone or self.fresh:
            since, self.read = self.read, self.api.version
            self.pods.replace([facts for raw in self.api.listed() if (facts := self.pods.reduce(raw)) is not None])
            if self.fresh and since and not gone:
                self.read = since
                self.pods.behind()
                self._catch_up(late=True)
        else:
            self.pods.behind()
            self._catch_up(late=True)
        self.pods.caught_up()
        self.cut = self.fresh = False

    def poll(self, now: float) -> Snapshot:
        """As `exporters.sources.kubernetes.pods.Pods.poll`."""
        if self.cut:
            raise SourceError("https://kube: the API server cannot be reached")
        if self.fresh:
            self.connect()
        self.at = now
        self.store.put_roots({f.uid: Root("Pod", f.name, f.uid, f.labels, f.created) for f in self.store.rootless()})
        before = self.read
        found = snapshot(self.store, now)
        self.kept, self.saved = replace(self.store.kept()), before
        self.api.truth.shows(self.api.nodes.keys() - self.api.untold())
        self.api.truth.known |= {c.job for c in (*found.claims, *found.ended)}
        return found

    def acknowledge(self, at: float) -> None:
        self.store.acknowledge(at)
        self.kept = self.store.kept()

    def node_changed(self, name: str) -> None:
        if not self.cut and not self.fresh:
            self.at = self.api.truth.now
            self.nodes.change("MODIFIED", self.api.node(name))


def job_of(pod: Pod) -> Any:
    return kube_key(pod.uid)
