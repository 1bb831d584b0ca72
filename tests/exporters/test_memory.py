from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from exporters.poll.memory import SWITCH_SECONDS, TIDY_ROUNDS, settle, tidy


@pytest.fixture
def as_before() -> Iterator[None]:
    thresholds, switch = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    sys.setswitchinterval(switch)


class Ring:
    """A garbage cycle."""

    left = 0

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        Ring.left += 1


@pytest.mark.usefixtures("as_before")
def test_a_settled_process_looks_for_cycles_when_it_tidies_and_not_while_it_makes_a_round() -> None:
    settle()
    Ring()
    objects = [[n] for n in range(200_000)]

    assert (0, 200_000) == (Ring.left, len(objects))
    tidy(TIDY_ROUNDS - 1)
    assert Ring.left == 0
    tidy(TIDY_ROUNDS)
    assert Ring.left == 1


@pytest.mark.usefixtures("as_before")
def test_a_settled_process_shares_the_lock_often() -> None:
    settle()

    assert pytest.approx(SWITCH_SECONDS) == sys.getswitchinterval()
