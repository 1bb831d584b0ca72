"""Work in pieces of which the next one is made while the caller is busy with the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def ahead(function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """``map`` that is one item ahead, in a thread: worth it where ``function`` waits, or works outside of Python."""
    with ThreadPoolExecutor(1, "ahead") as beside:
        waiting = None
        for item in items:
            following = beside.submit(function, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
