"""Whatever cards say: amounts add up, hours are conserved, every line has one price, what is kept is what was set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from accounting.periods.closing import ClosedWith, closed_with_of
from accounting.rates.pricing import PART
from accounting.rates.rate_cards import Card, RateCards
from accounting.rates.rating import BESIDE, FOREVER, Beside, Factor, PriceRule, Rates
from accounting.rates.rounding import half_even
from accounting.statements.lines import Cards, rated, stated
from accounting.statements.notes import Terms
from exporters.model import Disposition
from tests.accounting.plain_lines import Usage
from tests.accounting.produced import tables
from tests.accounting.usages import GPU_HOUR, OCTOBER, PERIOD, charged, nobodys, slurm

END = OCTOBER + 31 * 86_400
QOS = ("", "premium", "scavenger")
_WORTH = st.decimals(0, 100, places=4)
_FEW = st.integers(0, 2)


@st.composite
def dated_rules(draw: st.DrawFn) -> Rates:
    """A price and a factor for each QOS and for everything else, each changing at some moments of the month."""
    changes = sorted(draw(st.sets(st.integers(OCTOBER + 1, END - 1), max_size=3)))
    borders = [0, *changes, FOREVER]
    prices: list[PriceRule] = []
    factors: list[Factor] = []
    for qos in ("", *QOS[1:]):
        when: Mapping[str, str] = {"qos": qos} if qos else {}
        for n, (a, b) in enumerate(pairwise(borders)):
            su = draw(st.none() | _WORTH)
            beside = tuple(
                Beside(draw(st.sampled_from(BESIDE)), draw(_WORTH), su, draw(_WORTH)) for _ in range(draw(_FEW))
            )
            dominant = tuple((draw(st.sampled_from(BESIDE)), draw(_WORTH) + 1) for _ in range(draw(_FEW)))
            more = {"su": su, "beside": beside, "dominant": dominant}
            prices.append(PriceRule(draw(_WORTH), when, f"price {qos} {n}", a, b, **more))
            factors.append(Factor(draw(_WORTH), when, f"factor {qos} {n}", a, b, name="qos"))
    return Rates({}, "EUR", None, tuple(prices), tuple(factors))


@st.composite
def usages_in_parts(draw: st.DrawFn, rates: Rates) -> tuple[list[Usage], list[int]]:
    """Jobs that held cards in some parts of the month, and the part of each usage."""
    usages, parts = [], []
    for n in range(draw(st.integers(1, 6))):
        qos = draw(st.sampled_from(QOS))
        for part in draw(st.sets(st.sampled_from([0, *rates.changes]), min_size=1)):
            quantity = draw(st.integers(0, 10**10))
            usage = charged(slurm(str(n)), 0, charged=quantity, held=quantity, qos=qos, start=max(part, OCTOBER))
            usages.append(usage)
            parts.append(part)
    usages.append(nobodys(Disposition.IDLE, 5))
    return usages, [*parts, 0]


def price_of(qos: str, part: int, rates: Rates) -> tuple[Fraction, Fraction | None]:
    """Money and service units per GPU-hour, looked for rule by rule."""
    found = []
    for rules in (rates.more, rates.factors):
        valid = [rule for rule in rules if rule.valid_at(part)]
        own = [rule for rule in valid if qos and rule.when.get("qos") == qos]
        found.append((own or [rule for rule in valid if not rule.when])[0])
    price, factor = found
    assert isinstance(price, PriceRule)
    units = None if price.su is None else Fraction(price.su) * Fraction(factor.worth)
    return Fraction(price.worth) * Fraction(factor.worth), units


@given(st.data())
def test_every_line_has_one_price_that_of_its_time_and_amounts_and_hours_add_up(data: st.DataObject) -> None:
    rates = data.draw(dated_rules())
    usages, parts = data.draw(usages_in_parts(rates))
    table, words = tables(usages)
    table = table.with_columns(pl.Series(PART, parts, pl.Int64))
    month = stated(table, words, Cards(rates, {}), PERIOD)
    lines = month.lines
    runs = month.words(lines["job"])["run"].to_list()
    asked = lines.select("disposition", "charged", "minor", "su", "unit_price", pl.col("since") if rates.changes else 0)

    assert lines["charged"].sum() == sum(u.charged for u in usages)
    assert month.amount == Decimal(int(lines["minor"].sum())).scaleb(-2)
    assert (month.micro_su or 0) == lines["su"].fill_null(0).sum()
    assert lines["line"].n_unique() == lines.height
    of_run = {u.job.id: u.qos for u in usages if u.job}
    for run, (word, quantity, minor, su, unit_price, since) in zip(runs, asked.iter_rows(), strict=True):
        if word != "charged":
            assert (0, None) == (minor, su)
            continue
        money, units = price_of(of_run[run], since, rates)
        assert money == Fraction(str(unit_price))
        assert minor == half_even(quantity * money.numerator * 100, money.denominator * GPU_HOUR)
        if units is None:
            assert su is None
        else:
            assert su == half_even(quantity * units.numerator * 10**6, units.denominator * GPU_HOUR)
    expected: dict[tuple[str, Fraction], int] = {}
    for usage, part in zip(usages, parts, strict=True):
        if usage.job:
            key = (usage.job.id, price_of(usage.qos, part, rates)[0])
            expected[key] = expected.get(key, 0) + usage.charged
    found: dict[tuple[str, Fraction], int] = {}
    for run, row in zip(runs, asked.iter_rows(), strict=True):
        if row[0] == "charged":
            key = (run, Fraction(str(row[4])))
            found[key] = found.get(key, 0) + row[1]
    assert expected == found


@given(st.data())
def test_what_is_learnt_later_and_taken_back_comes_to_nothing(data: st.DataObject) -> None:
    rates = data.draw(dated_rules())
    usages, parts = data.draw(usages_in_parts(rates))
    table, words = tables(usages, corrects="2026-09")
    table = table.with_columns(pl.Series(PART, parts, pl.Int64)).filter(pl.col("charged") != 0)
    cards = Cards(rates, {"2026-09": rates})
    back = table.with_columns(-pl.col("charged"), -pl.col("held"))
    more, less = (rated(some, words, cards, PERIOD) for some in (table, back))

    for name in ("minor", *(["su"] if "su" in more.columns else [])):
        assert sorted(more[name].drop_nulls()) == sorted((-less[name]).drop_nulls())
    assert more["unit_price"].cast(pl.String).sort().to_list() == less["unit_price"].cast(pl.String).sort().to_list()


@given(dated_rules())
def test_what_a_month_is_closed_with_is_read_back_as_it_was(rates: Rates) -> None:
    kept = ClosedWith(rates, Terms("Europe/Zurich"), 10, 5, Decimal("1.50"), "ab")
    again = closed_with_of(kept.text())

    assert kept == again
    assert again is not None
    assert kept.text() == again.text()


@given(st.lists(dated_rules(), min_size=1, max_size=3), st.data())
def test_the_prices_of_a_month_are_those_of_all_cards_at_each_of_its_moments(
    several: Sequence[Rates], data: st.DataObject
) -> None:
    borders = sorted(data.draw(st.sets(st.integers(OCTOBER - 10**6, END + 10**6), min_size=2, max_size=2)))[
        : len(several) - 1
    ]
    spans = zip([0, *borders], [*borders, FOREVER], strict=True)
    cards = RateCards(
        tuple(Card(str(n), rates, *span) for n, (rates, span) in enumerate(zip(several, spans, strict=True)))
    )
    month = cards.of(PERIOD, OCTOBER, END)
    moment = data.draw(
        st.integers(OCTOBER, END - 1) | st.sampled_from([m for m in cards.changes if OCTOBER <= m < END] or [OCTOBER])
    )
    (card,) = (card for card in cards.cards if card.valid_from <= moment < card.valid_to)

    assert all(OCTOBER < change < END for change in month.changes)
    for own, every in ((card.rates.rules, month.rules), (card.rates.factors, month.factors)):
        there = [(rule.terms, rule.when) for rule in own if rule.valid_at(moment)]
        part = max((change for change in month.changes if change <= moment), default=0)
        assert sorted(map(repr, there)) == sorted(
            repr((rule.terms, rule.when)) for rule in every if rule.valid_at(part)
        )
