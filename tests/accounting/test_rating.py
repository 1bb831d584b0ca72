"""Rating: exact, rounded once, by rules of which the most specific one wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from unittest import mock

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.rates import pricing
from accounting.rates.pricing import priced, seen_by
from accounting.rates.rating import SEEN, PriceRule, Rates, RatingError
from accounting.statements.lines import line_text
from exporters.model import Disposition
from tests.accounting import plain_rating
from tests.accounting.plain_lines import Usage
from tests.accounting.plain_rating import price_of
from tests.accounting.produced import alike, produced
from tests.accounting.usages import GPU_HOUR, PERIOD, RATES, charged, kube, nobodys, pencil_month, slurm, wild_usages


def lines(usages: Sequence[Usage], rates: Rates = RATES) -> list[tuple[str, str, Decimal]]:
    """Disposition, unit price and amount of each line."""
    found = produced(usages, rates).lines
    rows = found.select(pl.col("disposition", "unit_price").cast(pl.String), "minor").rows()
    return [(word, price, Decimal(minor).scaleb(-rates.minor_digits)) for word, price, minor in rows]


def amount(milligpu_seconds: int, price: Decimal, currency: str = "EUR") -> Decimal:
    """What one charged usage comes to."""
    ((_, _, found),) = lines([charged(slurm("1"), 0, charged=milligpu_seconds)], Rates({"h100": price}, currency))
    return found


class Ruled(Rates):
    """Rates with rules of their own."""

    own: tuple[PriceRule, ...]

    @property
    def rules(self) -> tuple[PriceRule, ...]:
        return self.own


def ruled(*own: PriceRule) -> Rates:
    rates = Ruled({})
    object.__setattr__(rates, "own", own)
    return rates


def test_amount_is_hours_times_price() -> None:
    assert [("charged", "2.10", Decimal("12.60"))] == lines([charged(slurm("1"), 6)])


def test_only_charged_time_has_a_price() -> None:
    paid = [line for line in lines(pencil_month()) if line[1:] != ("0.00", Decimal(0))]

    assert [("charged", "2.10", Decimal("3.15")), ("charged", "2.10", Decimal("12.60"))] == paid


@pytest.mark.parametrize(
    ("milligpu_seconds", "expected"),
    [
        (GPU_HOUR // 2, "0.00"),  # half a cent: to the even neighbour below
        (GPU_HOUR * 3 // 2, "0.02"),  # one and a half: to the even neighbour above
        (GPU_HOUR * 5 // 2, "0.02"),
        (GPU_HOUR // 2 + 1, "0.01"),  # a milliGPU-second more than half
        (-GPU_HOUR * 3 // 2, "-0.02"),  # a reversal is exactly the negative
    ],
)
def test_rounds_once_half_to_even(milligpu_seconds: int, expected: str) -> None:
    assert Decimal(expected) == amount(milligpu_seconds, Decimal("0.01"))


_CURRENCIES = st.sampled_from(["EUR", "JPY", "KWD", "CLF"])
_PRICES = st.decimals(0, 1000, places=7) | st.decimals(0, 10, places=25)


@given(st.integers(-(10**15), 10**15), _PRICES, _CURRENCIES)
def test_amount_is_the_nearest_there_is(quantity: int, price: Decimal, currency: str) -> None:
    digits = Rates({}, currency).minor_digits
    exact = Fraction(quantity, GPU_HOUR) * Fraction(price)

    assert abs(Fraction(amount(quantity, price, currency)) - exact) <= Fraction(1, 2 * 10**digits)


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=5), _PRICES, _CURRENCIES)
def test_amounts_are_those_of_each_by_itself_with_128_bits_and_without(
    quantities: list[int], price: Decimal, currency: str
) -> None:
    rates = Rates({"h100": price}, currency)
    table = pl.DataFrame({"charged": quantities}).with_columns(disposition=pl.lit("charged"), gpu_model=pl.lit("H100"))
    expected = [plain_rating.minor_units(q, price, rates.minor_digits) for q in quantities]

    assert expected == priced(table.with_columns(job=0), [rates]).usages["minor"].to_list()
    with mock.patch.object(pricing, "_MOST", 1):
        assert expected == priced(table.with_columns(job=0), [rates]).usages["minor"].to_list()


@pytest.mark.parametrize(("currency", "digits"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("USD", 2)])
def test_a_currency_has_its_own_decimals(currency: str, digits: int) -> None:
    assert digits == Rates({}, currency).minor_digits


def test_models_match_in_any_letter_case() -> None:
    assert [("charged", "2.10", Decimal("2.10"))] == lines([charged(slurm("1"), 1, gpu_model="H100")])


def test_default_prices_models_that_are_not_listed() -> None:
    rates = Rates({"h100": Decimal("2.10")}, default=Decimal("0.5"))
    found = lines([charged(slurm("1"), 1, gpu_model="l40s"), charged(slurm("2"), 1, gpu_model="")], rates)

    assert [("charged", "0.50", Decimal("0.50"))] * 2 == found


def test_a_model_without_a_price_names_the_key_to_add() -> None:
    with pytest.raises(RatingError, match=r"'l40s' \(job slurm/hall/7\): add rates\.gpu_hour\.l40s, or set rates\."):
        lines([charged(slurm("7"), 1, gpu_model="l40s")])


def test_cards_of_unknown_model_ask_for_a_default() -> None:
    with pytest.raises(RatingError, match=r"unknown model .*: set rates\.default"):
        lines([charged(slurm("7"), 1, gpu_model="")])


def test_idle_cards_need_no_price() -> None:
    assert [("idle", "0.00", Decimal(0))] == lines([nobodys(Disposition.IDLE, 1, model="l40s")])


def test_the_most_specific_rule_wins() -> None:
    rates = ruled(
        PriceRule(Decimal(1)),
        PriceRule(Decimal(2), {"gpu_model": "H100"}),
        PriceRule(Decimal(4), {"gpu_model": "h100", "partition": "long"}),
    )
    usages = [
        charged(slurm("1"), 1, gpu_model="a100"),
        charged(slurm("2"), 1, partition="short"),
        charged(slurm("3"), 1, partition="long"),
    ]

    assert ["1.00", "2.00", "4.00"] == [price for _, price, _ in sorted(lines(usages, rates))]


def test_two_rules_with_equal_right_are_an_error_that_names_both() -> None:
    rates = ruled(
        PriceRule(Decimal(1), {"qos": "high"}, "rates.qos.high"),
        PriceRule(Decimal(2), {"user": "ada"}, "rates.user.ada"),
    )

    assert ["1.00"] == [price for _, price, _ in lines([charged(slurm("1"), 1, qos="high", user="lin")], rates)]
    with pytest.raises(RatingError, match=r"rates\.qos\.high and rates\.user\.ada both give a price"):
        lines([charged(slurm("1"), 1, qos="high", user="ada")], rates)


def test_two_prices_for_the_same_values_are_an_error_that_names_both() -> None:
    rates = ruled(
        PriceRule(Decimal(1), {"gpu_model": "H100"}, "rates.gpu_hour.H100"),
        PriceRule(Decimal(2), {"gpu_model": "h100"}, "rates.gpu_hour.h100"),
    )

    with pytest.raises(RatingError, match=r"rates\.gpu_hour\.H100 and rates\.gpu_hour\.h100 both give a price"):
        lines([charged(slurm("1"), 1)], rates)


def test_a_rule_about_a_column_that_there_is_not_is_refused() -> None:
    with pytest.raises(RatingError, match=r"rates\.moon: moon is no column that a price depends on: project, "):
        PriceRule(Decimal(1), {"moon": "full"}, "rates.moon")


_VALUES: Mapping[str, Sequence[str]] = {
    "project": ("vision", "nlp"), "scheduler": ("slurm", "kubernetes"), "cluster": ("hall", "prod"),
    "account": ("a", "b"), "partition": ("gpu", "long"), "qos": ("high", ""), "user": ("ada", "lin"),
    "gpu_model": ("H100", "a100"),
}  # fmt: skip
_OF_PODS: Mapping[str, Sequence[str]] = {
    "namespace": _VALUES["account"],
    "queue": _VALUES["partition"],
    "state": ["FAILED"],
}
"""What a pod's account and partition are called as well; a job of Slurm has neither. No usage here failed. What a rule
asks of slices, and in numbers (cards, seconds, cores), has tests of its own."""


@given(st.data())
def test_any_rules_give_the_prices_that_they_give_one_by_one(data: st.DataObject) -> None:
    """Rules of one and the same columns beside each other: none of them has equal right with another."""
    order = data.draw(st.permutations([name for name in SEEN if name in {**_VALUES, **_OF_PODS}]))
    shapes = [tuple(order[:n]) for n in range(len(order) + 1)]
    rules = [PriceRule(Decimal(999))]
    for number, names in enumerate(data.draw(st.lists(st.sampled_from(shapes[1:]), unique=True, max_size=4))):
        for values in data.draw(
            st.lists(st.tuples(*(st.sampled_from({**_VALUES, **_OF_PODS}[n]) for n in names)), unique=True)
        ):
            rules.append(PriceRule(Decimal(number * 100 + len(rules)), dict(zip(names, values, strict=True))))
    usages = []
    for n in range(data.draw(st.integers(0, 5))):
        told = {name: data.draw(st.sampled_from(some)) for name, some in _VALUES.items()}
        job = (slurm if told.pop("scheduler") == "slurm" else kube)(str(n), cluster=told.pop("cluster"))
        usages.append(charged(job, 1, **{**told, "project": told["project"]}))
    rates = ruled(*rules)
    expected = {u.job.id: f"{price_of(u, rates):.2f}" for u in usages if u.job}
    month = produced(usages, rates)
    found = dict(zip(month.words(month.lines["job"])["run"], month.lines["unit_price"].cast(pl.String), strict=True))

    assert expected == found


def test_a_price_is_asked_for_with_no_more_than_it_depends_on() -> None:
    assert {"gpu_model"} == seen_by(RATES)
    assert {"gpu_model", "qos"} == seen_by(RATES, ruled(PriceRule(Decimal(1), {"qos": "high"})))


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ({"h100": Decimal(-1)}, r"rates\.gpu_hour\.h100: -1 is no price"),
        ({"h100": Decimal("nan")}, r"rates\.gpu_hour\.h100: NaN is no price"),
        ({"h100": 2.1}, "2.1 is a float; money is Decimal"),
        ({"h100": Decimal(1), "H100": Decimal(2)}, r"rates\.gpu_hour\.H100: the same model twice"),
    ],
)
def test_senseless_prices_are_refused(prices: dict[str, Decimal], message: str) -> None:
    with pytest.raises(RatingError, match=message):
        Rates(prices)


def test_a_senseless_default_is_refused() -> None:
    with pytest.raises(RatingError, match=r"rates\.default: Infinity is no price"):
        Rates({}, default=Decimal("Infinity"))


@pytest.mark.parametrize("currency", ["eur", "EURO", "€", ""])
def test_a_senseless_currency_is_refused(currency: str) -> None:
    with pytest.raises(RatingError, match=r"rates\.currency"):
        Rates({}, currency)


def test_the_same_usage_twice_never_pays_twice() -> None:
    once = charged(slurm("1"), 1)

    with pytest.raises(RatingError, match="two usages are the same line"):
        produced([once, replace(once, charged=GPU_HOUR * 2)])


def line_id(period: str, usage: Usage) -> str:
    (found,) = line_text(produced([usage], period=period).lines["line"])
    return str(found)


def test_a_line_keeps_its_name_when_its_amount_changes() -> None:
    usage = charged(slurm("1"), 1)

    assert line_id(PERIOD, usage) == line_id(PERIOD, replace(usage, charged=5, held=7, user="eve", start=0))


def test_a_line_id_is_stable_for_ever() -> None:
    """Finance keeps these names: a change here breaks every printed statement."""
    assert "L598405b3b91fd21a91d3" == line_id(PERIOD, charged(slurm("1"), 1))


@pytest.mark.parametrize(
    "other",
    [
        charged(slurm("2"), 1),
        charged(slurm("1", cluster="annex"), 1),
        charged(kube("1", cluster="hall"), 1),
        charged(slurm("1"), 1, project="nlp"),
        charged(slurm("1"), 1, gpu_model="a100"),
        charged(slurm("1"), 1, disposition=Disposition.DISPUTED),
        charged(slurm("1"), 1, disposition=None),
        charged(slurm("1"), 1, linked=kube("x")),
        replace(charged(slurm("1"), 1), job=None),
    ],
)
def test_another_line_has_another_name(other: object) -> None:
    assert line_id(PERIOD, charged(slurm("1"), 1)) != line_id(PERIOD, other)  # type: ignore[arg-type]


def test_another_month_has_other_names() -> None:
    usage = charged(slurm("1"), 1)

    assert line_id("2026-10", usage) != line_id("2026-11", usage)


@given(wild_usages())
def test_lines_are_named_as_each_by_itself(usages: list[Usage]) -> None:
    usages = alike(usages)
    expected = [line.line_id for line in plain_rating.rate(usages, RATES, PERIOD)]

    assert expected == line_text(produced(usages).lines["line"]).to_list()


def of_cards(cards: Sequence[Rates], *usages: Mapping[str, object]) -> list[tuple[int | None, int]]:
    """The place of the rule among those of all cards, and the minor units, of usages of one GPU-hour."""
    usual = {"disposition": "charged", "charged": GPU_HOUR, "job": 0, "gpu_model": "h100", "partition": "gpu"}
    made = priced(pl.DataFrame([{**usual, **usage} for usage in usages]), cards)
    rules = [rule for rates in cards for rule in rates.rules]
    places = [None if n is None else rules.index(made.found[n].rule) for n in made.usages["rule"]]
    return list(zip(places, made.usages["minor"].to_list(), strict=True))


def test_of_two_cards_the_first_that_has_a_price_counts_whatever_the_letters_of_the_model() -> None:
    then = Rates({"H100": Decimal(2)})
    now = Rates({"h100": Decimal(3), "a100": Decimal(4)}, default=Decimal(5))

    assert [(0, 200), (2, 400), (3, 500)] == of_cards([then, now], {}, {"gpu_model": "A100"}, {"gpu_model": "l4"})
    assert [(0, 300), (1, 400), (2, 500)] == of_cards([now, then], {}, {"gpu_model": "A100"}, {"gpu_model": "l4"})


def test_letters_matter_in_every_other_column() -> None:
    rates = ruled(PriceRule(Decimal(1)), PriceRule(Decimal(2), {"partition": "Long"}))

    assert [(1, 200), (0, 100)] == of_cards([rates], {"partition": "Long"}, {"partition": "long"})


def test_equal_right_below_the_rule_that_wins_is_nobodys_trouble() -> None:
    rates = ruled(
        PriceRule(Decimal(1), {"partition": "gpu"}, "a"),
        PriceRule(Decimal(2), {"gpu_model": "h100"}, "b"),
        PriceRule(Decimal(3), {"gpu_model": "H100", "partition": "gpu"}, "c"),
    )

    assert [(2, 300)] == of_cards([rates], {})
    assert [(1, 200)] == of_cards([rates], {"partition": "x"})


def test_the_card_before_counts_even_by_its_least_rule_and_its_own_troubles_are_named() -> None:
    flat = Rates({}, default=Decimal(1))
    by_model = ruled(PriceRule(Decimal(2), {"gpu_model": "h100", "partition": "gpu"}))
    twice = ruled(
        PriceRule(Decimal(1), {"partition": "gpu"}, "one"), PriceRule(Decimal(2), {"gpu_model": "h100"}, "two")
    )

    assert [(0, 100)] == of_cards([flat, by_model], {})
    assert [(0, 100)] == of_cards([flat, twice], {})
    with pytest.raises(RatingError, match="one and two both give a price"):
        of_cards([Rates({"a100": Decimal(1)}), twice], {})


@pytest.mark.parametrize("price", [Decimal("0.01"), Decimal("0.0100000000000000000000000000000001")])
def test_only_what_is_charged_has_a_rule(price: Decimal) -> None:
    words = [*(d.value for d in Disposition if d is not Disposition.CHARGED), None]

    assert [(None, 0)] * len(words) == of_cards([Rates({"h100": price})], *({"disposition": word} for word in words))
    assert [(0, 1), (0, -1)] == of_cards([Rates({"h100": price})], {}, {"charged": -GPU_HOUR})


def test_a_usage_without_a_price_is_named_by_model_and_then_by_job() -> None:
    usages = [{"gpu_model": m, "job": j} for m, j in (("l4", 3), ("a100", 9), ("a100", 2))]
    table = pl.DataFrame(usages).with_columns(disposition=pl.lit("charged"), charged=GPU_HOUR)

    with pytest.raises(RatingError, match=r"no price for GPU model 'a100' \(job 2!\)"):
        priced(table, [Rates({"h100": Decimal(1)})], lambda job: f"{job}!")
    with pytest.raises(RatingError, match="no price for GPU model 'a100': add"):
        priced(table.with_columns(job=0), [Rates({})])
