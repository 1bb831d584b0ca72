"""Who pays for time that nobody used: shares sum to what it costs, and stand on lines of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from accounting.periods.closing import ClosedWith, closed_with_of
from accounting.rates.card_files import rate_cards
from accounting.rates.distribution import shared_out, shares, split
from accounting.rates.rating import Distribution, Rates, RatingError
from accounting.rates.rounding import half_even
from accounting.statements.html.statement_page import Pages, Surroundings
from accounting.statements.lines import Cards, rated
from accounting.statements.notes import Terms
from exporters.config import parse
from exporters.model import Disposition
from tests.accounting.october import run_1, seen, told
from tests.accounting.plain_lines import Usage
from tests.accounting.produced import produced, tables
from tests.accounting.reading_pages import Page
from tests.accounting.test_dated_prices import Dated
from tests.accounting.test_rate_cards import carded
from tests.accounting.usages import GPU_HOUR, charged, nobodys, slurm

_QUANTITY = st.integers(0, 10**14)
_PLACES = st.dictionaries(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.sampled_from(["h100", "a100"])), _QUANTITY)


def by_use(price: str, of: Sequence[str] = ("idle",), models: Sequence[str] = ()) -> Distribution:
    return Distribution(tuple(of), by_owner=False, worth=Decimal(price), gpu_models=tuple(models))


@given(st.integers(0, 10**15), st.lists(st.integers(1, 10**14), min_size=1, max_size=20))
def test_a_whole_is_split_without_a_rest_and_nobody_is_off_by_one(whole: int, weights: list[int]) -> None:
    parts = split(whole, weights)

    assert whole == sum(parts)
    each = zip(parts, weights, strict=True)
    assert all(abs(part * sum(weights) - whole * weight) < sum(weights) for part, weight in each)


@given(_PLACES, _PLACES, st.decimals(0, 100, places=4), st.booleans())
def test_what_is_shared_is_what_it_costs(
    pool: dict[tuple[str, str], int], held: dict[tuple[str, str], int], price: Decimal, owner: bool
) -> None:
    """Of each model that somebody was charged for; by owner of each line that has one."""
    one = replace(by_use("0"), by_owner=owner, worth=price)
    found = shares(one, pool, held, price, 2)
    top, bottom = price.as_integer_ratio()
    for model in ("h100", "a100"):
        paid = sum(minor for (_, of), minor in found.items() if of == model)
        lines = [quantity for (who, of), quantity in pool.items() if of == model and (who or not owner)]
        costs = [half_even(n * top * 100, bottom * GPU_HOUR) for n in (lines if owner else [sum(lines)])]
        somebody = owner or any(quantity for (_, of), quantity in held.items() if of == model)
        assert (sum(costs) if somebody else 0) == paid


def idle(hours: float, model: str = "h100") -> Usage:
    return replace(nobodys(Disposition.IDLE, hours), gpu_model=model)


def test_a_months_idle_hours_by_pencil() -> None:
    """100 idle H100 hours at 0.50: 50.00. Of 40 charged hours a has 30: 37.50, b 10: 12.50. Nobody had an A100."""
    used = [
        replace(charged(slurm("1"), 30), project="a"),
        replace(charged(slurm("2"), 10), project="b"),
        idle(100),
        idle(7, "a100"),
    ]
    month = produced(used, Rates({"h100": Decimal(2)}, distribute=(by_use("0.5"),)))
    lines = month.lines.filter(pl.col("job") == 0, pl.col("disposition") == "charged")
    totals = {(t.project, t.scheduler): (t.amount, t.quantity) for t in month.totals if t.disposition == "charged"}

    assert [("a", 3750, "idle hours shared by use"), ("b", 1250, "idle hours shared by use")] == sorted(
        lines.select(pl.col("project").cast(pl.String), "minor", pl.col("price_rule").cast(pl.String)).rows()
    )
    assert (Decimal("37.50"), 0) == totals["a", ""]
    assert Decimal("130.00") == month.amount


def test_what_is_learnt_later_of_a_closed_month_is_not_shared_out() -> None:
    """Neither more idle hours of September, nor what a project is charged of it now, count in October."""
    rates = Rates({"h100": Decimal(2)}, distribute=(by_use("0.5"),))
    used = [replace(charged(slurm("1"), 30), project="a"), idle(100)]
    later = [replace(charged(slurm("2"), 90), project="b"), idle(1000)]
    own, words = tables(used)
    month = rated(own, words, Cards(rates, {}), "2026-10")
    corrections, _ = tables(later, "2026-09")
    corrections = corrections.with_columns(minor=pl.lit(0, pl.Int64), unit_price=pl.lit("0.00", pl.Categorical))
    both = pl.concat([month, corrections], how="diagonal")

    assert [("a", 5000)] == [
        (project, minor) for project, minor in shared_out(both, rates)[both.height :].select("project", "minor").rows()
    ]


def test_a_pools_reserved_hours_are_paid_by_whose_line_they_stand_on() -> None:
    reserved = Usage("pool", slurm("9"), "h100", Disposition.RESERVED, 5 * GPU_HOUR, 5 * GPU_HOUR, 0, 10)
    rates = Rates({"h100": Decimal(2)}, distribute=(replace(by_use("1", ["reserved"]), by_owner=True),))
    month = produced([charged(slurm("1"), 30), reserved], rates)

    assert {"pool": Decimal("5.00")} == {t.project: t.amount for t in month.totals if not t.scheduler and t.amount}


def test_the_page_names_it_as_what_it_is_and_adds_up() -> None:
    used = [replace(charged(slurm("1"), 30), project="a"), idle(100)]
    month = produced(used, Rates({"h100": Decimal(2)}, distribute=(by_use("0.5"),)))
    page = Page(Pages.of(month, Surroundings("hall")).project("a"))
    rows = {row[0].text: Decimal(row[1].values[0]) for row in page.tables["jobs"][0][1:]}

    assert Decimal("110.00") == Decimal(page.owed) == rows["Together"]
    assert Decimal("50.00") == rows["(hours that nobody used)"]


CARD = """
cards:
  - name: all
    currency: EUR
    su_price: 0.10
    prices: [{su: 2}]
    distribute:
      - {of: [idle, down], how: proportional, su: 0.01, gpu_model: H100}
      - {of: reserved, how: none, gpu_hour: 1}
