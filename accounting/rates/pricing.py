"""Pricing: usages x prices -> what each comes to. Pure, exact, and the only text that asks for a price.

    amount = charged milliGPU-seconds / 3,600,000 x price per GPU-hour x factors

A price relation is a table of rules (`accounting.rates.rating.PriceRule`), joined to the usages by the columns that the
rules name; so are factors, those of each name by themselves. Amounts are computed in 128-bit integers and rounded
**once**, at the end, to the currency's minor unit (service units to `SU_DIGITS` decimals), half to even: over many
thousand lines that has no bias upwards or downwards, and a reversed line is exactly the negative of the line it
reverses. Only the disposition ``charged`` is priced; every other usage comes to 0.

Where prices change within a month (`accounting.rates.rating.Rates.changes`), its usages have a column ``part``: the
change at which the part of the month begins that they lie in, 0 for the first. Their price is the one valid then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import product
from types import MappingProxyType
from typing import TypeVar

import polars as pl

from accounting.rates.rating import (
    BESIDE,
    GPU_MODEL,
    MILLIGPU_SECONDS_PER_HOUR,
    RAN_UNDER,
    SU_DIGITS,
    Beside,
    Factor,
    PriceRule,
    Rates,
    RatingError,
    Rule,
    plain,
)
from accounting.rates.rounding import half_even
from exporters.model import Disposition

PART, SINCE = "part", "since"
"""The columns of a usage that say where its part of the month begins, and since when its price is so."""

_MOST = 1 << 125
"""What is computed with 128 bits is less, and twice as much fits as well."""

_SHARE = Decimal("0.000001")
"""To what a share of a card is rounded, half to even: a price is a decimal."""

NOTHING: Mapping[str, Decimal] = MappingProxyType({})
"""What a job holds beside its cards where nothing of it is asked for."""

_DIGITS = 200
"""Digits with which decimals are multiplied: more than any price and its factors have."""


def seen_by(*cards: Rates) -> frozenset[str]:
    """The columns of a usage (`accounting.rates.rating.SEEN`) that its price depends on."""
    return frozenset(name for rates in cards for rule in (*rates.rules, *rates.factors) for name in rule.looks)


@dataclass(frozen=True, slots=True)
class Priced:
    """What a usage was priced by: a rule, the factors that apply, and what a GPU-hour comes to with all of them.

    ``su`` is None where nothing is counted in service units. ``beside`` is how much of what is beside the cards is paid
    for, for each card, and ``share`` as how many cards a card counts.
    """

    rule: PriceRule
    factors: tuple[Factor, ...]
    price: Decimal
    su: Decimal | None
    beside: tuple[tuple[Beside, Decimal], ...] = ()
    share: Decimal = Decimal(1)

    @classmethod
    def of(cls, rule: PriceRule, factors: Sequence[Factor], held: Mapping[str, Decimal] = NOTHING) -> Priced:
        """Multiply, exactly. ``held`` is what the job holds of `accounting.rates.rating.BESIDE` for each card."""
        nothing = Decimal(0)
        beside = tuple((one, one.of(held.get(one.what, nothing))) for one in rule.beside)
        with localcontext(prec=_DIGITS):
            shares = [(held.get(name, nothing) / each).quantize(_SHARE) for name, each in rule.dominant]
            whole = share = max([Decimal(1), *shares])
            for factor in factors:
                whole *= factor.worth
            price = rule.price + sum((one.worth * much for one, much in beside), nothing)
            units = sum(((one.su or nothing) * much for one, much in beside), nothing)
            su = None if rule.su is None else (rule.su + units) * whole
            return cls(rule, tuple(factors), price * whole, su, beside, share)

    @property
    def told(self) -> str:
        """By what it was priced, for people: ``2026 h100 x qos 2``, ``2026 h100 + 16 cores x share 2``."""
        more = "".join(f" + {plain(much)} {one.what}" for one, much in self.beside if much)
        share = [f"share {plain(self.share)}"] if self.share != 1 else []
        return " x ".join([self.rule.told + more, *share, *(rule.told for rule in self.factors)])


@dataclass(frozen=True, slots=True)
class Prices:
    """Usages with their prices: ``usages`` has the columns more that `priced` tells of.

    ``rule`` of a usage is a place in ``found``, null where it has no price.
    """

    usages: pl.DataFrame
    found: Sequence[Priced]


def priced(
    usages: pl.DataFrame,
    cards: Sequence[Rates],
    who: Callable[[int], str] = lambda _: "",
    together: Callable[[pl.DataFrame], pl.DataFrame] = lambda parts: parts,
) -> Prices:
    """The same usages with columns more: ``rule``, and ``minor``, what each comes to in minor units.

    ``usages`` has the columns ``disposition``, ``charged`` (milliGPU-seconds, Int64), ``job`` (0 is nobody) and those
    that the prices depend on (`seen_by`). Where the first of ``cards`` has no price, that of the next one counts.
    ``who`` names a job, for the sentence about one without a price.

    Where something is counted in service units, ``su`` is what, in millionths (null where a usage is not). Where
    usages have a ``part``, ``since`` is the first part of the month in which the price was the same, 0 for its first
    part; ``together`` adds up what has one price, before amounts are rounded.

    Raises `RatingError` for a charged usage without a price, and for one to which two rules give one with equal right.
    """
    dated = PART in usages.columns
    columns = [name for name in usages.columns if name in seen_by(*cards)]
    on = [*columns, PART] if dated else columns
    charged = usages.filter(_CHARGED)
    kinds = charged.select(on).unique() if on else pl.DataFrame({"": [0]})
    book = Book(cards)
    found = book.of(kinds, dated=dated, needed=charged.height > 0)
    if on:
        kinds = kinds.with_columns(found)
        chosen = usages.join(kinds, on=on, how="left", maintain_order="left", nulls_equal=True)
    else:
        chosen = usages.with_columns(pl.lit(found[name][0], found[name].dtype).alias(name) for name in found.columns)
    chosen = chosen.with_columns(pl.when(_CHARGED).then(name).alias(name) for name in found.columns)
    lost = chosen.filter(_CHARGED & pl.col("rule").is_null())
    if lost.height:
        raise _unpriced(lost, who)
    if dated:
        chosen = together(chosen.with_columns(pl.col(SINCE).fill_null(0)))
    more = [_amounts(chosen, "minor", [one.price for one in book.found], cards[0].minor_digits).fill_null(0)]
    if any(rates.in_service_units for rates in cards):
        more.append(_amounts(chosen, "su", [one.su for one in book.found], SU_DIGITS))
    return Prices(chosen.with_columns(more), book.found)


_CHARGED = pl.col("disposition") == Disposition.CHARGED.value
_SomeRule = TypeVar("_SomeRule", bound=Rule)


class Book:
    """What some cards give to kinds of usages. ``found`` are the prices that were given so far."""

    def __init__(self, cards: Sequence[Rates]) -> None:
        self.cards = [(rates.rules, rates.factors) for rates in cards]
        self.changes = cards[0].changes
        self.found: list[Priced] = []
        self._places: dict[tuple[object, ...], int] = {}

    def of(self, kinds: pl.DataFrame, *, dated: bool, needed: bool) -> pl.DataFrame:
        """For each kind of usage ``rule``, the place of its price, null where there is none; and ``since``."""
        if not dated:
            return pl.DataFrame([self._at(None, kinds, pl.Series([needed] * kinds.height, dtype=pl.Boolean))])
        begins = [0, *self.changes]
        bare = kinds.drop(PART)
        several = pl.DataFrame([self._at(begin, bare, kinds[PART] == begin).alias(str(begin)) for begin in begins])
        at, since = [], []
        for row, part in zip(several.iter_rows(), kinds[PART], strict=True):
            mine = row[begins.index(part)]
            at.append(mine)
            since.append(begins[row.index(mine)])
        return pl.DataFrame({"rule": pl.Series(at, dtype=pl.Int64), SINCE: pl.Series(since, dtype=pl.Int64)})

    def _at(self, moment: int | None, kinds: pl.DataFrame, needed: pl.Series) -> pl.Series:
        """The places of the prices of kinds of usages at a moment. Ties are an error only where a price is ``needed``.

        Cards but the first are asked for the prices that they begin with.
        """
        found: list[int | None] = [None] * kinds.height
        for number, (of_card, with_factors) in enumerate(self.cards):
            moment = 0 if number else moment
            open_ = needed & pl.Series(found, dtype=pl.Int64).is_null()
            rules = _valid(of_card, moment)
            names = sorted({factor.name for factor in with_factors})
            chosen = [chosen_of(kinds, rules, open_)]
            factors = [_valid([f for f in with_factors if f.name == name], moment) for name in names]
            chosen += [chosen_of(kinds, some, open_) for some in factors]
            held = {name: kinds[name].cast(pl.String) for name in BESIDE if name in kinds.columns}
            for n, (rule, *more) in enumerate(zip(*chosen, strict=True)):
                if found[n] is None and rule is not None:
                    mine = [some[f] for some, f in zip(factors, more, strict=True) if f is not None]
                    about = {name: held[name][n] or "0" for name in rules[rule].looks & held.keys()}
                    found[n] = self._place(number, rules[rule], mine, about)
        return pl.Series("rule", found, pl.Int64)

    def _place(self, card: int, rule: PriceRule, factors: Sequence[Factor], held: Mapping[str, str]) -> int:
        key = (card, id(rule), *map(id, factors), *sorted(held.items()))
        if key not in self._places:
            self._places[key] = len(self.found)
            self.found.append(Priced.of(rule, factors, {name: Decimal(much) for name, much in held.items()}))
        return self._places[key]


def _valid(rules: Sequence[_SomeRule], moment: int | None) -> Sequence[_SomeRule]:
    return rules if moment is None else [rule for rule in rules if rule.valid_at(moment)]


def chosen_of(kinds: pl.DataFrame, rules: Sequence[Rule], needed: pl.Series) -> pl.Series:
    """For each kind of usage the place of the rule that applies to it; null where none fits.

    Raises `RatingError` for two rules with equal right to one that is ``needed``.
    """
    found = pl.Series("rule", [None] * kinds.height, pl.Int64)
    for size in sorted({len(rule.when) for rule in rules}, reverse=True):
        fitting = _fitting(kinds, [(n, rule) for n, rule in enumerate(rules) if len(rule.when) == size])
        several = kinds.with_columns(one=fitting.min_horizontal(), other=fitting.max_horizontal())
        twice = several.filter(found.is_null() & needed & (pl.col("one") != pl.col("other")))
        if twice.height:
            one, other = (rules[twice[name][0]] for name in ("one", "other"))
            values = zip(kinds.columns, twice.row(0), strict=False)
            told = ", ".join(f"{name} {value}" for name, value in values if name)
            raise RatingError(f"{one.key} and {other.key} both give a {_noun(one)}, with equal right, to {told}")
        found = found.fill_null(several["one"])
    return found


def _noun(rule: Rule) -> str:
    return "factor" if isinstance(rule, Factor) else "price"


def _fitting(kinds: pl.DataFrame, rules: Sequence[tuple[int, Rule]]) -> pl.DataFrame:
    """A column for each set of columns that rules name: the place of the rule that fits a kind of usage."""
    sets: dict[tuple[str, ...], dict[tuple[str, ...], int]] = defaultdict(dict)
    known = dict(rules)
    bounds = sorted({int(value) for _, rule in rules for value in _values(rule.when.get(RAN_UNDER, ()))})
    for place, rule in rules:
        names = tuple(sorted(rule.when))
        for values in product(*(_wanted(name, rule.when[name], bounds) for name in names)):
            key = tuple(map(_folded, names, values))
            other = known[sets[names].setdefault(key, place)]
            if other is not rule and other.terms != rule.terms:
                raise RatingError(
                    f"{other.key} and {rule.key} both give a {_noun(rule)}, with equal right, to the same usage"
                )
    columns = []
    for names, places in sets.items():
        rows = (
            kinds.select(pl.col(name).cast(pl.String) for name in names).iter_rows() if names else [()] * kinds.height
        )
        if RAN_UNDER in names:
            at = names.index(RAN_UNDER)
            rows = ((*row[:at], _bound(row[at], bounds), *row[at + 1 :]) for row in rows)
        fits = (places.get(tuple(map(_folded, names, row))) for row in rows)
        columns.append(pl.Series(" ".join(names), fits, pl.Int64))
    return pl.DataFrame(columns)


def _wanted(name: str, wanted: str | tuple[str, ...], bounds: Sequence[int]) -> tuple[str, ...]:
    """The values that a rule asks for; of a bound each one up to it, of those that some rule names."""
    values = _values(wanted)
    return values if name != RAN_UNDER else tuple(str(one) for one in bounds if one <= max(map(int, values)))


def _bound(seconds: str, bounds: Sequence[int]) -> str:
    """The next bound above how long a job ran; empty where there is none, and where it is not known."""
    above = bisect_right(bounds, int(seconds)) if seconds else len(bounds)
    return str(bounds[above]) if above < len(bounds) else ""


def _values(wanted: str | tuple[str, ...]) -> tuple[str, ...]:
    return (wanted,) if isinstance(wanted, str) else wanted


def _folded(name: str, value: str) -> str:
    return value.casefold() if name == GPU_MODEL else value


def _amounts(usages: pl.DataFrame, name: str, prices: Sequence[Decimal | None], digits: int) -> pl.Series:
    """What ``charged`` comes to in units of ``10**-digits``, rounded once, half to even; null without a price."""
    ratios = [(0, 1) if price is None else price.as_integer_ratio() for price in prices]
    tops = [numerator * 10**digits for numerator, _ in ratios]
    bottoms = [denominator * MILLIGPU_SECONDS_PER_HOUR for _, denominator in ratios]
    has = pl.Series([price is not None for price in prices], dtype=pl.Boolean)
    most = int(usages.select(pl.col("charged").abs().max()).item() or 0)
    if max([0, *bottoms, *(most * top for top in tops)]) >= _MOST:  # a price of very many digits
        rows = usages.select("charged", "rule").iter_rows()
        several = [None if n is None or not has[n] else half_even(q * tops[n], bottoms[n]) for q, n in rows]
        return pl.Series(name, several, pl.Int64)
    wide = pl.Int128()
    top, bottom = (pl.lit(pl.Series(some, dtype=wide)).gather("rule") for some in (tops, bottoms))
    amount = half_even(pl.col("charged").cast(wide) * top, bottom).cast(pl.Int64)
    if not has.all():
        amount = pl.when(pl.lit(has).gather("rule")).then(amount)
    return usages.select(amount.alias(name))[name]


def _unpriced(lost: pl.DataFrame, who: Callable[[int], str]) -> RatingError:
    """The sentence about the first usage without a price."""
    job, model = lost.select("job", pl.col(GPU_MODEL).cast(pl.String)).sort(GPU_MODEL, "job").row(0)
    told = f" (job {who(job)})" if job else ""
    if not model:
        return RatingError(f"no price for cards of unknown model{told}: set rates.default")
    return RatingError(f"no price for GPU model {model!r}{told}: add rates.gpu_hour.{model}, or set rates.default")
