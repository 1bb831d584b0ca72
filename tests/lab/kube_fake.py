"""A small Kubernetes API server in memory, for what no recording holds: resourceVersions, paged lists, resumable
watches, 410 for what was compacted away, refusals and broken connections on demand. It validates nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from tests.lab.kube_http import CUT, HttpError, KubeHttp, Query, status_object

Object = dict[str, Any]

POD_PATH = "/api/v1/pods"
NODE_PATH = "/api/v1/nodes"
NAMESPACE_PATH = "/api/v1/namespaces"
CLAIM_PATH = "/apis/resource.k8s.io/v1/resourceclaims"
SLICE_PATH = "/apis/resource.k8s.io/v1/resourceslices"


class KubeFake(KubeHttp):
    """``put`` and ``remove`` objects; a watch sees it at once. ``dra`` False: the server has no resource.k8s.io."""

    def __init__(self, *, dra: bool = True) -> None:
        super().__init__()
        self.change = threading.Condition()
        self.version = 100
        self.compacted = 0
        self.objects: dict[str, dict[str, Object]] = {POD_PATH: {}, NODE_PATH: {}, NAMESPACE_PATH: {}}
        if dra:
            self.objects |= {CLAIM_PATH: {}, SLICE_PATH: {}}
        self.others: dict[str, Object] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        self.open = 0
        self._events: dict[str, list[tuple[int, bytes]]] = {path: [] for path in self.objects}
        self._cuts = 0
        self._hooks: list[Callable[[str, Query], None]] = []

    def put(self, path: str, obj: Object) -> None:
        """Create or replace an object (by its uid, or by its name where it has none)."""
        with self.change:
            self.version += 1
            obj = json.loads(json.dumps(obj))
            obj["metadata"]["resourceVersion"] = str(self.version)
            key = _key(obj)
            kind = "MODIFIED" if key in self.objects[path] else "ADDED"
            self.objects[path][key] = obj
            self._event(path, kind, obj)

    def remove(self, path: str, obj: Object, **meta: Any) -> None:
        """Delete an object; the event carries ``obj`` as its last state, with ``meta`` set in its metadata."""
        with self.change:
            self.version += 1
            self.objects[path].pop(_key(obj))
            last = json.loads(json.dumps(obj))
            last["metadata"] |= {"resourceVersion": str(self.version), **meta}
            self._event(path, "DELETED", last)

    def send(self, path: str, line: bytes) -> None:
        """Put raw bytes on the open watches of a collection (once: it is not part of the history)."""
        with self.change:
            self._events[path].append((0, line))
            self.change.notify_all()

    def bookmark(self, path: str) -> None:
        """Tell the watches of a collection how far the server is, as the real one does: with nulls."""
        obj = {"kind": "Pod", "metadata": {"resourceVersion": str(self.version)}, "spec": {"containers": None}}
        self.send(path, json.dumps({"type": "BOOKMARK", "object": obj}).encode() + b"\n")

    def cut(self) -> None:
        """Break all open watches."""
        with self.change:
            self._cuts += 1
            self.change.notify_all()

    def compact(self) -> None:
        """Forget history: watches from before now get 410."""
        with self.change:
            self.compacted = self.version

    def refuse(self, path: str, status: int = 403, message: str = "forbidden: no such right") -> None:
        """Answer requests for a path with an error from now on."""
        self.refused[path] = (status, message)

    def wait_for_watch(self, count: int, timeout: float = 5.0) -> None:
        """Wait until so many watches are open."""
        with self.change:
            assert self.change.wait_for(lambda: self.open >= count, timeout), f"{self.open} of {count} watches are open"

    def get(self, path: str, query: Query) -> bytes | Object:
        self._refuse(path)
        if path == "/apis/resource.k8s.io" and CLAIM_PATH in self.objects:
            return {"kind": "APIGroup", "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}}
        with self.change:
            where, namespace = _split(path)
            if where in self.objects:
                found = [o for o in self.objects[where].values() if namespace in ("", o["metadata"].get("namespace"))]
                start, size = int(query.get("continue") or 0), int(query.get("limit") or 500)
                meta = {"resourceVersion": str(self.version)}
                if start + size < len(found):
                    meta["continue"] = str(start + size)
                return {"kind": "List", "metadata": meta, "items": found[start : start + size]}
            if path in self.others:
                return self.others[path]
        raise HttpError(404, f"{path} not found", "NotFound")

    def watch(self, path: str, query: Query) -> Iterator[Any]:
        self._refuse(path)
        where, _ = _split(path)
        since = int(query["resourceVersion"])
        if since < self.compacted:
            error = status_object(410, f"too old resource version: {since} ({self.compacted})", "Expired")
            yield json.dumps({"type": "ERROR", "object": error}).encode() + b"\n"
            return
        events = self._events[where]
        with self.change:
            self.open += 1
            self.change.notify_all()
            seen = next((n for n, (v, _) in enumerate(events) if v > since), len(events))
            opened, cuts = len(events), self._cuts
        try:
            yield b""
            ends = time.monotonic() + int(query["timeoutSeconds"])
            while not self.stopping.is_set() and time.monotonic() < ends:
                with self.change:
                    if len(events) == seen and self._cuts == cuts:
                        self.change.wait(0.2)
                    fresh, seen = list(enumerate(events))[seen:], len(events)
                    broken = self._cuts > cuts
                for n, (version, line) in fresh:
                    if version or n >= opened:  # what was sent raw is for the watches of that moment
                        yield line
                if broken:
                    yield CUT
        finally:
            with self.change:
                self.open -= 1

    def _refuse(self, path: str) -> None:
        if path in self.refused:
            status, message = self.refused[path]
            raise HttpError(status, message)

    def _event(self, path: str, kind: str, obj: Object) -> None:
        self._events[path].append((self.version, json.dumps({"type": kind, "object": obj}).encode() + b"\n"))
        self.change.notify_all()


def _key(obj: Object) -> str:
    return str(obj["metadata"].get("uid") or obj["metadata"]["name"])


def _split(path: str) -> tuple[str, str]:
    """A path within a namespace -> the collection, and that namespace."""
    before, found, after = path.partition("/namespaces/")
    if not found:
        return path, ""
    namespace, _, resource = after.partition("/")
    return f"{before}/{resource}", namespace


def pod(name: str, *, uid: str = "", namespace: str = "lab", gpus: int = 1, **more: Any) -> Object:
    """A pod as the API serves it. ``node`` binds it at ``scheduled``; ``started``/``finished`` run and end it.

    Times are epoch seconds. ``phase``, ``labels``, ``owner`` (kind, name, uid), ``resource``, ``claims`` (name -> name)
    and ``finalizers`` do what they say; ``meta`` and ``status`` are merged in last.
    """
    created = more.get("created", 1_000)
    meta: Object = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{name}",
        "creationTimestamp": iso(created),
        "labels": more.get("labels", {}),
        "managedFields": [{"manager": "kubelet"}],
    }
    if "owner" in more:
        kind, owner, owner_uid = more["owner"]
        version = more.get("owner_version", "batch/v1")
        ref = {"apiVersion": version, "kind": kind, "name": owner, "uid": owner_uid, "controller": True}
        meta["ownerReferences"] = [ref]
    if more.get("finalizers"):
        meta["finalizers"] = more["finalizers"]
    resource = more.get("resource", "nvidia.com/gpu")
    resources = {"limits": {resource: str(gpus)}, "requests": {resource: str(gpus)}} if gpus else {}
    spec: Object = {"containers": [{"name": "main", "resources": resources}]}
    spec["resourceClaims"] = [{"name": k, "resourceClaimName": v} for k, v in more.get("claims", {}).items()]
    status: Object = {"phase": more.get("phase", "Pending"), "conditions": []}
    if "node" in more:
        spec["nodeName"] = more["node"]
        status["conditions"] = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(more.get("scheduled", created))}
        ]
    if "started" in more:
        running = {"startedAt": iso(more["started"])}
        state = {"running": running}
        if "finished" in more:
            state = {"terminated": {**running, "finishedAt": iso(more["finished"])}}
        status["phase"] = more.get("phase", "Succeeded" if "finished" in more else "Running")
        status["containerStatuses"] = [{"name": "main", "state": state, "lastState": {}, "restartCount": 0}]
    return {
        "metadata": {**meta, **more.get("meta", {})},
        "spec": {**spec, **more.get("spec", {})},
        "status": {**status, **more.get("status", {})},
    }


def node(name: str, gpus: int = 8, *, labels: dict[str, str] | None = None, **capacity: str) -> Object:
    """A ready node with whole cards; ``capacity`` replaces them (``**{"nvidia.com/gpu.shared": "16"}``)."""
    has = capacity or {"nvidia.com/gpu": str(gpus)}
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"nvidia.com/gpu.product": "H100", **(labels or {})},
        },
        "spec": {},
        "status": {"capacity": has, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def iso(at: int) -> str:
    """Epoch seconds as the API writes them."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
