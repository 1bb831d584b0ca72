"""Why a month costs more or less than the one before: a difference as parts that add up to it exactly. Pure.

Hours, mix and prices are those of the months' own charged lines, by GPU model. With ``h`` for hours and ``a`` for
amounts, of this month and (``0``) of the one before:

    hours    (h - h0) at the average price that was paid before, a0 / h0
    models   what the same hours cost more because more of them were of dearer models
    prices   per model that both months have: its hours now, at its average price now less that before

Prices are those that were paid, so rules and factors (QOS, project) count in them. Amounts are exact here, hours times
price; what the rounding of lines made of them is a part of its own, and so are corrections of earlier months. Where one
of the months has no hours, all of it is hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from accounting.statements.html.adding_up import adding_up


@dataclass(frozen=True, slots=True)
class Cost:
    """What one month came to: by GPU model milliGPU-seconds and their exact worth in minor units; ``own`` is what its
    lines came to, rounded, and ``corrections`` what those of earlier months did.
    """

    models: Mapping[str, tuple[int, Fraction]]
    own: int
    corrections: int = 0

    @property
    def hours(self) -> int:
        """All milliGPU-seconds of the month's own."""
        return sum(quantity for quantity, _ in self.models.values())

    @property
    def worth(self) -> Fraction:
        """What all of it is worth, exactly."""
        return sum((worth for _, worth in self.models.values()), Fraction(0))

    @property
    def total(self) -> int:
        """Minor units, corrections included."""
        return self.own + self.corrections


@dataclass(frozen=True, slots=True)
class Difference:
    """The parts of a difference in minor units. ``prices`` is by GPU model, without those that made no difference."""

    hours: int
    models: int
    prices: Mapping[str, int]
    rounding: int
    corrections: int

    @property
    def total(self) -> int:
        """What they add up to: this month less the one before."""
        return self.hours + self.models + sum(self.prices.values()) + self.rounding + self.corrections


def difference(now: Cost, before: Cost) -> Difference:
    """The parts of ``now.total - before.total``; their sum is exactly that."""
    whole = now.own - before.own
    corrections = now.corrections - before.corrections
    if now.hours <= 0 or before.hours <= 0:
        return Difference(whole, 0, {}, 0, corrections)
    hours = (now.hours - before.hours) * before.worth / before.hours
    prices = {
        model: quantity * (worth / quantity - before.models[model][1] / before.models[model][0])
        for model, (quantity, worth) in sorted(now.models.items())
        if quantity > 0 and before.models.get(model, (0, Fraction(0)))[0] > 0
    }
    models = now.worth - before.worth - hours - sum(prices.values(), Fraction(0))
    rounding = whole - (now.worth - before.worth)
    rounded = adding_up([hours, models, rounding, *prices.values()], whole)
    told = dict(zip(prices, rounded[3:], strict=True))
    changed = {model: part for model, part in told.items() if part}
    return Difference(rounded[0], rounded[1], changed, rounded[2], corrections)
