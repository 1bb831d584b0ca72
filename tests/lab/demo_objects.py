"""Plans of pods -> Kubernetes objects and watch events, in the form a 1.36 API server serves them. Pure.

The shape (which keys, which conditions, in which order things happen to a pod) is that of objects and watch streams
recorded from a real 1.36 API server; ``managedFields`` are left out. Names and times come from the plan, UIDs and the
like are derived from the names.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from demo.kube_replay import Event

Raw = dict[str, Any]
IMAGE = "registry.example.org/ml/train:2.4"
GRACE_S = 30


@dataclass(frozen=True)
class Owner:
    """A controller of pods. ``parent`` is its own controller."""

    api_version: str
    kind: str
    plural: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    parent: Owner | None = None
    created: int = 0


@dataclass(frozen=True)
class PodPlan:
    """One pod's life in epoch seconds. ``end`` None: still running. ``how``: succeeded, failed, deleted or forced.

    A deleted pod is removed at its end (by force: without a last word from its containers), any other at ``removed``
    (None: the object stays). ``request`` are GPU resources; a pod without ``node`` waits for ever.
    """

    namespace: str
    name: str
    node: str
    request: Mapping[str, int]
    start: int
    end: int | None = None
    how: str = "succeeded"
    removed: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner: Owner | None = None
    container: str = "main"
    pull: int = 40

    @property
    def uid(self) -> str:
        return uid("Pod", self.namespace, self.name, self.start)


def uid(*names: object) -> str:
    """A stable UID for a name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(str(n) for n in names)))


