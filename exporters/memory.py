"""How the exporter's process treats its memory, and shares Python's one lock between its threads."""

from __future__ import annotations

import gc
import sys

SWITCH_SECONDS = 0.001
"""A scrape is answered while a round runs: it takes the lock some ten times, and waits so long for it each time."""


def settle() -> None:
    """Answer scrapes promptly, and look for garbage cycles seldom.

    A round makes some ten thousand objects, hardly any of them in a cycle. At the usual thresholds Python walks through
    all that the process knows of a fleet several times a round, a fifth of the round's time at 1,000 machines.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
