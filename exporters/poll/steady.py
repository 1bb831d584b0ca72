"""Now, by a clock that cannot be thrown off its course for a moment.

The wall clock says what time it is, and the monotonic one how much has passed. While they agree, the wall clock is
followed. When it jumps, nobody can tell at once whether it is right now or was right before; so times go on as before
until the jump has lasted, and only then is the new time taken for the right one. A clock that is a year ahead for some
seconds therefore stamps nothing with next year.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

SLACK = 30.0
"""Seconds by which the clocks may part between two questions: what a time daemon corrects bit by bit is followed."""

PATIENCE = 600.0
"""Seconds after which a jump that lasts is believed."""


class SteadyClock:
    """Call it for now, in epoch seconds. Safe between threads."""

    def __init__(self, wall: Callable[[], float] = time.time, passed: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._passed = wall, passed
        self._lock = threading.Lock()
        self._offset = wall() - passed()
        self._jump: tuple[float, float] | None = None  # by how much, and since when

    def __call__(self) -> float:
        """Now."""
        with self._lock:
            wall, passed = self._wall(), self._passed()
            jump = wall - passed - self._offset
            if abs(jump) <= SLACK:
                self._offset, self._jump = wall - passed, None
                return wall
            if self._jump is None or abs(self._jump[0] - jump) > SLACK:
                self._jump = (jump, passed)
                log.error(
                    "the clock jumped by %.0f s: times go on as before until it has stayed so for %.0f s",
                    jump,
                    PATIENCE,
                )
            elif passed - self._jump[1] >= PATIENCE:
                log.error("the clock has stayed %.0f s from where it was: its time is taken for the right one", jump)
                self._offset, self._jump = wall - passed, None
                return wall
            return passed + self._offset
