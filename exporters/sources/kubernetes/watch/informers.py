"""The watches of one cluster: begun in the order in which they are needed, and whether all of them have an answer.

Nodes and devices come first: they say what a pod's request is worth, and which nodes are virtual. Dynamic Resource
Allocation is optional: where the API server lacks it, or does not show it to us, that is said once, and looked for
again later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from exporters.sources.base import SourceError
from exporters.sources.kubernetes.api import ApiError, KubeApi
from exporters.sources.kubernetes.raw import items, part
from exporters.sources.kubernetes.watch.collection import Reflector
from exporters.sources.kubernetes.watch.handlers import (
    ClaimHandler,
    NamespaceHandler,
    NodeHandler,
    PodHandler,
    SliceHandler,
)
from exporters.sources.kubernetes.watch.store import Store

DRA_GROUP = "/apis/resource.k8s.io"
DRA_VERSIONS = ("v1", "v1beta2", "v1beta1")
LOOK_AGAIN = 300.0
"""Seconds until an API server without DRA is asked again."""


class Informers:
    """Reflectors for pods, nodes and DRA. ``since``: path -> resourceVersion of an earlier life (see `Reflector`)."""

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        clock: Callable[[], float],
        *,
        namespaces: Sequence[str] = (),
        since: Mapping[str, str] | None = None,
        **reflecting: Any,
    ) -> None:
        self._api = api
        self._store = store
        self._clock = clock
        self._reflecting = reflecting
        self._answer = threading.Condition()
        self._namespaces = tuple(namespaces) or ("",)
        self._notes: list[str] = []
        self._noted: set[str] = set()
        self._looked = float("-inf")
        self._nodes = [self._reflector("/api/v1/nodes", NodeHandler(store, clock))]
        self._extra = [self._reflector("/api/v1/namespaces", NamespaceHandler(store, clock), optional=True)]
        self._devices: list[Reflector[Any]] = []
        self._pods: list[Reflector[Any]] = []
        for namespace in self._namespaces:
            path = f"/api/v1{_within(namespace)}/pods"
            self._pods.append(
                self._reflector(path, PodHandler(store, clock, namespace), since=(since or {}).get(path, ""))
            )

    def fresh(self, timeout: float) -> None:
        """Return once every watch has been answered; begin them at the first call.

        Raises `SourceError` when one of them is without an answer, or has none after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        self._look_for_devices()
        self._begin(self._nodes + self._devices + self._extra)
        self._wait(self._nodes + self._devices + self._extra, deadline)
        with self._store.lock:
            self._store.dra = bool(self._devices) and not any(r.refused for r in self._devices)
        self._begin(self._pods)
        self._wait(self._pods, deadline)

    def notes(self) -> list[str]:
        """Sentences about what is not followed; each is given once."""
        for reflector in self._devices:
            if reflector.refused is not None:
                self._note(f"{reflector.refused}; GPUs given through it are not counted")
        notes, self._notes = self._notes, []
        return notes

    def versions(self) -> dict[str, str]:
        """How far the pods' watches have come."""
        return {r.path: r.version for r in self._pods if r.version}

    def close(self) -> None:
        """End all threads."""
        everything = self._nodes + self._devices + self._extra + self._pods
        for reflector in everything:
            reflector.stop(wait=False)
        for reflector in everything:
            reflector.stop()

    def _reflector(self, path: str, handler: Any, *, optional: bool = False, since: str = "") -> Reflector[Any]:
        return Reflector(
            self._api, path, handler, optional=optional, since=since, on_answer=self._answered, **self._reflecting
        )

    def _answered(self) -> None:
        with self._answer:
            self._answer.notify_all()

    @staticmethod
    def _begin(reflectors: Sequence[Reflector[Any]]) -> None:
        for reflector in reflectors:
            reflector.start()

    def _wait(self, reflectors: Sequence[Reflector[Any]], deadline: float) -> None:
        with self._answer:
            while True:
                errors = dict.fromkeys(str(r.error) for r in reflectors if r.error is not None)
                if errors:
                    raise SourceError("; ".join(errors))
                waiting = [r.path for r in reflectors if r.refused is None and not r.ready]
                if not waiting:
                    return
                left = deadline - time.monotonic()
                if left <= 0:
                    raise SourceError(f"{self._api.host}: still reading {', '.join(waiting)}")
                self._answer.wait(left)

    def _note(self, sentence: str) -> None:
        if sentence not in self._noted:
            self._noted.add(sentence)
            self._notes.append(sentence)

    def _look_for_devices(self) -> None:
        if self._devices or time.monotonic() - self._looked < LOOK_AGAIN:
            return
        try:
            group = self._api.get(DRA_GROUP)
        except ApiError as e:
            if e.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
                raise
            self._note(f"no Dynamic Resource Allocation ({e}): only GPUs of device plugins are counted")
            self._looked = time.monotonic()
            return
        offered = [str(v.get("version")) for v in items(group, "versions")]
        offered.append(str(part(group, "preferredVersion").get("version")))
        version = next((v for v in DRA_VERSIONS if v in offered), DRA_VERSIONS[0])
        base = f"{DRA_GROUP}/{version}"
        self._devices = [
            self._reflector(f"{base}/resourceslices", SliceHandler(self._store, self._clock), optional=True)
        ]
        for namespace in self._namespaces:
            path = f"{base}{_within(namespace)}/resourceclaims"
            self._devices.append(
                self._reflector(path, ClaimHandler(self._store, self._clock, namespace), optional=True)
            )


def _within(namespace: str) -> str:
    return f"/namespaces/{namespace}" if namespace else ""
