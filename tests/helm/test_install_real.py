"""The chart on a real API server, where METERBRIDGE_TEST_KUBECONFIG names one: installed, upgraded, and taken away."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import helm_python as helm
import pytest
from kubernetes import client, config

from tests.helm.test_chart import CHART, case

KUBECONFIG = os.environ.get("METERBRIDGE_TEST_KUBECONFIG", "")

pytestmark = pytest.mark.skipif(not KUBECONFIG, reason="METERBRIDGE_TEST_KUBECONFIG names no API server")


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace of its own."""
    name = f"meterbridge-{uuid.uuid4().hex[:8]}"
    api = client.CoreV1Api(config.new_client_from_config(KUBECONFIG))
    api.create_namespace({"metadata": {"name": name}})
    yield name
    api.delete_namespace(name)


def test_every_object_is_accepted_and_taken_away_again(namespace: str) -> None:
    """Without the kinds of the Prometheus operator, which a bare API server does not know."""
    values = case("bare-values.yaml") | {"monitoring": {"dashboards": {"enabled": True}}}
    apps = client.AppsV1Api(config.new_client_from_config(KUBECONFIG))
    with helm.Config(kubeconfig_path=KUBECONFIG, namespace=namespace) as cluster:
        cluster.install(str(CHART), name="mb", values=values)
        installed = [s.metadata.name for s in apps.list_namespaced_stateful_set(namespace).items]
        cluster.upgrade(str(CHART), name="mb", values=values | {"podLabels": {"changed": "yes"}})
        (changed,) = apps.list_namespaced_stateful_set(namespace).items
        cluster.uninstall("mb")
        left = apps.list_namespaced_stateful_set(namespace).items

    assert ["mb-meterbridge"] == installed
    assert "yes" == changed.spec.template.metadata.labels["changed"]
    assert [] == left
