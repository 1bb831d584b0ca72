"""The time mapping of the demo site: recorded seconds -> moments of a month. Monotone, fixed, the same for everything.

Every whole recorded second becomes a moment of its own; from one to the next pass about 1.6 hours, up to 30 % more or
less by a fixed sequence, so that the month's times look like times. What happened in the same recorded second happens
at the same moment of the month, and what happened earlier happens earlier. A duration between two records is the
difference of their mapped moments. The month begins `LEAD` seconds into the story and ends `TAIL` seconds before its
end, so jobs run across both of its borders. Moments outside the recording (a machine's boot, an end in a year's time)
keep their distance from its first or last second.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from datetime import UTC, datetime
from itertools import accumulate

LEAD, TAIL = 10, 8
SEED = 202610

MONTH_START = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp())
MONTH_END = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())


class TimeMap:
    """The mapping of one recording that began at epoch second ``begin`` and lasts ``seconds``."""

    def __init__(self, begin: int, seconds: int) -> None:
        self.begin = begin
        self.seconds = seconds
        chance = random.Random(SEED)
        lengths = [chance.uniform(0.7, 1.3) for _ in range(seconds)]
        reached = [0.0, *accumulate(lengths)]
        scale = (MONTH_END - MONTH_START) / (reached[seconds - TAIL] - reached[LEAD])
        first = MONTH_START - reached[LEAD] * scale
        self.moments = [round(first + r * scale) for r in reached]

    def __call__(self, moment: int) -> int:
        """The moment of the month at which a recorded epoch second lies."""
        second = moment - self.begin
        if second < 0:
            return self.moments[0] + second
        if second > self.seconds:
            return self.moments[-1] + second - self.seconds
        return self.moments[second]

    def second(self, moment: int) -> int:
        """The last recorded second that a moment of the month has reached (0 before the first)."""
        return max(0, bisect_right(self.moments, moment) - 1)
