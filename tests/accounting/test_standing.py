"""Where the books stand, as Prometheus reads it: equal to the statement, and what names a project only to its own."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from accounting.rates.rating import Rates
from accounting.service import metrics as s
from accounting.statements.lines import Cards
from accounting.statements.month import month_sums
from accounting.store.calendar import period_named
from tests.accounting.october import HOUR, NOVEMBER, SETTLED, october, run_1, told
from tests.accounting.site import DAY

RATES = Rates({"h100": Decimal("2.10")})
"""Those of the October site."""


def stand(
    engine: Engine, rates: Rates = RATES, known: s.Months | None = None, asked: list[str] | None = None
) -> s.Standing:
    def due(month: str) -> s.Due:
        def paid() -> Mapping[str, Decimal]:
            if asked is not None:
                asked.append(month)
            return month_sums(engine, period_named(month), Cards(rates, {"2026-10": rates})).amounts

        return s.Due(rates.currency, rates, paid)

    return s.stand(engine, due, known or s.Months())


def test_the_dispositions_of_a_month_sum_to_its_capacity(engine: Engine, tmp_path: Path) -> None:
    october(engine, tmp_path)
    rows = stand(engine).overall[s.SECONDS]

    assert 31 * DAY * 8.0 == sum(v for (period, _, _), v in rows.items() if period == "2026-10")
    assert 2.0 * HOUR == rows["2026-10", "disputed", "h100"]


def test_the_charge_of_a_project_is_that_of_its_statement(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    charged = sum(Decimal(r["amount"]) for r in site.lines("2026-10") if r["project"] == "vision")

    assert {("vision", "2026-10", "EUR"): float(charged)} == {
        k: v for k, v in stand(engine).by_project[s.PROJECT_CHARGE].items() if k[1] == "2026-10"
    }


def test_a_month_with_a_card_that_has_no_price_has_no_charge(engine: Engine, tmp_path: Path) -> None:
    october(engine, tmp_path)

    assert {} == stand(engine, Rates({})).by_project[s.PROJECT_CHARGE]


def test_disputes_states_and_positions_are_told(engine: Engine, tmp_path: Path) -> None:
    october(engine, tmp_path)
    overall = stand(engine).overall

    assert 1.0 == overall[s.DISPUTES]["2026-10",]
    assert 1.0 == overall[s.STATE]["2026-10", "open"]
    assert float(NOVEMBER) == overall[s.ENDS]["2026-10",]
    assert {("sacct", "lab"): float(SETTLED)} == overall[s.INTAKE]


def test_a_record_after_the_close_is_a_correction_in_the_month_it_is_booked_in(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    site.run("close", "2026-10")
    told(engine, run_1(cards=7), now=SETTLED + DAY)
    site.now = SETTLED + DAY
    site.run("reconcile", "--period", "2026-10")
    overall = stand(engine).overall

    assert 1.0 == overall[s.CORRECTIONS]["2026-11",]
    assert 0.0 == overall[s.CORRECTIONS]["2026-10",]
    assert 1.0 == overall[s.STATE]["2026-10", "closed"]


def test_a_month_is_read_again_when_it_may_have_changed_and_not_before(engine: Engine, tmp_path: Path) -> None:
    site, known = october(engine, tmp_path), s.Months()
    first: list[str] = []
    before = stand(engine, RATES, known, first)
    nothing: list[str] = []

    assert before == stand(engine, RATES, known, nothing)
    assert (["2026-10"], []) == (first, nothing)

    dearer: list[str] = []
    price = Rates({"h100": Decimal("2.20")})
    assert stand(engine, price) == stand(engine, price, known, dearer)
    assert ["2026-10"] == dearer

    site.run("close", "2026-10")
    stand(engine, RATES, known)
    told(engine, run_1(cards=7), now=SETTLED + DAY)
    site.now = SETTLED + DAY
    site.run("reconcile", "--period", "2026-10")
    corrected: list[str] = []

    assert stand(engine, RATES) == stand(engine, RATES, known, corrected)
    assert ["2026-11"] == corrected


def page(families: tuple[s.Gauge, ...], rows: dict[s.Gauge, s.Rows]) -> dict[str, dict[tuple[str, ...], float]]:
    registry = CollectorRegistry()
    registry.register(s.StandingCollector(families, lambda: rows))
    labels = {family.name: family.labels for family in families}
    found = text_string_to_metric_families(generate_latest(registry).decode())
    return {f.name: {tuple(x.labels[n] for n in labels[f.name]): x.value for x in f.samples} for f in found}


def test_what_a_check_found_stays_when_the_books_are_read_again() -> None:
    standings = s.Standings()
    standings.checked(2, 100.0)
    standings.stands(s.Standing({s.REJECTS: {("sacct",): 3.0}}))
    told_ = page(s.OPEN_FAMILIES, dict(standings.overall()))

    assert {(): 2.0} == told_[s.BREACHES.name]
    assert {("sacct",): 3.0} == told_[s.REJECTS.name]


def test_a_caller_is_told_of_the_projects_it_may_see_only() -> None:
    standings = s.Standings()
    rows = {("vision", "2026-10", "EUR"): 5.0, ("llm", "2026-10", "EUR"): 7.0}
    standings.stands(s.Standing({}, {s.PROJECT_CHARGE: rows}))
    told_ = page(s.PROJECT_FAMILIES, dict(standings.of_projects(lambda project: project == "vision")))

    assert {("vision", "2026-10", "EUR"): 5.0} == told_[s.PROJECT_CHARGE.name]
