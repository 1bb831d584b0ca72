"""Free loopback ports for the lab's servers."""

from __future__ import annotations

import random
import socket

LOWEST, HIGHEST = 15_000, 32_000
"""Below the ports that the kernel gives to outgoing connections: one of those could be taken before a server binds."""


def free(count: int = 1) -> list[int]:
    """Ports nobody listens on right now, all different."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(LOWEST, HIGHEST), k=HIGHEST - LOWEST):
        if len(found) == count:
            return found
        if _bindable(port):
            found.append(port)
    raise OSError(f"no {count} free ports between {LOWEST} and {HIGHEST}")


def _bindable(port: int) -> bool:
    with socket.socket() as s:
        try:
            s.bind(("", port))  # every address: some servers of the lab bind them all
        except OSError:
            return False
    return True