"""


def test_it_is_closed_checked_and_explained_with_the_month(engine: Engine, tmp_path: Path) -> None:
    seen(engine)
    told(engine, run_1())
    carded(tmp_path, CARD)
    there = Dated(engine, tmp_path, rates=f"{{cards: {tmp_path / 'rates'}}}")
    there.run("reconcile", "--period", "2026-10")
    lines = there.lines("2026-10")
    (shared,) = (line for line in lines if line["price_rule"] == "idle and down hours shared by use")
    idle_hours = sum(Decimal(line["gpu_hours"]) for line in lines if line["disposition"] in ("idle", "down"))
    explained = json.loads(there.run("explain", shared["line_id"], "--json"))

    assert round(idle_hours * Decimal("0.001"), 2) == Decimal(shared["amount"])
    assert round(idle_hours * Decimal("0.01"), 6) == Decimal(shared["service_units"])
    assert ("0.000000", "", "") == (shared["charged_gpu_hours"], shared["start"], shared["job_id"])
    assert (shared["amount"], None) == (explained["amount"], explained["price"])
    assert f"its part of what nobody used (idle and down hours shared by use): {shared['amount']} EUR" in there.run(
        "explain", shared["line_id"]
    )
    notes = there.month("2026-10")[2].decode()
    assert "idle and down hours shared by use of H100: 0.01 SU, 0.0010 per GPU-hour" in notes
    there.run("close", "2026-10")
    carded(tmp_path, CARD.replace("su: 0.01", "su: 5"))
    assert [{**line, "state": ""} for line in lines] == [{**line, "state": ""} for line in there.lines("2026-10")]
    assert "every invariant holds\n" == there.run("check")


def test_what_a_month_is_closed_with_reads_back(tmp_path: Path) -> None:
    shared = (
        by_use("0.5", ["idle", "down"], ["h100"]),
        Distribution(("reserved",), by_owner=True, worth=Decimal(1), su=Decimal(2)),
    )
    kept = ClosedWith(Rates({"h100": Decimal(2)}, distribute=shared), Terms("UTC", {}), 1, 1, Decimal(1))

    assert kept == closed_with_of(kept.text())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{of: idle, how: owner, gpu_hour: 1}", "distribute.0: idle cards are nobody's: share them out in proportion"),
        ("{of: idle, how: proportional}", "distribute.0: what is shared out needs gpu_hour (money), or su"),
        ("{of: idle, how: proportional, su: 1}, {of: [down, idle], how: proportional, su: 2, gpu_model: x}",
         "both share out idle hours of the same cards: keep one"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path: Path, wrong: str, said: str) -> None:
    carded(tmp_path, f"cards: [{{name: c, currency: EUR, prices: [{{gpu_hour: 1}}], distribute: [{wrong}]}}]")
    with pytest.raises(RatingError) as error:
        rate_cards(parse(f"rates: {{cards: {tmp_path / 'rates'}}}"), UTC)

    assert said in str(error.value)
