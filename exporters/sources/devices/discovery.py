"""Where the exporters of machines are, told from Kubernetes' pods. Pure: pods in the API's own form to URLs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SELECTOR = "app.kubernetes.io/name=dcgm-exporter"
"""The label of dcgm-exporter's own chart; NVIDIA's GPU operator labels it ``app=nvidia-dcgm-exporter``."""


def endpoints(
    pods: Iterable[Mapping[str, Any]],
    selector: str = SELECTOR,
    port: int = 9400,
    scheme: str = "http",
    path: str = "/metrics",
) -> dict[str, str]:
    """URLs of the running pods of an exporter, sorted, each with the node that it runs on (empty: not told).

    ``pods`` are as the API serves them (``metadata``, ``spec``, ``status``). A pod is taken when it runs, is not being
    deleted, has an address, and carries every label of ``selector`` (``key=value``, joined by commas).
    Raises ValueError for a selector of another form.

    >>> endpoints(
    ...     [
    ...         {
    ...             "metadata": {"labels": {"app": "nvidia-dcgm-exporter"}},
    ...             "spec": {"nodeName": "gn01"},
    ...             "status": {"phase": "Running", "podIP": "10.1.0.7"},
    ...         }
    ...     ],
    ...     "app=nvidia-dcgm-exporter",
    ... )
    {'http://10.1.0.7:9400/metrics': 'gn01'}
    """
    wanted = _labels(selector)
    found = {}
    for pod in pods:
        metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
        address = status.get("podIP")
        if metadata.get("deletionTimestamp") or status.get("phase") != "Running" or not address:
            continue
        if wanted.items() <= (metadata.get("labels") or {}).items():
            url = f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}{path}"
            found[url] = str((pod.get("spec") or {}).get("nodeName") or "")
    return dict(sorted(found.items()))


def _labels(selector: str) -> dict[str, str]:
    wanted = {}
    for part in selector.split(","):
        key, equals, value = (text.strip() for text in part.partition("="))
        if not key or not equals or key.endswith("!") or value.startswith("="):
            raise ValueError(f"discovery: {part.strip()!r} is not key=value in the selector {selector!r}")
        wanted[key] = value
    return wanted
