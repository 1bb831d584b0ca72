"""Where the dcgm-exporters are, told from Kubernetes' pods. Pure: pods in the API's own form to URLs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SELECTOR = "app.kubernetes.io/name=dcgm-exporter"
"""The label of dcgm-exporter's own chart; NVIDIA's GPU operator labels it ``app=nvidia-dcgm-exporter``."""


def dcgm_endpoints(
    pods: Iterable[Mapping[str, Any]],
    selector: str = SELECTOR,
    port: int = 9400,
    scheme: str = "http",
    path: str = "/metrics",
) -> tuple[str, ...]:
    """URLs of the running dcgm-exporter pods, sorted.

    ``pods`` are as the API serves them (``metadata``, ``spec``, ``status``). A pod is taken when it runs, is not being
    deleted, has an address, and carries every label of ``selector`` (``key=value``, joined by commas).
    Raises ValueError for a selector of another form.

    >>> dcgm_endpoints(
    ...     [
    ...         {
    ...             "metadata": {"labels": {"app": "nvidia-dcgm-exporter"}},
    ...             "status": {"phase": "Running", "podIP": "10.1.0.7"},
    ...         }
    ...     ],
    ...     "app=nvidia-dcgm-exporter",
    ... )
    ('http://10.1.0.7:9400/metrics',)
    """
    wanted = _labels(selector)
    found = set()
    for pod in pods:
        metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
        address = status.get("podIP")
        if metadata.get("deletionTimestamp") or status.get("phase") != "Running" or not address:
            continue
        if wanted.items() <= (metadata.get("labels") or {}).items():
            found.add(f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}{path}")
    return tuple(sorted(found))


def _labels(selector: str) -> dict[str, str]:
    wanted = {}
    for part in selector.split(","):
        key, equals, value = (text.strip() for text in part.partition("="))
        if not key or not equals or key.endswith("!") or value.startswith("="):
            raise ValueError(f"dcgm discovery: {part.strip()!r} is not key=value in the selector {selector!r}")
        wanted[key] = value
    return wanted
