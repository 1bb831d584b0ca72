"""A store of pods with one node, for tests of what ends a claim and how often that is told."""

from __future__ import annotations

from typing import Any

from exporters.model import Claim, Snapshot
from exporters.sources.kubernetes.claims import Root
from exporters.sources.kubernetes.nodes import node_facts
from exporters.sources.kubernetes.pod_facts import HoldFrom, pod_facts
from exporters.sources.kubernetes.watch.entries import Kept
from exporters.sources.kubernetes.watch.snapshot import snapshot
from exporters.sources.kubernetes.watch.store import Store
from tests.lab.kube_fake import iso, node, pod


class World:
    """A store with one node; objects come in as the API serves them, each newer than the one before."""

    def __init__(self, hold_from: HoldFrom = "scheduled", kept: Kept | None = None) -> None:
        self.store = Store("k", hold_from, {}, kept, kept_at=kept.seen if kept else 0.0)
        self.store.nodes["n"] = node_facts(node("n"))
        self.version = 0

    def facts(self, name: str, **more: Any) -> Any:
        self.version += 1
        more.setdefault("node", "n")
        meta = {"resourceVersion": str(self.version), **more.pop("meta", {})}
        return pod_facts(pod(name, meta=meta, **more))

    def put(self, name: str, at: float = 0, **more: Any) -> None:
        self.store.put_pod(self.facts(name, **more), at)

    def drop(self, name: str, at: float, **more: Any) -> None:
        self.store.drop_pod(self.facts(name, **more), at)

    def roots(self) -> None:
        self.store.put_roots({p.uid: Root("Pod", p.name, p.uid, {}) for p in self.store.rootless()})

    def snapshot(self, at: float) -> Snapshot:
        self.roots()
        return snapshot(self.store, at)

    def told(self, at: float = 9000.0) -> dict[str, Claim]:
        self.roots()
        return {c.native_id.removeprefix("lab/"): c for c in snapshot(self.store, at).ended}

    def open(self, at: float = 9000.0) -> dict[str, Claim]:
        self.roots()
        return {c.native_id.removeprefix("lab/"): c for c in snapshot(self.store, at).claims}


def interval(claim: Claim) -> tuple[int, int | None, str]:
    return claim.start, claim.end, claim.end_basis


FINAL = {"deletionTimestamp": iso(1500), "deletionGracePeriodSeconds": 0}
GRACEFUL = {"deletionTimestamp": iso(1530), "deletionGracePeriodSeconds": 30}


def restarted(world: World) -> World:
    world.roots()
    snapshot(world.store, 2000.0)
    return World(world.store.hold_from, world.store.kept())


def sharing(world: World) -> World:
    """A card that pods of the lab use through ResourceClaim ``c``."""
    device = {"name": "gpu-0", "attributes": {"type": {"string": "gpu"}, "uuid": {"string": "GPU-0"}}}
    spec = {"driver": "gpu.nvidia.com", "nodeName": "n", "pool": {"name": "n"}, "devices": [device]}
    results = [{"driver": "gpu.nvidia.com", "pool": "n", "device": "gpu-0"}]
    meta = {"name": "c", "namespace": "lab", "uid": "cu"}
    world.store.devices.put_slice({"metadata": {"name": "s"}, "spec": spec})
    world.store.devices.put_claim({"metadata": meta, "status": {"allocation": {"devices": {"results": results}}}})
    return world
