"""Python's collector of cyclic garbage, and where it would only be in the way."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Nobody looks for cycles meanwhile: for work in bulk on rows, which have none, and of which there are so many that
    looking through them again and again is a fifth of the work.

    Everything else is freed as ever. When several threads do this, the first to end ends it for all, which is harmless.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
