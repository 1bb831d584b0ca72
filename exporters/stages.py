"""What each stage of a round has cost since the exporter started: seconds and bytes, for its own series.

``fetch`` and ``read`` are of the device sources (endpoints asked; pages taken apart), ``join`` and ``write`` of the
registry, ``compress`` of what scrapers asked for. Seconds are of work, not of waiting: CPU of the thread that did it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

STAGES = ("fetch", "read", "join", "write", "compress")


class Stages:
    """Adds up what stages cost. Safe to share between threads."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.bytes = dict.fromkeys(STAGES, 0)
        self._lock = threading.Lock()

    def add(self, stage: str, seconds: float, size: int = 0) -> None:
        """Add to a stage."""
        with self._lock:
            self.seconds[stage] += seconds
            self.bytes[stage] += size

    def plus(self, others: Iterable[Stages]) -> Stages:
        """These and others', added up."""
        found = Stages()
        for stages in (self, *others):
            for stage in STAGES:
                found.add(stage, stages.seconds[stage], stages.bytes[stage])
        return found

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the CPU that this thread spends inside."""
        begun = time.thread_time()
        try:
            yield
        finally:
            self.add(stage, time.thread_time() - begun)
