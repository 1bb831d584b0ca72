"""Who pays for time that nobody used: what a card says of idle, reserved and down hours, shared out. Pure.

What a pool of hours costs is rounded once for each GPU model and shared by largest remainder, so that the shares sum to
the cost to the last minor unit. Who held no card of a model pays nothing for it; where nobody did, it stays with the
site. Corrections are not shared out: what is learnt later of a closed month moves hours, and their price with them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import polars as pl

from accounting.rates.rating import MILLIGPU_SECONDS_PER_HOUR, SU_DIGITS, Distribution, Rates, money
from accounting.rates.rounding import half_even
from exporters.model import Disposition

Quantities = Mapping[tuple[str, str], int]
"""milliGPU-seconds by project and GPU model."""

_CHARGED = Disposition.CHARGED.value


def shared_out(usages: pl.DataFrame, rates: Rates) -> pl.DataFrame:
    """The usages of a month, priced, and a row more for each project and GPU model that pays for what nobody used.

    Such a row has no job and no hours; its ``price_rule`` says what is shared. Only rows with an empty ``corrects`` are
    looked at.
    """
    if not rates.distribute:
        return usages
    own = usages.filter(pl.col("corrects") == "")
    sums = own.select(pl.col("project", "gpu_model", "disposition").cast(pl.String), "charged")
    sums = sums.group_by("project", "gpu_model", "disposition").agg(pl.col("charged").sum())
    found: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for project, model, word, quantity in sums.iter_rows():
        found[word][project, model] = quantity
    rows = [*_rows(rates, found)]
    if not rows:
        return usages
    start = own["start"].min()
    more = pl.DataFrame(rows, orient="row", schema=["project", "gpu_model", "price_rule", "minor", "su"]).with_columns(
        pl.lit(start).alias("start"),
        pl.lit(start).alias("end"),
        unit_price=pl.lit(money(rates.zero, rates.minor_digits)),
        disposition=pl.lit(_CHARGED),
        corrects=pl.lit(""),
        **dict.fromkeys(("job", "linked", "charged", "held"), pl.lit(0)),
    )
    kept = more.select(pl.col(name).cast(usages.schema[name]) for name in more.columns if name in usages.columns)
    return pl.concat([usages, kept], how="diagonal").with_columns(
        pl.col(name).fill_null(0) for name in ("since",) if name in usages.columns
    )


def _rows(
    rates: Rates, found: Mapping[str, Mapping[tuple[str, str], int]]
) -> Iterator[tuple[str, str, str, int, int | None]]:
    """Project, model, what is shared, minor units and millionths of a service unit."""
    amounts: dict[tuple[str, str], int] = defaultdict(int)
    units: dict[tuple[str, str], int] = {}
    told: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in rates.distribute:
        pool: dict[tuple[str, str], int] = defaultdict(int)
        for word in one.of:
            for place, quantity in found.get(word, {}).items():
                if one.is_about(place[1]):
                    pool[place] += quantity
        charged = found.get(_CHARGED, {})
        for place, minor in shares(one, pool, charged, one.worth, rates.minor_digits).items():
            amounts[place] += minor
            told[place].append(one.told)
        if one.su is not None:
            for place, micro in shares(one, pool, charged, one.su, SU_DIGITS).items():
                units[place] = units.get(place, 0) + micro
    for place in sorted(amounts):
        yield *place, " + ".join(told[place]), amounts[place], units.get(place)


def shares(
    one: Distribution, pool: Quantities, charged: Quantities, price: Decimal, digits: int
) -> Mapping[tuple[str, str], int]:
    """What each project pays of a pool of hours, by project and model, in units of ``10**-digits``.

    By owner each pays for the hours that stand on its own lines; else all of a model's hours are shared by what each
    project was charged of that model.
    """
    if one.by_owner:
        return {place: _worth(quantity, price, digits) for place, quantity in pool.items() if place[0] and quantity > 0}
    found: dict[tuple[str, str], int] = {}
    for model in sorted({model for _, model in pool}):
        cost = _worth(sum(quantity for (_, of), quantity in pool.items() if of == model), price, digits)
        weights = {place: quantity for place, quantity in sorted(charged.items()) if place[1] == model and quantity > 0}
        if weights:
            found.update(zip(weights, split(cost, [*weights.values()]), strict=True))
    return found


def _worth(quantity: int, price: Decimal, digits: int) -> int:
    top, bottom = price.as_integer_ratio()
    unit: int = 10**digits
    return half_even(quantity * top * unit, bottom * MILLIGPU_SECONDS_PER_HOUR)


def split(whole: int, weights: Sequence[int]) -> list[int]:
    """Share a whole by weights, whole numbers that sum to it: largest remainder, ties to the earlier.

    >>> split(100, [1, 1, 1])
    [34, 33, 33]
    """
    total = sum(weights)
    parts = [divmod(whole * weight, total) for weight in weights]
    missing = whole - sum(part for part, _ in parts)
    first = sorted(range(len(parts)), key=lambda n: -parts[n][1])[:missing]
    return [part + (n in first) for n, (part, _) in enumerate(parts)]
