"""An API server that does what a test says: a fake one always, and a real one where METERBRIDGE_TEST_KUBECONFIG names
one. Neither has a kubelet or a scheduler: a pod is bound by who makes it, and its status is written as a kubelet would.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kubernetes import client, config

from exporters.model import Snapshot
from exporters.sources.kubernetes.pods import Pods
from tests.lab import kube_fake
from tests.lab.kube_fake import CLAIM_PATH, NODE_PATH, POD_PATH, SLICE_PATH, KubeFake, iso

KUBECONFIG = os.environ.get("METERBRIDGE_TEST_KUBECONFIG", "")
GROUP, VERSION = "resource.k8s.io", "v1"


class ApiServer(ABC):
    """``name`` is that of the namespace and of the node that a test has to itself."""

    def __init__(self) -> None:
        self.name = f"meterbridge-{uuid.uuid4().hex[:8]}"

    @abstractmethod
    def client(self) -> client.ApiClient:
        """How the source reaches it."""

    @abstractmethod
    def put_node(self, gpus: int) -> None:
        """The node, with so many cards on offer now."""

    @abstractmethod
    def put_pod(self, name: str, gpus: int, *, claim: str = "") -> None:
        """A pod that is bound to the node from now on."""

    @abstractmethod
    def put_status(self, name: str, status: Mapping[str, Any]) -> None:
        """A pod's status, as a whole."""

    @abstractmethod
    def delete_pod(self, name: str) -> None:
        """Gone at once."""

    @abstractmethod
    def put_slice(self, spec: Mapping[str, Any]) -> None:
        """A ResourceSlice of the node."""

    @abstractmethod
    def put_claim(self, name: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
        """A ResourceClaim; whether the server has kept what of its status is beta."""

    def forget(self) -> None:  # noqa: B027 - a real server forgets by itself
        """What has happened until now is compacted away."""

    def source(self, **more: Any) -> Pods:
        return Pods("real", api_client=self.client(), namespaces=[self.name], **more)


class Fake(ApiServer):
    """`tests.lab.kube_fake`, which validates nothing."""

    def __init__(self, server: KubeFake) -> None:
        super().__init__()
        self.server = server
        self.count = 0

    def client(self) -> client.ApiClient:
        return client.ApiClient(client.Configuration(host=self.server.url))

    def put_node(self, gpus: int) -> None:
        self.server.put(NODE_PATH, kube_fake.node(self.name, gpus, **{"nvidia.com/gpu": str(gpus)}))

    def put_pod(self, name: str, gpus: int, *, claim: str = "") -> None:
        self.count += 1
        claims = {"g": claim} if claim else {}
        now = int(time.time())
        made = kube_fake.pod(
            name, uid=f"uid-{name}-{self.count}", namespace=self.name, gpus=gpus, claims=claims, created=now,
            spec={"nodeName": self.name},
        )  # fmt: skip
        self.server.put(POD_PATH, made)

    def _pod(self, name: str) -> Any:
        return next(o for o in self.server.objects[POD_PATH].values() if o["metadata"]["name"] == name)

    def put_status(self, name: str, status: Mapping[str, Any]) -> None:
        self.server.put(POD_PATH, {**self._pod(name), "status": dict(status)})

    def delete_pod(self, name: str) -> None:
        self.server.remove(
            POD_PATH, self._pod(name), deletionTimestamp=iso(int(time.time())), deletionGracePeriodSeconds=0
        )

    def put_slice(self, spec: Mapping[str, Any]) -> None:
        self.server.put(SLICE_PATH, {"metadata": {"name": self.name}, "spec": dict(spec)})

    def put_claim(self, name: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
        meta = {"name": name, "namespace": self.name, "uid": f"uid-{name}"}
        self.server.put(CLAIM_PATH, {"metadata": meta, "spec": dict(spec), "status": dict(status)})
        return True

    def forget(self) -> None:
        self.server.compact()


class Real(ApiServer):
    """The server of METERBRIDGE_TEST_KUBECONFIG, and objects of our own on it."""

    def __init__(self) -> None:
        super().__init__()
        self.core = client.CoreV1Api(self.client())
        self.custom = client.CustomObjectsApi(self.client())
        self.there = False

    def client(self) -> client.ApiClient:
        return config.new_client_from_config(KUBECONFIG)

    def begin(self) -> None:
        self.core.create_namespace({"metadata": {"name": self.name}})

    def end(self) -> None:
        self.core.delete_collection_namespaced_pod(self.name, grace_period_seconds=0)
        self.core.delete_namespace(self.name)
        if self.there:
            self.core.delete_node(self.name)
        for item in self.custom.list_cluster_custom_object(GROUP, VERSION, "resourceslices")["items"]:
            if item["metadata"]["name"] == self.name:
                self.custom.delete_cluster_custom_object(GROUP, VERSION, "resourceslices", self.name)

    def put_node(self, gpus: int) -> None:
        status = {
            "capacity": {"nvidia.com/gpu": str(gpus)}, "allocatable": {"nvidia.com/gpu": str(gpus)},
            "conditions": [{"type": "Ready", "status": "True"}],
        }  # fmt: skip
        if not self.there:
            labels = {"nvidia.com/gpu.product": "H100"}
            self.core.create_node({"metadata": {"name": self.name, "labels": labels}, "status": status})
            self.there = True
        self.core.patch_node_status(self.name, {"status": status})

    def put_pod(self, name: str, gpus: int, *, claim: str = "") -> None:
        resources = {"limits": {"nvidia.com/gpu": str(gpus)}, "requests": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
        spec: dict[str, Any] = {
            "nodeName": self.name, "automountServiceAccountToken": False,
            "containers": [{"name": "main", "image": "example.org/none", "resources": resources}],
        }  # fmt: skip
        if claim:
            spec["resourceClaims"] = [{"name": "g", "resourceClaimName": claim}]
        self.core.create_namespaced_pod(self.name, {"metadata": {"name": name}, "spec": spec})

    def put_status(self, name: str, status: Mapping[str, Any]) -> None:
        read = self.core.read_namespaced_pod(name, self.name, _preload_content=False)
        whole = json.loads(read.data)
        self.core.replace_namespaced_pod_status(name, self.name, {**whole, "status": dict(status)})

    def delete_pod(self, name: str) -> None:
        self.core.delete_namespaced_pod(name, self.name, grace_period_seconds=0)
        deadline = time.monotonic() + 30
        while any(p.metadata.name == name for p in self.core.list_namespaced_pod(self.name).items):
            assert time.monotonic() < deadline, f"pod {name} is still there"
            time.sleep(0.1)

    def put_slice(self, spec: Mapping[str, Any]) -> None:
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "ResourceSlice", "metadata": {"name": self.name}}
        self.custom.create_cluster_custom_object(GROUP, VERSION, "resourceslices", {**body, "spec": dict(spec)})

    def put_claim(self, name: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "ResourceClaim", "metadata": {"name": name}}
        of = (GROUP, VERSION, self.name, "resourceclaims")
        self.custom.create_namespaced_custom_object(*of, {**body, "spec": dict(spec)})
        users = [dict(u) for u in status["reservedFor"]]
        for user in users:
            user["uid"] = self.core.read_namespaced_pod(user["name"], self.name).metadata.uid
        kept = self.custom.patch_namespaced_custom_object_status(
            *of, name, {"status": {**status, "reservedFor": users}}
        )
        results = kept["status"]["allocation"]["devices"]["results"]
        return all("consumedCapacity" in r for r in results)


@contextmanager
def fake() -> Iterator[ApiServer]:
    with KubeFake() as server:
        yield Fake(server)


@contextmanager
def real() -> Iterator[ApiServer]:
    server = Real()
    server.begin()
    try:
        yield server
    finally:
        server.end()


def wait_for(source: Pods, condition: Callable[[Snapshot], bool]) -> Snapshot:
    """Poll until a snapshot is as wanted."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = source.poll(time.time())
        if condition(found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within 30 s: {found}")
