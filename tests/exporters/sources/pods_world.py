"""A fake Kubernetes cluster for the pods pods, and how to wait for what it has seen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from exporters.model import Claim, Snapshot
from exporters.sources.base import SourceError
from exporters.sources.kubernetes.pods import Pods
from tests.lab.kube_fake import POD_PATH, KubeFake, iso

WATCHES = 5
"""Pods, nodes, namespaces, claims and slices."""

FINAL: dict[str, Any] = {"deletionTimestamp": iso(1500), "deletionGracePeriodSeconds": 0}
"""The metadata of a final delete at 1500."""


def until(pods: Pods, condition: Callable[[Snapshot], bool], what: str, at: float = 1.0) -> Snapshot:
    """Poll until the snapshot is as expected: events take a moment to arrive."""
    found: Snapshot | SourceError | None = None
    for _ in range(1000):
        try:
            found = pods.poll(at)
        except SourceError as e:
            found = e
        if isinstance(found, Snapshot) and condition(found):
            return found
        threading.Event().wait(0.01)
    raise AssertionError(f"never: {what}; last was {found}")


def until_error(pods: Pods) -> str:
    """Poll until that fails; what it says."""
    for _ in range(1000):
        try:
            pods.poll(1.0)
        except SourceError as e:
            return str(e)
        threading.Event().wait(0.01)
    raise AssertionError("no poll has failed")


def names(claims: tuple[Claim, ...]) -> set[str]:
    return {c.native_id.removeprefix("lab/") for c in claims}


def lists(kube: KubeFake, path: str = POD_PATH) -> int:
    return sum(1 for asked, query, _ in kube.requests if asked == path and not query.get("watch"))
