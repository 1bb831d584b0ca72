"""Leaves a busy controller alone: after each sign of overload, twice as long as after the one before.

A sign is an answer that did not come in time, or Slurm's own words for it. Whatever else goes wrong (no such command, a
configuration that cannot be read) costs the controller nothing, and is tried again at the next poll.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from exporters.sources.base import SourceError

MOST = 300.0
"""Seconds that a controller is left alone at most."""

_BUSY = re.compile(
    r"did not (?:finish|answer)|socket timed out|timed out|rate.?limit|too many requests|status (?:429|503)"
    r"|connection reset|temporarily unavailable|backup controller in standby|server.?busy",
    re.IGNORECASE,
)


class BusyError(SourceError):
    """The controller is left alone for now: it was not asked."""


class Backoff:
    """``first`` is how long the first pause is, ``most`` the longest, in seconds of the clock given to `asking`."""

    def __init__(self, first: float, most: float = MOST) -> None:
        self._first, self._most = first, max(first, most)
        self._pause = 0.0
        self._until = 0.0
        self._why = ""

    @contextmanager
    def asking(self, now: float) -> Iterator[None]:
        """Around one poll. Raises `BusyError` instead of asking while the controller is left alone."""
        self.wait(now)
        try:
            yield
        except SourceError as error:
            if is_busy(str(error)):
                self._pause = min(self._most, 2 * self._pause or self._first)
                self._until = now + self._pause
                self._why = str(error)
                raise BusyError(f"{error} It looks busy, and is left alone for {self._pause:.0f} s") from error
            self._pause = 0.0
            raise
        self._pause = 0.0

    def wait(self, now: float) -> None:
        """Raises `BusyError` while the controller is left alone: it says for how long, and why."""
        if self._pause and now < self._until:
            raise BusyError(
                f"the controller is left alone for another {self._until - now:.0f} s (pauses double up to "
                f"{self._most:g} s while it is busy): {self._why}"
            )


def is_busy(said: str) -> bool:
    """Whether an error's words say that whoever was asked had too much to do.

    >>> is_busy("slurm_load_jobs error: Socket timed out on send/recv operation"), is_busy("Invalid user id")
    (True, False)
    """
    return bool(_BUSY.search(said))
