"""How much of the books a check looks at: everything, a sample drawn by chance, or one part of it in its turn.

What is summed up in the database is always looked at whole. What is read row by row is drawn: days to be reconciled
again, pages of records, claims and jobs, days of telemetry, and closed months to be sealed and rated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol, TypeVar

T = TypeVar("T")

DAYS = 31
"""Days that take about as long as a month: of months a sample has that many less."""


class Draw(Protocol):
    """Which of many things are looked at."""

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Some of what there is, days or pages, in their order."""
        ...

    def months(self, items: Sequence[T]) -> Sequence[T]:
        """Some of the months there are, in their order."""
        ...


class Everything:
    """All of them."""

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """All."""
        return items

    def months(self, items: Sequence[T]) -> Sequence[T]:
        """All."""
        return items


@dataclass(frozen=True, slots=True)
class Sample:
    """At most so many of each, drawn by chance: whoever changes something cannot know what is looked at."""

    most: int
    chance: Random

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """At most `most`."""
        return self._some(items, self.most)

    def months(self, items: Sequence[T]) -> Sequence[T]:
        """At most one for each `DAYS` that are drawn, and one at least."""
        return self._some(items, -(-self.most // DAYS))

    def _some(self, items: Sequence[T], most: int) -> Sequence[T]:
        places = range(len(items))
        return [items[n] for n in sorted(self.chance.sample(places, min(most, len(places))))]


@dataclass(frozen=True, slots=True)
class Part:
    """Every ``of_parts``-th of each from ``turn`` on: after all turns nothing is left out."""

    turn: int
    of_parts: int

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Its part."""
        return items[self.turn :: self.of_parts]

    def months(self, items: Sequence[T]) -> Sequence[T]:
        """Its part."""
        return self.of(items)