def when(moment: int) -> str:
    """RFC 3339, as the API prints times."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def hexes(length: int, *names: object) -> str:
    """Stable hexadecimal digits for a name."""
    return hashlib.sha256("/".join(str(n) for n in names).encode()).hexdigest()[:length]


def pod_events(plan: PodPlan) -> Iterator[Event]:
    """What a watch tells of one pod: created, scheduled, running, ended, removed."""
    created = plan.start - 1
    started = plan.start + plan.pull

    def event(at: int, type_: str, status: Raw, **meta: Any) -> Event:
        return Event(at, "pods", type_, _pod(plan, created, status, bound=type_ != "ADDED", **meta))

    waiting: Raw = {"phase": "Pending", "qosClass": "Guaranteed"}
    yield event(created, "ADDED", waiting)
    if not plan.node:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": when(created),
            "reason": "Unschedulable",
            "message": "0/12 nodes are available: 12 Insufficient nvidia.com/gpu.",
        }
        yield event(created, "MODIFIED", {**waiting, "conditions": [condition]})
        return
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": when(plan.start),
    }
    yield event(plan.start, "MODIFIED", {**waiting, "conditions": [scheduled]})
    running = _status(plan, "Running", scheduled, started)
    yield event(started, "MODIFIED", running)
    if plan.end is None:
        return
    if plan.how == "forced":
        gone = {"deletionTimestamp": when(plan.end), "deletionGracePeriodSeconds": 0}
        yield event(plan.end, "DELETED", running, **gone)
        return
    if plan.how == "deleted":
        asked = min(plan.end - 2, plan.end - GRACE_S // 2)
        going = {"deletionTimestamp": when(asked + GRACE_S), "deletionGracePeriodSeconds": GRACE_S}
        gone = {"deletionTimestamp": when(plan.end), "deletionGracePeriodSeconds": 0}
        yield event(asked, "MODIFIED", running, **going)
        ended = _status(plan, "Failed", scheduled, started)
        yield event(plan.end, "MODIFIED", ended, **going)
        yield event(plan.end, "DELETED", ended, **gone)
        return
    ended = _status(plan, "Succeeded" if plan.how == "succeeded" else "Failed", scheduled, started)
    yield event(plan.end, "MODIFIED", ended)
    if plan.removed is not None:
        gone = {"deletionTimestamp": when(plan.removed), "deletionGracePeriodSeconds": 0}
        yield event(plan.removed, "DELETED", ended, **gone)


def _pod(plan: PodPlan, created: int, status: Raw, *, bound: bool, **meta: Any) -> Raw:
    resources = {"cpu": "8", "memory": "64Gi", **{k: str(v) for k, v in plan.request.items()}}
    metadata: Raw = {
        "name": plan.name,
        "namespace": plan.namespace,
        "uid": plan.uid,
        "generation": 2 if meta else 1,
        "creationTimestamp": when(created),
        **meta,
    }
    if plan.labels:
        metadata["labels"] = dict(plan.labels)
    if plan.annotations:
        metadata["annotations"] = dict(plan.annotations)
    if plan.owner:
        metadata["ownerReferences"] = [_reference(plan.namespace, plan.owner)]
    spec: Raw = {
        "containers": [
            {
                "name": plan.container,
                "image": IMAGE,
                "resources": {"limits": resources, "requests": resources},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            }
        ],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_S,
        "dnsPolicy": "ClusterFirst",
        "automountServiceAccountToken": False,
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    if bound and plan.node:
        spec["nodeName"] = plan.node
    return {"metadata": metadata, "spec": spec, "status": status}


def _status(plan: PodPlan, phase: str, scheduled: Raw, started: int) -> Raw:
    """The status of a bound pod: Running, Succeeded or Failed."""
    running = phase == "Running"
    turned = when(started if running else plan.end or started)
    ready = "True" if running else "False"
    reason = {"Running": {}, "Succeeded": {"reason": "PodCompleted"}, "Failed": {"reason": "PodFailed"}}[phase]
    container_id = f"cri-o://{hexes(64, plan.uid)}"
    condition = {"lastProbeTime": None, "lastTransitionTime": turned}
    if running:
        state: Raw = {"running": {"startedAt": when(started)}}
    else:
        code = {"succeeded": 0, "failed": 1, "deleted": 143}[plan.how]
        state = {
            "terminated": {
                "exitCode": code,
                "reason": "Completed" if code == 0 else "Error",
                "startedAt": when(started),
                "finishedAt": when(plan.end or started),
                "containerID": container_id,
            }
        }
    host = f"10.40.1.{int(hexes(2, plan.node), 16)}"
    return {
        "observedGeneration": 1,
        "phase": phase,
        "conditions": [
            {"type": "PodReadyToStartContainers", "observedGeneration": 1, "status": ready, **condition},
            {"type": "Initialized", "observedGeneration": 1, "status": "True", **scheduled_at(plan.start)},
            {"type": "Ready", "observedGeneration": 1, "status": ready, **condition, **reason},
            {"type": "ContainersReady", "observedGeneration": 1, "status": ready, **condition, **reason},
            scheduled,
        ],
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "startTime": when(plan.start),
        "containerStatuses": [
            {
                "name": plan.container,
                "state": state,
                "lastState": {},
                "ready": running,
                "restartCount": 0,
                "image": IMAGE,
                "imageID": f"registry.example.org/ml/train@sha256:{hexes(64, IMAGE)}",
                "containerID": container_id,
                "started": running,
            }
        ],
        "qosClass": "Guaranteed",
    }


def scheduled_at(moment: int) -> Raw:
    """The times of a condition that turned when the pod was scheduled."""
    return {"lastProbeTime": None, "lastTransitionTime": when(moment)}


def owner_uid(namespace: str, owner: Owner) -> str:
    """The UID of a controller."""
    return uid(owner.api_version, namespace, owner.kind, owner.name)


def _reference(namespace: str, owner: Owner) -> Raw:
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner_uid(namespace, owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owner_pages(plans: Sequence[PodPlan]) -> dict[str, Raw]:
    """What the API serves about the pods' owners, by path: their metadata, and discovery of their kinds."""
    pages: dict[str, Raw] = {}
    kinds: dict[str, dict[str, Raw]] = {}
    for plan in plans:
        owner = plan.owner
        while owner is not None:
            base = f"/apis/{owner.api_version}"
            metadata: Raw = {
                "name": owner.name,
                "namespace": plan.namespace,
                "uid": owner_uid(plan.namespace, owner),
                "resourceVersion": "1",
                "creationTimestamp": when(owner.created or plan.start - 2),
            }
            if owner.labels:
                metadata["labels"] = dict(owner.labels)
            if owner.parent:
                metadata["ownerReferences"] = [_reference(plan.namespace, owner.parent)]
            page: Raw = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
            pages.setdefault(f"{base}/namespaces/{plan.namespace}/{owner.plural}/{owner.name}", page)
            kinds.setdefault(owner.api_version, {})[owner.plural] = {
                "name": owner.plural,
                "singularName": owner.kind.lower(),
                "namespaced": True,
                "kind": owner.kind,
                "verbs": ["get", "list", "watch"],
            }
            owner = owner.parent
    for version, resources in kinds.items():
        pages[f"/apis/{version}"] = {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": version,
            "resources": [resources[k] for k in sorted(resources)],
        }
    return pages
