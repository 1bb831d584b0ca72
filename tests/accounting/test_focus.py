"""The month as a FOCUS dataset: it sums to the statement, keeps the rules row by row, and breaking one is noticed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from sqlalchemy import Engine

from accounting.rates.rating import Distribution, Rates
from accounting.statements import Statement
from accounting.statements.columnar.focus import Bill, focus_csv, focus_parquet
from accounting.statements.lines import Cards, stated
from accounting.store.calendar import period_named
from exporters.model import Disposition
from tests.accounting import focus_rules
from tests.accounting.october import october
from tests.accounting.plain_lines import Usage
from tests.accounting.produced import alike, produced, tables
from tests.accounting.usages import OCTOBER, RATES, charged, nobodys, pencil_month, slurm, wild_usages

BILL = Bill("hall", period_named("2026-10"))


def csv_of(month: Statement) -> bytes:
    return b"".join(focus_csv(month, BILL))


def rows_of(month: Statement) -> list[dict[str, str]]:
    return focus_rules.read(csv_of(month))


@settings(max_examples=60)
@given(wild_usages())
def test_any_month_keeps_the_rules_and_sums_to_its_statement(usages: list[Usage]) -> None:
    rates = Rates({"h100": Decimal("2.12345"), "a100": Decimal(3)}, "EUR", Decimal("0.5"))
    month = produced(alike(usages), rates)
    rows = rows_of(month)

    assert set() == focus_rules.wrong(rows)
    assert month.amount == sum((Decimal(row["BilledCost"]) for row in rows), Decimal(0))
    paid = {t.project: Decimal(0) for t in month.totals}
    for total in month.totals:
        paid[total.project] += total.amount
    for project in {row["SubAccountId"] for row in rows}:
        invoice = [row for row in rows if row["InvoiceId"] == f"2026-10/{project}"]
        assert paid[project] == sum(Decimal(row["BilledCost"]) for row in invoice)


def test_a_month_by_pencil() -> None:
    told = [
        {name: row[name] for name in ("ResourceId", "PricingQuantity", "PricingUnit", "ListUnitPrice", "BilledCost")}
        for row in rows_of(produced(pencil_month()))
    ]
    assert [
        {
            "ResourceId": "kubernetes://prod/0b9e-7f",
            "PricingQuantity": "1.500000",
            "PricingUnit": "GPU-Hours",
            "ListUnitPrice": "2.10",
            "BilledCost": "3.15",
        },
        {
            "ResourceId": "slurm://hall/101@1790812500",
            "PricingQuantity": "6.000000",
            "PricingUnit": "GPU-Hours",
            "ListUnitPrice": "2.10",
            "BilledCost": "12.60",
        },
    ] == told


def test_the_columns_are_those_of_focus_then_ours() -> None:
    for month in (produced(pencil_month()), produced([])):
        assert [] == list(focus_rules.columns_wrong(focus_rules.header(csv_of(month))))
    assert "BilledCost is missing" in list(focus_rules.columns_wrong([]))


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD"])
def test_currencies_have_their_own_decimals(currency: str) -> None:
    month = produced(pencil_month(), Rates({"h100": Decimal("2.1")}, currency))
    rows = rows_of(month)

    assert set() == focus_rules.wrong(rows)
    assert month.amount == sum(Decimal(row["BilledCost"]) for row in rows)


def test_what_no_price_of_an_hour_gives_is_priced_as_one_job() -> None:
    month = produced([charged(slurm("1"), 2)])
    month = replace(month, lines=month.lines.with_columns(minor=pl.lit(777, pl.Int64)))  # cores beside the cards, say
    (row,) = rows_of(month)

    assert set() == focus_rules.wrong([row])
    assert ("7.77", "1.000000", "Jobs", "7.77", "2.000000", "GPU-Hours") == (
        row["BilledCost"],
        row["PricingQuantity"],
        row["PricingUnit"],
        row["ContractedUnitPrice"],
        row["ConsumedQuantity"],
        row["ConsumedUnit"],
    )


def test_an_open_month_has_no_invoice_and_says_that_it_is_open() -> None:
    month = replace(produced([charged(slurm("1"), 2)]), as_of=OCTOBER)
    (row,) = rows_of(month)

    assert ("", "open, as of 2026-10-01T00:00:00Z") == (row["InvoiceId"], row["x_State"])


def test_names_are_no_formulas_and_tags_stay_json() -> None:
    hostile = '=cmd|"x",=1;-2{}\\'
    (row,) = rows_of(produced([charged(slurm("1"), 2, hostile, job_name=hostile, user=hostile, account="@" * 3000)]))

    assert {"'="} == {row[name][:2] for name in ("SubAccountId", "ResourceName")}
    assert json.loads(row["Tags"])["user"] == row["ResourceName"]


def test_parquet_has_the_same_rows_with_types() -> None:
    month = produced(pencil_month())
    found = pl.read_parquet(io.BytesIO(b"".join(focus_parquet(month, BILL))))
    told = rows_of(month)

    assert list(told[0]) == found.columns
    assert [Decimal(row["BilledCost"]) for row in told] == found["BilledCost"].to_list()
    assert [row["x_LineId"] for row in told] == found["x_LineId"].to_list()
    assert pl.Datetime("us", "UTC") == found.schema["ChargePeriodStart"]
    assert 0 == pl.read_parquet(io.BytesIO(b"".join(focus_parquet(produced([]), BILL)))).height


MUTATIONS: dict[str, Callable[[list[dict[str, str]]], object]] = {
    "ListCost: not price times quantity": lambda rows: rows[0].update(ListCost="999.00"),
    "ContractedCost: not price times quantity": lambda rows: rows[1].update(ContractedCost="12.61"),
    "BilledCost: not what the price comes to, rounded once": lambda rows: rows[0].update(BilledCost="3.17"),
    "EffectiveCost: sums to another amount than BilledCost": lambda rows: rows[0].update(EffectiveCost="0.00"),
    "row: there twice": lambda rows: rows.append(dict(rows[0])),
    "x_LineId: two rows of one line": lambda rows: rows.append({**rows[0], "SkuId": "other"}),
    "ChargePeriod: outside of the billing period, and no correction": lambda rows: rows[0].update(
        ChargePeriodStart="2025-03-01T00:00:00Z", ChargePeriodEnd="2025-03-02T00:00:00Z"
    ),
    "period: ends before it begins": lambda rows: rows[0].update(ChargePeriodEnd="2026-10-01T00:00:00Z"),
    "ChargePeriodStart: no time in UTC": lambda rows: rows[0].update(ChargePeriodStart="2026-10-01T02:00:00+02:00"),
    "PricingUnit: no unit": lambda rows: rows[0].update(PricingUnit="gpuhour"),
    "ConsumedUnit: without its quantity, or the other way round": lambda rows: rows[0].update(ConsumedQuantity=""),
    "ChargeCategory: not allowed": lambda rows: rows[1].update(ChargeCategory="Foo"),
    "ServiceCategory: not allowed": lambda rows: rows[1].update(ServiceCategory="GPU"),
    "ChargeClass: not allowed": lambda rows: rows[1].update(ChargeClass="correction"),
    "ServiceName: in two categories": lambda rows: rows[0].update(
        ServiceName=rows[1]["ServiceName"], ServiceCategory="Storage"
    ),
    "BillingCurrency: no code of ISO 4217": lambda rows: rows[0].update(BillingCurrency="SU"),
    "BillingCurrency: more than one in one file": lambda rows: rows[0].update(BillingCurrency="USD"),
    "PricingQuantity: no number": lambda rows: rows[0].update(PricingQuantity="1,5"),
    "BilledCost: null": lambda rows: rows[0].update(BilledCost=""),
    "ListUnitPrice: none of a usage": lambda rows: rows[0].update(ListUnitPrice=""),
    "ResourceName: without ResourceId": lambda rows: rows[0].update(ResourceId=""),
    "Tags: no keys and values": lambda rows: rows[0].update(Tags="user=ada"),
}


@pytest.mark.parametrize("finding", MUTATIONS)
def test_a_broken_file_is_noticed(finding: str) -> None:
    rows = rows_of(produced(pencil_month()))
    assert set() == focus_rules.wrong(rows)
    MUTATIONS[finding](rows)

    assert finding in focus_rules.wrong(rows)


def test_a_share_of_idle_hours_is_an_amount_without_a_quantity() -> None:
    idle = Distribution(("idle",), by_owner=False, worth=Decimal("0.5"), gpu_models=())
    used = [charged(slurm("1"), 30), nobodys(Disposition.IDLE, 100)]
    month = produced(used, Rates({"h100": Decimal(2)}, "EUR", distribute=(idle,)))
    rows = rows_of(month)
    (share,) = [row for row in rows if row["ChargeCategory"] == "Adjustment"]

    assert set() == focus_rules.wrong(rows)
    assert ("50.00", "", "", "") == tuple(
        share[name] for name in ("BilledCost", "PricingQuantity", "ContractedUnitPrice", "ResourceId")
    )
    assert month.amount == sum(Decimal(row["BilledCost"]) for row in rows)


def test_a_correction_is_billed_now_for_the_time_of_its_use() -> None:
    earlier, words = tables([charged(slurm("1"), 2, start=OCTOBER - 7200, end=OCTOBER - 3600)], "2026-09")
    month = stated(earlier, words, Cards(RATES, {"2026-09": RATES}), "2026-10")
    (row,) = rows_of(month)

    assert set() == focus_rules.wrong([row])
    assert ("Correction", "2026-09", "2026-10/vision", "2026-10-01T00:00:00Z", "2026-09-30T22:00:00Z") == tuple(
        row[name] for name in ("ChargeClass", "x_Corrects", "InvoiceId", "BillingPeriodStart", "ChargePeriodStart")
    )


def test_both_files_are_written_beside_the_statement(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    told = site.run("statement", "2026-10", "--focus", "--out", str(tmp_path))
    rows = focus_rules.read((tmp_path / "focus-cost-and-usage-2026-10.csv").read_bytes())

    assert str(tmp_path / "focus-cost-and-usage-2026-10.parquet") in told
    assert set() == focus_rules.wrong(rows)
    assert sum(Decimal(line["amount"]) for line in site.lines("2026-10")) == sum(Decimal(r["BilledCost"]) for r in rows)
