"""One source and what is known of it: polled, timed, its last good data kept with its age."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from exporters.model import Snapshot
from exporters.recorder import SourceReading
from exporters.sources.base import Source, SourceError
from exporters.status import SourceStatus

log = logging.getLogger(__name__)

STALE_AFTER = 3
"""A source is stale once it was not read for this many of its own intervals."""


@dataclass
class Polled:
    """One source with what is known of it. ``lock`` is held while that changes, so that joins see a whole poll."""

    source: Source
    lock: threading.Lock
    snapshot: Snapshot | None = None
    last_success: float = 0.0
    recorded: float = 0.0
    success: bool = False
    duration: float = 0.0
    polls: int = 0
    failures: int = 0
    rejects: int = 0
    error: str = ""
    said: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """What its readings are recorded under; no two sources share it, also where two clusters share a name."""
        return f"{self.source.name}/{self.source.cluster}".rstrip("/")

    def fresh(self, now: float) -> bool:
        """Whether its data still proves that something is not so."""
        return self.snapshot is not None and now - self.last_success <= STALE_AFTER * self.source.interval

    def status(self) -> SourceStatus:
        """How it is doing."""
        s = self.snapshot
        known = self.source.targets()
        failed = sum(1 for t in known or () if t.error)
        return SourceStatus(
            self.source.name,
            self.source.cluster,
            self.success,
            self.last_success,
            self.duration,
            self.polls,
            self.failures,
            self.rejects,
            s is not None and s.complete,
            self.error,
            s.problems if s else (),
            self.source.scheduler,
            None if known is None else (len(known) - failed, failed),
            s.unmetered if s else {},
        )

    def poll(self, now: float) -> bool:
        """Poll one source now. A failure is kept as its status and logged; the last good data stays."""
        began = time.perf_counter()
        try:
            snapshot = self.source.poll(now)
        except SourceError as e:
            log.warning("source=%s cluster=%s failed: %s", self.source.name, self.source.cluster, e)
            return self._failed(str(e), began)
        except Exception as e:  # a fault of ours in one source must not end its thread, nor the others
            log.exception("source=%s cluster=%s failed unexpectedly", self.source.name, self.source.cluster)
            return self._failed(f"unexpected {type(e).__name__}: {e}", began)
        with self.lock:
            self.snapshot, self.last_success = snapshot, snapshot.at
            self.success, self.error = True, ""
            self.polls += 1
            self.rejects += len(snapshot.rejects)
            self.duration = time.perf_counter() - began
        for problem in snapshot.problems:
            if problem not in self.said:  # what the poll before said, too, has been logged
                log.warning("source=%s cluster=%s %s", self.source.name, self.source.cluster, problem)
        self.said = frozenset(snapshot.problems)
        return True

    def _failed(self, error: str, began: float) -> bool:
        with self.lock:
            self.success, self.error = False, error
            self.failures += 1
            self.polls += 1
            self.duration = time.perf_counter() - began
        return False

    def unrecorded(self) -> SourceReading | None:
        """What was read since this was last asked; None when nothing was."""
        s = self.snapshot
        if s is None or self.last_success <= self.recorded:
            return None
        self.recorded = self.last_success
        scheduler = self.source.scheduler.value if self.source.scheduler else ""
        return SourceReading(
            self.name, self.source.cluster, s.at, s.jobs, s.claims, s.ended, s.nodes, s.rejects, scheduler, s.complete
        )
