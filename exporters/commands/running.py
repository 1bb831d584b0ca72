"""What every verb does that serves until it is told to stop, or to read its settings again."""

from __future__ import annotations

import logging
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from exporters.errors import OperatorError

log = logging.getLogger(__name__)


class Part(Protocol):
    """Something with a clock or a listener of its own. `stop` is safe without `start`."""

    def start(self) -> None:
        """Work from now on."""
        ...

    def stop(self) -> None:
        """End what was started, and release what it holds."""
        ...


def serve_until_told(check: Callable[[], object], build: Callable[[], Sequence[Part]]) -> None:
    """Build the parts and run them until SIGTERM or SIGINT; at SIGHUP, build them anew and go on with those.

    ``check`` is asked first, and builds nothing that is not thrown away: where it raises `OperatorError` (settings that
    cannot be used), that is logged and what runs goes on as it is. A reload is a restart without leaving, so that
    nothing of the old settings is left; the last page is away for as long as the first round takes.
    """
    told = Signals()
    while True:
        parts = build()
        with running(*parts):
            while (again := told.wait()) and not _usable(check):
                pass
        if not again:
            return
        log.info("the settings were read again")


@contextmanager
def running(*parts: Part) -> Iterator[None]:
    """Start the parts in their order, and stop them in the opposite order at the end.

    They are stopped also where one of them cannot start; what it raised goes on.
    """
    with ExitStack() as stack:
        for part in parts:
            stack.callback(part.stop)
            part.start()
        yield


class Signals:
    """What the process is told from now on; nothing that comes between two waits is lost."""

    def __init__(self) -> None:
        self._came: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: self._came.put(number))

    def wait(self) -> bool:
        """Return at the next SIGTERM or SIGINT with False, at the next SIGHUP with True."""
        return self._came.get() == signal.SIGHUP


def _usable(check: Callable[[], object]) -> bool:
    try:
        check()
    except OperatorError as error:
        log.error("the settings stay as they are: %s", error)  # noqa: TRY400 - the sentence says it all
        return False
    return True
