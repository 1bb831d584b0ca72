from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exporters.sources.base import SourceError
from exporters.sources.devices.discovery import endpoints
from exporters.sources.kubernetes.endpoints import ExporterPods


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


class Api:
    """What the API server lists."""

    def __init__(self, *namespaces: str) -> None:
        self.pods = [
            pod(f"10.0.0.{n}", metadata={"namespace": name, "labels": LABELS}) for n, name in enumerate(namespaces)
        ]

    def get(self, _path: str, _query: object) -> dict[str, Any]:
        return {"items": self.pods}


LABELS = {"app.kubernetes.io/name": "dcgm-exporter"}


def found(api: Api, *namespaces: str) -> list[str]:
    selector = "app.kubernetes.io/name=dcgm-exporter"
    return list(ExporterPods(None, None, selector, 9400, namespaces=namespaces, api=api)())  # type: ignore[arg-type]


def test_only_pods_in_namespaces_that_are_trusted_are_endpoints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "namespace"
    own.write_text("meters\n")
    monkeypatch.setattr("exporters.sources.kubernetes.endpoints._NAMESPACE_FILE", own)
    api = Api("gpu-operator", "team-eve", "meters")

    assert ["http://10.0.0.0:9400/metrics"] == found(api, "gpu-operator")
    assert ["http://10.0.0.0:9400/metrics", "http://10.0.0.2:9400/metrics"] == found(api, "own", "gpu-operator")
    assert 3 == len(found(api, "*"))


def test_exporters_that_run_elsewhere_only_are_an_error_that_says_where() -> None:
    with pytest.raises(SourceError, match=r"run in team-eve, and discovery looks in gpu-operator: set discover.namesp"):
        found(Api("team-eve"), "gpu-operator")
