"""Whom pages name as owners of a card: what two of them say, put together. Pure."""

from __future__ import annotations

Pods = tuple[tuple[str, str, str], ...]
"""Namespace, name and UID of pods; a page may not tell the UID."""


MOST_CARDS = 1024
"""More cards than any machine has: a larger number is no card's."""


def number_of(label: str) -> int:
    """The number of a card in a label, -1 for what is none.

    >>> number_of("7"), number_of(""), number_of("9" * 30)
    (7, -1, -1)
    """
    plausible = label.isascii() and label.isdecimal() and len(label) < len(str(MOST_CARDS)) + 1
    return int(label) if plausible and int(label) < MOST_CARDS else -1


def pods_of_both(first: Pods, other: Pods) -> Pods:
    """Each pod once; some tell the UID of a pod and others do not."""
    told = {(namespace, name) for namespace, name, uid in (*first, *other) if uid}
    return tuple(pod for pod in dict.fromkeys((*first, *other)) if pod[2] or pod[:2] not in told)


def jobs_of_both(first: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Each job once."""
    return tuple(dict.fromkeys((*first, *other)))
