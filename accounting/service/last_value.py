"""The last thing that was made, kept for whoever asks for the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Keeps the last thing that was made, for ``seconds``: then it is let go of, and made anew for who asks again.

    One is kept, not several: they are large.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._clock = seconds, clock
        self._making = threading.Lock()
        self._kept: tuple[object, float, T] | None = None
        self._timer: threading.Timer | None = None

    def of(self, key: object, make: Callable[[], T]) -> T:
        """What was made for this key. Where several ask at once, one makes it and the others wait."""
        with self._making:
            kept = self._kept
            if kept is None or kept[0] != key or self._clock() - kept[1] > self.seconds:
                self._let_go()  # the old one goes first: two may be too much
                kept = self._kept = (key, self._clock(), make())
                self._timer = threading.Timer(self.seconds, self.forget)
                self._timer.daemon = True
                self._timer.start()
            return kept[2]

    def forget(self) -> None:
        """Let go of it."""
        with self._making:
            self._let_go()

    def _let_go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._kept = None, None
