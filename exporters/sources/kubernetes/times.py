"""When a pod began and ended, as its status tells: by its containers, else by its conditions. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from exporters.sources.kubernetes.raw import Raw, items, part, seconds


def _statuses(status: Raw) -> Iterator[Raw]:
    for group in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        yield from items(status, group)


def first_started(status: Raw) -> int | None:
    """The first ``startedAt`` of any container, init and sidecar included.

    A container keeps only its last end: after two restarts the first start is no longer shown, and the kubelet's own
    ``startTime`` (when it took the pod on) is the nearest evidence.
    """
    found: list[int] = []
    forgotten = False
    for container in _statuses(status):
        forgotten |= isinstance(container.get("restartCount"), int) and container["restartCount"] > 1
        for state in (part(container, "state"), part(container, "lastState")):
            for phase in ("running", "terminated"):
                at = seconds(part(state, phase).get("startedAt"))
                if at is not None and at > 0:  # a container that never ran carries year 1 or 1970
                    found.append(at)
    if forgotten and found and (taken := seconds(status.get("startTime"))) is not None:
        found.append(taken)
    return min(found, default=None)


def last_finished(status: Raw) -> int | None:
    """The last ``finishedAt`` of its containers."""
    ends = (seconds(part(c, "state", "terminated").get("finishedAt")) for c in _statuses(status))
    return max((at for at in ends if at is not None and at > 0), default=None)


def turned_at(status: Raw) -> int | None:
    """When the conditions turned of a pod whose containers tell no end (the kubelet is gone)."""
    turned = (
        condition_since(status, name, value) for name, value in (("Ready", "False"), ("DisruptionTarget", "True"))
    )
    return max((at for at in turned if at is not None), default=None)


def condition_since(status: Raw, name: str, value: str) -> int | None:
    """Since when a condition has this value, None while it has another."""
    for condition in items(status, "conditions"):
        if condition.get("type") == name and condition.get("status") == value:
            return seconds(condition.get("lastTransitionTime"))
    return None
