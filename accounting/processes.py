"""Processes that work beside this one: they end when it does, however it ends."""

from __future__ import annotations

import os
from multiprocessing import parent_process
from threading import Thread


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone.

    A pool's processes wait for work on a pipe that they hold open themselves, and would wait for ever when nobody tells
    them to end: after a SIGTERM, a SIGKILL, or when the kernel is short of memory. For a pool's initializer.
    """
    Thread(target=_end, name="end-with-parent", daemon=True).start()


def _end() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
