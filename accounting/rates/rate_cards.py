"""Rate cards: all prices that a site ever set, dated by the time of use, and those of one month.

A card is valid over ``[valid_from, valid_to)``; cards neither overlap nor leave a hole, so at every moment one is
valid, with its currency. Its rules may be dated by themselves. What is used has the price of its time, whenever a month
is looked at or closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from accounting.rates.rating import BEGINNING, FOREVER, Distribution, Factor, PriceRule, Rates, RatingError, Rule

_SomeRule = TypeVar("_SomeRule", bound=Rule)


@dataclass(frozen=True, slots=True)
class Card:
    """Prices over ``[valid_from, valid_to)``, epoch seconds, in one currency. ``key`` says where, for people."""

    key: str
    rates: Rates
    valid_from: int = BEGINNING
    valid_to: int = FOREVER


@dataclass(frozen=True, slots=True)
class RateCards:
    """The cards of a site, in order of time.

    Raises `RatingError` for none at all, for two that overlap, and for time between two that has none.
    """

    cards: tuple[Card, ...]

    def __post_init__(self) -> None:
        if not self.cards:
            raise RatingError("rates: there is no card")
        for one, other in zip(self.cards, self.cards[1:], strict=False):
            if one.valid_to > other.valid_from:
                raise RatingError(f"{one.key} and {other.key} overlap: one card is valid at a time")
            if one.valid_to < other.valid_from:
                raise RatingError(f"between {one.key} and {other.key} there is time without a card")

    @property
    def changes(self) -> tuple[int, ...]:
        """The moments at which any price changes."""
        found = {moment for card in self.cards for moment in card.rates.changes}
        found |= {moment for card in self.cards for moment in (card.valid_from, card.valid_to)}
        return tuple(sorted(found - {BEGINNING, FOREVER}))

    def of(self, name: str, start: int, end: int) -> Rates:
        """The prices of a month ``[start, end)``, dated where they change in it and nowhere else.

        Raises `RatingError` for a month of which a part has no card, and for one with two currencies.
        """
        here = [card for card in self.cards if card.valid_from < end and card.valid_to > start]
        if not here or here[0].valid_from > start or here[-1].valid_to < end:
            told = f"{self.cards[0].key} is the first, {self.cards[-1].key} the last"
            raise RatingError(f"rates: no card is valid in all of {name}: {told}")
        first = here[0].rates
        for card in here[1:]:
            if card.rates.currency != first.currency:
                raise RatingError(
                    f"{card.key}: the currency changes from {first.currency} to {card.rates.currency} within {name}: "
                    "it can only change between months"
                )
        for card in here[1:]:
            if _as_shared(card.rates) != _as_shared(first):
                told = "what nobody used is shared out otherwise within"
                raise RatingError(f"{card.key}: {told} {name}: that can only change between months")
        if len(here) == 1 and not any(card.rates.changes for card in here):
            return first
        rules: list[PriceRule] = []
        factors: list[Factor] = []
        for card in here:
            span = max(card.valid_from, start), min(card.valid_to, end)
            rules += _within(card.rates.rules, span, (start, end))
            factors += _within(card.rates.factors, span, (start, end))
        return Rates({}, first.currency, None, tuple(_joined(rules)), tuple(_joined(factors)), first.distribute)


def _as_shared(rates: Rates) -> list[Distribution]:
    """Who pays for what nobody used, wherever it is set."""
    return [replace(one, key="") for one in rates.distribute]


def _within(rules: Sequence[_SomeRule], span: tuple[int, int], month: tuple[int, int]) -> list[_SomeRule]:
    """Rules as far as they are valid in a span; undated where they are valid from the month's begin, or to its end."""
    found = []
    for rule in rules:
        begin, end = max(rule.valid_from, span[0]), min(rule.valid_to, span[1])
        if begin < end:
            begin, end = (BEGINNING if begin <= month[0] else begin), (FOREVER if end >= month[1] else end)
            found.append(replace(rule, valid_from=begin, valid_to=end))
    return found


def _joined(rules: Sequence[_SomeRule]) -> list[_SomeRule]:
    """Rules of which one takes up where an equal one ended are one rule: what did not change is no change."""
    found: list[_SomeRule] = []
    for rule in rules:
        for n, before in enumerate(found):
            other = {name: getattr(rule, name) for name in ("valid_from", "valid_to", "key", "label")}
            alike = replace(before, **other)
            if before.valid_to == rule.valid_from and alike == rule:
                found[n] = replace(before, valid_to=rule.valid_to)
                break
        else:
            found.append(rule)
    return found
