"""The pods source against a real API server, where METERBRIDGE_TEST_KUBECONFIG names one.

It creates a namespace of its own with a pod that nothing runs, bound to a node of its own, and takes both away again.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator

import pytest
from kubernetes import client, config

from exporters.sources.kubernetes.pods import Pods
from tests.exporters.sources.kube_server import wait_for

KUBECONFIG = os.environ.get("METERBRIDGE_TEST_KUBECONFIG", "")

pytestmark = pytest.mark.skipif(not KUBECONFIG, reason="METERBRIDGE_TEST_KUBECONFIG names no API server")


@pytest.fixture
def place() -> Iterator[tuple[client.CoreV1Api, str]]:
    """A client, and the name of a namespace and of a node with two cards."""
    name = f"meterbridge-{uuid.uuid4().hex[:8]}"
    api = client.CoreV1Api(config.new_client_from_config(KUBECONFIG))
    api.create_namespace({"metadata": {"name": name}})
    api.create_node({"metadata": {"name": name}, "status": {"capacity": {"nvidia.com/gpu": "2"}}})
    yield api, name
    api.delete_node(name)
    api.delete_namespace(name)


def test_a_pod_is_seen_to_come_and_to_go(place: tuple[client.CoreV1Api, str]) -> None:
    api, name = place
    source = Pods("real", kubeconfig=KUBECONFIG, namespaces=[name])
    try:
        before = source.poll(time.time())
        resources = {"limits": {"nvidia.com/gpu": "2"}, "requests": {"nvidia.com/gpu": "2"}}
        container = {"name": "main", "image": "example.org/none", "resources": resources}
        spec = {"nodeName": name, "containers": [container]}
        api.create_namespaced_pod(name, {"metadata": {"name": "pod"}, "spec": spec})
        during = wait_for(source, lambda s: bool(s.claims) and s.at > s.claims[0].start + 2)
        api.delete_namespaced_pod("pod", name, grace_period_seconds=0)
        after = wait_for(source, lambda s: bool(s.ended))
    finally:
        source.close()

    assert ((), ()) == (before.claims, before.ended)
    assert [(2000, f"{name}/pod", None)] == [(c.milligpu, c.native_id, c.end) for c in during.claims]
    assert [("deleted", during.claims[0].unit)] == [(c.end_basis, c.unit) for c in after.ended]
