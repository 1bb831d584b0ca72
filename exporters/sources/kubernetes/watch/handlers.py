"""Between a watch and the store: what is kept of each kind of object."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from exporters.sources.kubernetes.claims import BRIDGE_LABEL, JOB_LABEL
from exporters.sources.kubernetes.nodes import NodeFacts, node_facts
from exporters.sources.kubernetes.pod_facts import PodFacts, pod_facts
from exporters.sources.kubernetes.raw import Raw, cut, items, part
from exporters.sources.kubernetes.slots.fractions import FRACTION, MEMORY
from exporters.sources.kubernetes.slots.resources import Resources
from exporters.sources.kubernetes.watch.store import MAX_RECORD, Store

Clock = Callable[[], float]

REQUESTER = "openshift.io/requester"
"""The annotation of a namespace by which OpenShift says who asked for it."""

_LINK_LABELS = re.compile(rf"nodeset\.slinky\.slurm\.net/.*|{re.escape(BRIDGE_LABEL)}|{re.escape(JOB_LABEL)}")


def of_interest(raw: Raw, nodes: dict[str, NodeFacts], rules: Resources) -> bool:
    """Whether a pod asks for GPUs or a fraction of one, carries a key to Slurm, or stands in for a Slurm job.

    The others are not kept.
    """
    spec = part(raw, "spec")
    for group in ("containers", "initContainers"):
        for container in items(spec, group):
            resources = part(container, "resources")
            for kind in ("limits", "requests"):
                if any("/" in name and rules.metered(name) for name in part(resources, kind)):
                    return True
    if spec.get("resourceClaims") or part(raw, "status").get("extendedResourceClaimStatus"):
        return True
    labels, annotations = part(raw, "metadata", "labels"), part(raw, "metadata", "annotations")
    if any(_LINK_LABELS.fullmatch(name) for name in labels) or labels.get("app.kubernetes.io/name") == "slurmd":
        return True
    if FRACTION in annotations or MEMORY in annotations:
        return True
    node = nodes.get(str(spec.get("nodeName")))
    return node is not None and node.virtual


class PodHandler:
    """Keeps `PodFacts` of the pods that matter. An object that cannot be read is a reject; the rest goes on.

    ``namespace`` is the one that is followed, empty for all.
    """

    def __init__(self, store: Store, clock: Clock, namespace: str = "") -> None:
        self._store = store
        self._clock = clock
        self._namespace = namespace

    def reduce(self, raw: Raw) -> PodFacts | None:
        """Facts of a pod that matters."""
        meta = part(raw, "metadata")
        known = self._store.pods.get(str(meta.get("uid")))
        if known is None and not of_interest(raw, self._store.nodes, self._store.rules):
            return None
        try:
            return pod_facts(raw, self._store.rules)
        except ValueError as e:
            name = f"{meta.get('namespace')}/{meta.get('name')}"
            self._store.reject(str(meta.get("uid") or name), _record(raw), f"pod {name}: {e}", self._clock())
            return known.facts if known else None

    def replace(self, objects: list[PodFacts]) -> None:
        """A full list."""
        self._store.replace_pods(objects, self._clock(), self._namespace)

    def change(self, kind: str, obj: PodFacts) -> None:
        """One event."""
        if kind == "DELETED":
            self._store.drop_pod(obj, self._clock())
        else:
            self._store.put_pod(obj, self._clock())

    def behind(self) -> None:
        """What comes from now on may have happened long ago."""
        self._store.behind(self._namespace)

    def caught_up(self) -> None:
        """What happened before has been read."""
        self._store.caught_up(self._namespace)


class _RawHandler(ABC):
    """Objects that are read at once, each on its own: one that cannot be read is a reject."""

    what = ""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def reduce(self, raw: Raw) -> Raw | None:
        """The object without its field history, which is most of it."""
        return {**raw, "metadata": {k: v for k, v in part(raw, "metadata").items() if k != "managedFields"}}

    def replace(self, objects: list[Raw]) -> None:
        """A full list."""
        with self._store.lock:
            self.clear()
            for raw in objects:
                self.change("ADDED", raw)

    def change(self, kind: str, obj: Raw) -> None:
        """One event."""
        meta = part(obj, "metadata")
        namespace, name = str(meta.get("namespace") or ""), str(meta.get("name") or "")
        with self._store.lock:
            try:
                if kind == "DELETED":
                    self.drop(namespace, name)
                else:
                    self.put(obj)
            except ValueError as e:
                full = f"{namespace}/{name}".lstrip("/")
                self._store.reject(f"{self.what}/{full}", _record(obj), f"{self.what} {full}: {e}", self._clock())

    def behind(self) -> None:  # noqa: B027 - what most handlers do: nothing here is dated by when it is told
        """Take note that what comes may have happened long ago."""

    def caught_up(self) -> None:  # noqa: B027 - as `behind`
        """Take note that a list and what followed it are told."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything: a new list begins."""

    @abstractmethod
    def put(self, raw: Raw) -> None:
        """Take an object as it is now. Raises ValueError for one that cannot be used."""

    @abstractmethod
    def drop(self, namespace: str, name: str) -> None:
        """Forget an object that was deleted."""


