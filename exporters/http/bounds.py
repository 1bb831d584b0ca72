"""How much of this process its listener may take: connections, requests, bytes and seconds.

Whoever can reach a listener can open connections and say nothing. Every one of them costs a file descriptor, and a
process without descriptors answers nobody, reads no source and writes no ledger. So each has a limit and a deadline.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

_DESCRIPTORS = 65536
"""More than this is not asked for: some of the system's calls take longer with each descriptor that is allowed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of one listener; the defaults suit a page that some scrapers and some people ask for."""

    connections: int = 512
    """Open at once. Where all are taken, the one that has waited longest without a whole request makes room."""
    requests: int = 128
    """Answered at once; more get 503. Health is answered all the same."""
    head_bytes: int = 65536
    """Request line and headers; more get 431."""
    body_bytes: int = 1 << 20
    """Of a request; more get 413."""
    head_seconds: float = 10.0
    """From the first byte of a request, or from the connection, to the end of its headers; then 408."""
    body_seconds: float = 30.0
    """From there to the end of its body; then the connection is closed."""
    stall_seconds: float = 60.0
    """That a reader may take nothing of its answer; then the connection is closed."""


def share_of_descriptors(bounds: Bounds) -> int:
    """How many connections a listener of this process may hold: ``bounds.connections``, or less.

    The soft limit of file descriptors is raised to the hard one first, as servers do; a quarter of it is the listener's
    at most. The rest is for sources, the ledger and files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _DESCRIPTORS:
        wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
        if wanted > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return bounds.connections if soft == resource.RLIM_INFINITY else max(1, min(bounds.connections, soft // 4))
