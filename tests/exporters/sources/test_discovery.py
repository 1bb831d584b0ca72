from __future__ import annotations

from typing import Any

import pytest

from exporters.sources.devices.discovery import endpoints


def pod(address: str | None = "10.0.0.7", **changes: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "labels": {"app.kubernetes.io/name": "dcgm-exporter", "tier": "gpu"},
            **changes.get("metadata", {}),
        },
        "status": {"phase": changes.get("phase", "Running"), "podIP": address},
    }


def test_running_pods_with_the_label_are_endpoints() -> None:
    pods = [pod("10.0.0.9"), pod("10.0.0.10"), pod("10.0.0.9")]

    assert tuple(endpoints(pods)) == ("http://10.0.0.10:9400/metrics", "http://10.0.0.9:9400/metrics")


@pytest.mark.parametrize(
    "other",
    [
        pod(None),
        pod(""),
        pod(phase="Pending"),
        pod(phase="Succeeded"),
        pod(metadata={"deletionTimestamp": "2026-10-01T00:00:00Z"}),
        pod(metadata={"labels": {"app.kubernetes.io/name": "node-exporter"}}),
        pod(metadata={"labels": None}),
        {},
    ],
)
def test_any_other_pod_is_not(other: dict[str, Any]) -> None:
    assert endpoints([other]) == {}


def test_the_selector_the_port_and_the_scheme_are_the_sites_choice() -> None:
    assert tuple(
        endpoints([pod("fd00::7")], "app.kubernetes.io/name=dcgm-exporter, tier=gpu", 9401, "https", "/m")
    ) == ("https://[fd00::7]:9401/m",)
    assert endpoints([pod()], "tier=cpu") == {}


@pytest.mark.parametrize("selector", ["", "app", "app!=x", "app==x", "=x", "a=b,", "app in (a, b)"])
def test_a_selector_of_another_form_is_refused(selector: str) -> None:
    with pytest.raises(ValueError, match="is not key=value"):
        endpoints([], selector)
