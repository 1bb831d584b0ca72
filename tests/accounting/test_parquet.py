"""The lines as Parquet: those of the CSV, to the last digit, with types."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from decimal import Decimal

import polars as pl
from hypothesis import given, settings

from accounting.rates.rating import Rates
from accounting.statements import Statement, chargeback_csv
from accounting.statements.columnar.parquet import chargeback_parquet
from tests.accounting.plain_lines import Usage
from tests.accounting.produced import alike, produced
from tests.accounting.usages import OCTOBER, charged, pencil_month, slurm, wild_usages


def parquet(month: Statement) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(b"".join(chargeback_parquet(month))))


def lines(month: Statement) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(chargeback_csv(month)).decode(), newline=""), strict=True))


@settings(max_examples=40)
@given(wild_usages())
def test_the_lines_are_those_of_the_csv(usages: list[Usage]) -> None:
    month = produced(alike(usages), Rates({"h100": Decimal("2.12345")}, "EUR", Decimal("0.5")))
    found, told = parquet(month), lines(month)

    assert [line["line_id"] for line in told] == found["line_id"].to_list()
    for name in ("amount", "unit_price", "gpu_hours", "charged_gpu_hours"):
        assert [Decimal(line[name]) for line in told] == found[name].to_list()
    for name in ("start", "end"):
        assert [line[name] for line in told] == found[name].dt.to_string("%Y-%m-%dT%H:%M:%SZ").fill_null("").to_list()


def test_columns_have_types_and_what_was_not_measured_is_null() -> None:
    found = parquet(produced(pencil_month()))

    assert pl.Decimal(38, 2) == found.schema["amount"]
    assert pl.Datetime("us", "UTC") == found.schema["start"]
    assert [None] * 7 == sorted(found["energy_kwh"].to_list(), key=str)[1:]


def test_an_empty_month_has_its_columns_and_an_open_one_its_state() -> None:
    assert 0 == parquet(produced([])).height
    month = replace(produced([charged(slurm("1"), 2)]), as_of=OCTOBER)
    assert ["open, as of 2026-10-01T00:00:00Z"] == parquet(month)["state"].to_list()
