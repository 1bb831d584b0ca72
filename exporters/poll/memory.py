"""How the exporter's process treats its memory, and shares Python's one lock between its threads."""

from __future__ import annotations

import gc
import sys

SWITCH_SECONDS = 0.001
"""A scrape is answered while a round runs: it takes the lock some ten times, and waits so long for it each time."""

TIDY_ROUNDS = 40
"""Rounds between two looks for garbage cycles: ten minutes at 15 s."""

_OBJECTS = 2_000_000
"""So many more objects than at the last look are looked through at once, should they gather faster than that."""


def settle() -> None:
    """Answer scrapes promptly, and leave looking for garbage cycles to `tidy`.

    A round makes some hundred thousand objects, lets go of as many, and hardly any of them are in a cycle. At the usual
    thresholds Python walks through them and all that the process knows of a fleet several times a round, a fifth of the
    round's time at 1,000 machines.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, 10, 10)


def tidy(rounds: int) -> None:
    """Look for garbage cycles once in `TIDY_ROUNDS`. ``rounds``: how many there were so far."""
    if rounds % TIDY_ROUNDS == 0:
        gc.collect()
