"""Where the pods of an exporter are in a Kubernetes cluster, asked for now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from exporters.sources.base import SourceError
from exporters.sources.devices.discovery import endpoints
from exporters.sources.kubernetes.api import Credentials, KubeApi, connect

REFRESH = 60.0
"""Seconds between two questions: exporters are one a node, and nodes come and go slowly."""


ANY, OWN = "*", "own"
"""In a list of namespaces: every one, and that of the own pod."""

_NAMED = 3
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def own_namespace() -> str:
    """The namespace of the pod that this is; empty outside of Kubernetes."""
    try:
        return _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _namespace(pod: Mapping[str, Any]) -> str:
    return str((pod.get("metadata") or {}).get("namespace") or "")


class ExporterPods:
    """Asks the API server for the pods of an exporter by label; one list call per ``REFRESH`` seconds at most.

    Call it for the URLs and their nodes. Only pods in ``namespaces`` are taken (`OWN` is that of the own pod): anybody
    may label a pod of theirs like an exporter.
    Raises `exporters.sources.base.SourceError` when the API server cannot be read.
    """

    def __init__(
        self,
        kubeconfig: str | None,
        context: str | None,
        selector: str,
        port: int,
        *,
        path: str = "/metrics",
        namespaces: Sequence[str] = (ANY,),
        api: KubeApi | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = (kubeconfig, context)
        self._selector, self._port, self._path = selector, port, path
        self._namespaces = tuple(filter(None, (own_namespace() if n == OWN else n for n in namespaces)))
        self._api, self._clock = api, clock
        self._known: dict[str, str] = {}
        self._asked_at: float | None = None

    def _connect(self) -> KubeApi:
        kubeconfig, context = self._access
        credentials = Credentials(kubeconfig, context) if kubeconfig else None
        return KubeApi(connect(kubeconfig, context), credentials=credentials)

    def __call__(self) -> dict[str, str]:
        """The URLs of the running pods, sorted, each with its node."""
        if self._asked_at is None or self._clock() - self._asked_at >= REFRESH:
            self._api = self._api or self._connect()
            answer = self._api.get(
                "/api/v1/pods", {"labelSelector": self._selector, "fieldSelector": "status.phase=Running"}
            )
            pods = [pod for pod in answer.get("items") or [] if isinstance(pod, Mapping)]
            trusted = [pod for pod in pods if ANY in self._namespaces or _namespace(pod) in self._namespaces]
            if pods and not trusted:
                others = ", ".join(sorted({_namespace(pod) for pod in pods})[:_NAMED])
                raise SourceError(
                    f"pods with the labels {self._selector} run in {others}, and discovery looks in "
                    f"{', '.join(self._namespaces) or 'no namespace'}: set discover.namespaces"
                )
            self._known = endpoints(trusted, self._selector, self._port, path=self._path)
            self._asked_at = self._clock()
        return self._known
