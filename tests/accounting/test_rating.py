"""Rating: exact, rounded once, and blind to the order of its input."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.rates.rating import Rates, RatingError, line_id, rate
from exporters.model import Disposition
from tests.accounting.usages import GPU_HOUR, PERIOD, RATES, charged, kube, nobodys, pencil_month, slurm, wild_usages


def test_amount_is_hours_times_price() -> None:
    (line,) = rate([charged(slurm("1"), 6)], RATES, PERIOD)

    assert (Decimal("2.10"), Decimal("12.60"), "EUR") == (line.unit_price, line.amount, line.currency)


def test_only_charged_time_has_a_price() -> None:
    lines = rate(pencil_month(), RATES, PERIOD)

    paid = [(line.usage.disposition, line.amount) for line in lines if line.amount or line.unit_price]
    assert [(Disposition.CHARGED, Decimal("3.15")), (Disposition.CHARGED, Decimal("12.60"))] == paid


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
    assert Decimal(expected) == RATES.amount(milligpu_seconds, Decimal("0.01"))


@given(st.integers(-(10**15), 10**15), st.decimals(0, 1000, places=7), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_amount_is_the_nearest_there_is(quantity: int, price: Decimal, currency: str) -> None:
    rates = Rates({}, currency)
    exact = Fraction(quantity, GPU_HOUR) * Fraction(price)

    amount = rates.amount(quantity, price)

    assert abs(Fraction(amount) - exact) <= Fraction(1, 2 * 10**rates.minor_digits)
    assert -rates.minor_digits == amount.as_tuple().exponent


@pytest.mark.parametrize(("currency", "digits"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("USD", 2)])
def test_a_currency_has_its_own_decimals(currency: str, digits: int) -> None:
    assert digits == Rates({}, currency).minor_digits


def test_models_match_in_any_letter_case() -> None:
    (line,) = rate([charged(slurm("1"), 1, gpu_model="H100")], RATES, PERIOD)

    assert Decimal("2.10") == line.amount


def test_default_prices_models_that_are_not_listed() -> None:
    rates = Rates({"h100": Decimal("2.10")}, default=Decimal("0.5"))

    lines = rate([charged(slurm("1"), 1, gpu_model="l40s"), charged(slurm("2"), 1, gpu_model="")], rates, PERIOD)

    assert [Decimal("0.50"), Decimal("0.50")] == [line.amount for line in lines]


def test_a_model_without_a_price_names_the_key_to_add() -> None:
    with pytest.raises(RatingError, match=r"'l40s' \(job slurm/hall/7\): add rates\.gpu_hour\.l40s, or set rates\."):
        rate([charged(slurm("7"), 1, gpu_model="l40s")], RATES, PERIOD)


def test_cards_of_unknown_model_ask_for_a_default() -> None:
    with pytest.raises(RatingError, match=r"unknown model .*: set rates\.default"):
        rate([charged(slurm("7"), 1, gpu_model="")], RATES, PERIOD)


def test_idle_cards_need_no_price() -> None:
    (line,) = rate([nobodys(Disposition.IDLE, 1, model="l40s")], RATES, PERIOD)

    assert Decimal(0) == line.amount


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


@pytest.mark.parametrize("period", ["2026-13", "2026-1", "2026-10-01", "october", "2026-10\n"])
def test_a_period_that_is_no_month_is_refused(period: str) -> None:
    with pytest.raises(RatingError, match="is not a month"):
        rate([], RATES, period)


def test_the_same_usage_twice_never_pays_twice() -> None:
    once = charged(slurm("1"), 1)

    with pytest.raises(RatingError, match="two usages are the same line"):
        rate([once, replace(once, charged=GPU_HOUR * 2)], RATES, PERIOD)


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


@given(wild_usages(), st.randoms(use_true_random=False))
def test_the_order_of_usages_changes_nothing(usages: list, random: object) -> None:  # type: ignore[type-arg]
    shuffled = list(usages)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert rate(usages, RATES, PERIOD) == rate(shuffled, RATES, PERIOD)
