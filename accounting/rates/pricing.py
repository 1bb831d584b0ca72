"""Pricing: usages x prices -> what each comes to. Pure, exact, and the only text that asks for a price.

    amount = charged milliGPU-seconds / 3,600,000 x price per GPU-hour

A price relation is a table of rules (`accounting.rates.rating.PriceRule`), joined to the usages by the columns that the
rules name. Amounts are computed in 128-bit integers and rounded **once**, at the end, to the currency's minor unit,
half to even: over many thousand lines that has no bias upwards or downwards, and a reversed line is exactly the
negative of the line it reverses. Only the disposition ``charged`` is priced; every other usage comes to 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import polars as pl

from accounting.rates.rating import GPU_MODEL, MILLIGPU_SECONDS_PER_HOUR, PriceRule, Rates, RatingError
from accounting.rates.rounding import half_even
from exporters.model import Disposition

_Rules = Sequence[PriceRule]
_MOST = 1 << 125
"""What is computed with 128 bits is less, and twice as much fits as well."""


def seen_by(*cards: Rates) -> frozenset[str]:
    """The columns of a usage (`accounting.rates.rating.SEEN`) that its price depends on."""
    return frozenset(name for rates in cards for rule in rates.rules for name in rule.when)


def priced(usages: pl.DataFrame, cards: Sequence[Rates], who: Callable[[int], str] = lambda _: "") -> pl.DataFrame:
    """The same usages with two columns more: ``rule``, and ``minor``, what each comes to in minor units.

    ``usages`` has the columns ``disposition``, ``charged`` (milliGPU-seconds, Int64), ``job`` (0 is nobody) and those
    that the prices depend on (`seen_by`). Where the first of ``cards`` has no price, that of the next one counts.
    ``rule`` is the place of the rule that gave the price in the rules of all cards, one card after the other; null
    where there is none. ``who`` names a job, for the sentence about one without a price.

    Raises `RatingError` for a charged usage without a price, and for one to which two rules give one with equal right.
    """
    rules = [rule for rates in cards for rule in rates.rules]
    columns = [name for name in usages.columns if name in seen_by(*cards)]
    kinds = usages.filter(_CHARGED).select(columns).unique() if columns else pl.DataFrame({"": [0]})
    found = _rules_of(kinds, cards)
    if columns:
        chosen = usages.join(
            kinds.with_columns(rule=found), on=columns, how="left", maintain_order="left", nulls_equal=True
        )
    else:
        chosen = usages.with_columns(rule=pl.lit(found[0], pl.Int64))
    chosen = chosen.with_columns(rule=pl.when(_CHARGED).then("rule"))
    lost = chosen.filter(_CHARGED & pl.col("rule").is_null())
    if lost.height:
        raise _unpriced(lost, who)
    return chosen.with_columns(_minor_units(chosen, rules, cards[0].minor_digits))


_CHARGED = pl.col("disposition") == Disposition.CHARGED.value


def _rules_of(kinds: pl.DataFrame, cards: Sequence[Rates]) -> pl.Series:
    """For each kind of usage the place of its rule; null where none fits."""
    found = pl.Series("rule", [None] * kinds.height, pl.Int64)
    first = 0
    for rates in cards:
        for size in sorted({len(rule.when) for rule in rates.rules}, reverse=True):
            fitting = _fitting(kinds, [(n, r) for n, r in enumerate(rates.rules, first) if len(r.when) == size])
            several = kinds.with_columns(one=fitting.min_horizontal(), other=fitting.max_horizontal())
            twice = several.filter(found.is_null() & (pl.col("one") != pl.col("other")))
            if twice.height:
                one, other = (rates.rules[twice[name][0] - first].key for name in ("one", "other"))
                raise RatingError(f"{one} and {other} both give a price, with equal right, to {twice.row(0)[:-2]}")
            found = found.fill_null(several["one"])
        first += len(rates.rules)
    return found.alias("rule")


def _fitting(kinds: pl.DataFrame, rules: Sequence[tuple[int, PriceRule]]) -> pl.DataFrame:
    """A column for each set of columns that rules name: the place of the rule that fits a kind of usage."""
    sets: dict[tuple[str, ...], dict[tuple[str, ...], int]] = defaultdict(dict)
    known = dict(rules)
    for place, rule in rules:
        names = tuple(sorted(rule.when))
        key = tuple(_folded(name, rule.when[name]) for name in names)
        other = known[sets[names].setdefault(key, place)]
        if other.price != rule.price:
            raise RatingError(f"{other.key} and {rule.key} both give a price, with equal right, to the same usage")
    columns = []
    for names, places in sets.items():
        rows = (
            kinds.select(pl.col(name).cast(pl.String) for name in names).iter_rows() if names else [()] * kinds.height
        )
        fits = (places.get(tuple(map(_folded, names, row))) for row in rows)
        columns.append(pl.Series(" ".join(names), fits, pl.Int64))
    return pl.DataFrame(columns)


def _folded(name: str, value: str) -> str:
    return value.casefold() if name == GPU_MODEL else value


def _minor_units(usages: pl.DataFrame, rules: _Rules, digits: int) -> pl.Series:
    """Money for ``charged`` in units of ``10**-digits``, rounded once, half to even."""
    ratios = [rule.price.as_integer_ratio() for rule in rules]
    tops = [numerator * 10**digits for numerator, _ in ratios]
    bottoms = [denominator * MILLIGPU_SECONDS_PER_HOUR for _, denominator in ratios]
    most = int(usages.select(pl.col("charged").abs().max()).item() or 0)
    if max([0, *bottoms, *(most * top for top in tops)]) >= _MOST:  # a price of very many digits
        rows = usages.select("charged", "rule").iter_rows()
        return pl.Series("minor", [0 if n is None else half_even(q * tops[n], bottoms[n]) for q, n in rows], pl.Int64)
    wide = pl.Int128()
    top, bottom = (pl.lit(pl.Series(some, dtype=wide)).gather("rule") for some in (tops, bottoms))
    amount = half_even(pl.col("charged").cast(wide) * top, bottom)
    return usages.select(minor=amount.fill_null(0).cast(pl.Int64))["minor"]


def _unpriced(lost: pl.DataFrame, who: Callable[[int], str]) -> RatingError:
    """The sentence about the first usage without a price."""
    job, model = lost.select("job", pl.col(GPU_MODEL).cast(pl.String)).sort(GPU_MODEL, "job").row(0)
    told = f" (job {who(job)})" if job else ""
    if not model:
        return RatingError(f"no price for cards of unknown model{told}: set rates.default")
    return RatingError(f"no price for GPU model {model!r}{told}: add rates.gpu_hour.{model}, or set rates.default")
