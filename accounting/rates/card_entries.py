"""What a file of rate cards may say, entry by entry: the keys that there are, and of what kind each value is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from exporters.config import Section
from exporters.config.values import Duration, Moment, Price, decimal, words

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


def _counts(value: object) -> object:
    """Numbers of cards: one, or a list."""
    some = [str(decimal(one)) for one in (value if isinstance(value, list | tuple) else [value])]
    if odd := [one for one in some if not _NUMBER.fullmatch(one)]:
        raise ValueError(f"{odd[0]!r} is no number of cards: write it like 4, or 0.142")
    return tuple(some)


def _hourly(value: object) -> object:
    """A price by itself is one in money."""
    return value if isinstance(value, Mapping) else {"money": value}


_Values = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(words), Field(min_length=1)]
_Counts = Annotated[tuple[str, ...], BeforeValidator(_counts), Field(min_length=1)]
_Share = Annotated[Decimal, BeforeValidator(decimal), Field(gt=0)]


class When(Section):
    """What a usage must be: one value for each key, or a list of which any will do."""

    project: _Values | None = None
    scheduler: _Values | None = None
    cluster: _Values | None = None
    account: _Values | None = None
    partition: _Values | None = None
    namespace: _Values | None = None
    queue: _Values | None = None
    qos: _Values | None = None
    user: _Values | None = None
    state: _Values | None = None
    gpu_model: _Values | None = None
    gpus: _Counts | None = None
    mig: _Values | None = None
    ran_under: Duration | None = None
    label: Mapping[str, _Values] = Field(default_factory=dict)


class Hourly(Section):
    """What an hour of something beside the cards costs; ``free`` of it come with each card."""

    money: Price | None = None
    su: Price | None = None
    free: Price = Decimal(0)


_Hourly = Annotated[Hourly, BeforeValidator(_hourly)]


class Dominant(Section):
    """What comes with a card: whoever takes more pays for as many cards as that is the share of."""

    cores: _Share | None = None
    gb: _Share | None = None


class DatedRule(Section):
    """What prices and factors have in common."""

    when: When = When()
    valid_from: Moment | None = None
    valid_to: Moment | None = None


class PriceEntry(DatedRule):
    """A price per GPU-hour, in money or in service units, or both; and of what is held beside the cards."""

    name: str = ""
    gpu_hour: Price | None = None
    su: Price | None = None
    core_hour: _Hourly | None = None
    gb_hour: _Hourly | None = None
    node_hour: _Hourly | None = None
    dominant: Dominant | None = None


class FactorEntry(DatedRule):
    """What a price is multiplied by. Of the factors of one name the most specific one counts."""

    name: str = Field(min_length=1)
    factor: Price


class DistributionEntry(Section):
    """Who pays for hours that nobody used: by what each was charged, or whose lines they stand on."""

    of: Annotated[tuple[Literal["idle", "reserved", "down"], ...], BeforeValidator(words), Field(min_length=1)]
    how: Literal["none", "proportional", "owner"]
    gpu_hour: Price | None = None
    su: Price | None = None
    gpu_model: _Values | None = None


class CardEntry(Section):
    """Prices while ``valid_from <= time of use < valid_to``."""

    name: str = Field(min_length=1)
    currency: str
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    su_price: Price | None = None
    prices: tuple[PriceEntry, ...] = Field(min_length=1)
    factors: tuple[FactorEntry, ...] = ()
    distribute: tuple[DistributionEntry, ...] = ()


class GrantEntry(Section):
    """What was granted to a project, in service units or in money, over whole months."""

    name: str = Field(min_length=1)
    project: str = Field(min_length=1)
    su: Price | None = None
    money: Price | None = None
    currency: str = ""
    valid_from: date
    valid_to: date
    overdraft: Literal["allow", "refuse"] = "refuse"


class CardFile(Section):
    """A file of rate cards, or of allocations, or both."""

    cards: tuple[CardEntry, ...] = ()
    allocations: tuple[GrantEntry, ...] = ()
