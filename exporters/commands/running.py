"""What every verb does that serves until it is told to stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol


class Part(Protocol):
    """Something with a clock or a listener of its own. `stop` is safe without `start`."""

    def start(self) -> None:
        """Work from now on."""
        ...

    def stop(self) -> None:
        """End what was started, and release what it holds."""
        ...


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
