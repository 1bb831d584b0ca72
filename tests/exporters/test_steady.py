from __future__ import annotations

from dataclasses import dataclass

from exporters.poll.steady import PATIENCE, SteadyClock

T0 = 1_790_000_000.0
YEAR = 366 * 86_400.0


@dataclass
class Clocks:
    wall: float = T0
    passed: float = 50.0

    def go(self, seconds: float, jump: float = 0.0) -> None:
        self.passed += seconds
        self.wall += seconds + jump


def steady(clocks: Clocks) -> SteadyClock:
    return SteadyClock(lambda: clocks.wall, lambda: clocks.passed)


def test_it_follows_the_wall_clock_and_what_a_time_daemon_corrects() -> None:
    clocks = Clocks()
    now = steady(clocks)
    said = []
    for _ in range(4):
        clocks.go(15.0, jump=0.5)
        said.append(now())

    assert [T0 + 15.5 * n for n in range(1, 5)] == said


def test_a_clock_that_is_a_year_ahead_for_some_seconds_stamps_nothing_with_next_year() -> None:
    clocks = Clocks()
    now = steady(clocks)
    clocks.go(15.0, jump=YEAR)
    ahead = now()
    clocks.go(15.0, jump=-YEAR)

    assert (T0 + 15.0, T0 + 30.0) == (ahead, now())


def test_a_jump_that_lasts_is_believed() -> None:
    clocks = Clocks()
    now = steady(clocks)
    clocks.go(15.0, jump=-3600.0)
    before = now()
    clocks.go(PATIENCE)
    after = now()

    assert (T0 + 15.0, T0 + 15.0 + PATIENCE - 3600.0) == (before, after)


def test_another_jump_begins_the_wait_anew() -> None:
    clocks = Clocks()
    now = steady(clocks)
    for jump in (YEAR, YEAR, YEAR):
        clocks.go(PATIENCE / 2, jump=jump)
        said = now()

    assert T0 + 1.5 * PATIENCE == said
