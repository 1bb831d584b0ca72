"""Where the pods of an exporter are in a Kubernetes cluster, asked for now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from exporters.sources.devices.discovery import endpoints
from exporters.sources.kubernetes.api import Credentials, KubeApi, connect

REFRESH = 60.0
"""Seconds between two questions: exporters are one a node, and nodes come and go slowly."""


class ExporterPods:
    """Asks the API server for the pods of an exporter by label; one list call per ``REFRESH`` seconds at most.

    Call it for the URLs and their nodes.
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
        api: KubeApi | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = (kubeconfig, context)
        self._selector, self._port, self._path = selector, port, path
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
            self._known = endpoints(answer.get("items") or [], self._selector, self._port, path=self._path)
            self._asked_at = self._clock()
        return self._known