class NodeHandler(_RawHandler):
    """Nodes: capacity and state."""

    what = "node"

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(store, clock)
        self._before: dict[str, NodeFacts] = {}

    def clear(self) -> None:
        """Forget all, except what those that are still there had before."""
        self._before = dict(self._store.nodes)
        self._store.nodes.clear()

    def put(self, raw: Raw) -> None:
        """Take in one."""
        facts = node_facts(raw, self._store.rules)
        before = self._store.nodes.get(facts.name) or self._before.pop(facts.name, None)
        self._store.nodes[facts.name] = facts.after(before)

    def drop(self, namespace: str, name: str) -> None:  # noqa: ARG002 (nodes have no namespace)
        """Forget one."""
        self._store.nodes.pop(name, None)


class NamespaceHandler(_RawHandler):
    """Namespaces: who asked for each, where OpenShift says so."""

    what = "namespace"

    def clear(self) -> None:
        """Forget all."""
        self._store.requesters.clear()

    def put(self, raw: Raw) -> None:
        """Take in one."""
        name, requester = part(raw, "metadata").get("name"), part(raw, "metadata", "annotations").get(REQUESTER)
        if requester:
            self._store.requesters[str(name)] = cut(str(requester))
        else:
            self._store.requesters.pop(str(name), None)

    def drop(self, namespace: str, name: str) -> None:  # noqa: ARG002 (namespaces have no namespace)
        """Forget one."""
        self._store.requesters.pop(name, None)


class SliceHandler(_RawHandler):
    """ResourceSlices: the devices that DRA drivers offer."""

    what = "resourceslice"

    def clear(self) -> None:
        """Forget all."""
        self._store.devices.clear_slices()

    def put(self, raw: Raw) -> None:
        """Take in one."""
        self._store.devices.put_slice(raw)

    def drop(self, namespace: str, name: str) -> None:  # noqa: ARG002 (slices have no namespace)
        """Forget one."""
        self._store.devices.drop_slice(name)


class ClaimHandler(_RawHandler):
    """ResourceClaims: which devices were given to which pods. ``namespace`` empty: of all namespaces."""

    what = "resourceclaim"

    def __init__(self, store: Store, clock: Clock, namespace: str = "") -> None:
        super().__init__(store, clock)
        self._namespace = namespace

    def clear(self) -> None:
        """Forget what is held now."""
        self._store.devices.clear_claims(self._namespace)

    def put(self, raw: Raw) -> None:
        """Take in one."""
        self._store.devices.put_claim(raw)

    def drop(self, namespace: str, name: str) -> None:
        """Forget what one holds now."""
        self._store.devices.drop_claim(namespace, name)


def _record(raw: Any) -> str:
    return json.dumps(raw, ensure_ascii=False, default=str)[:MAX_RECORD]
