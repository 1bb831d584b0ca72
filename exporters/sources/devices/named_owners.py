"""Whom pages name as owners of a card: what two of them say, put together. Pure."""

from __future__ import annotations

Pods = tuple[tuple[str, str, str], ...]
"""Namespace, name and UID of pods; a page may not tell the UID."""


def pods_of_both(first: Pods, other: Pods) -> Pods:
    """Each pod once; some tell the UID of a pod and others do not."""
    told = {(namespace, name) for namespace, name, uid in (*first, *other) if uid}
    return tuple(pod for pod in dict.fromkeys((*first, *other)) if pod[2] or pod[:2] not in told)


def jobs_of_both(first: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Each job once."""
    return tuple(dict.fromkeys((*first, *other)))
