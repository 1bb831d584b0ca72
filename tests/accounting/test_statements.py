"""A statement as a whole: its files, and what adds up across them."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.model import Usage
from accounting.rates.rating import Rates, rate
from accounting.statements import Statement, Terms, chargeback_csv, compose, summary_csv, write_statement
from accounting.statements.notes import notes_text
from exporters.model import Disposition
from tests.accounting.usages import GPU_HOUR, OCTOBER, PERIOD, RATES, charged, kube, pencil_month, slurm, wild_usages

TERMS = Terms("Europe/Zurich", {"prod": "scheduled", "test": "started"})


def statement(usages: list[Usage], rates: Rates = RATES) -> Statement:
    return compose(rate(usages, rates, PERIOD), rates, PERIOD)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_the_pencil_month_reads_as_expected(golden: Callable[[str, str], None]) -> None:
    month = statement(pencil_month())

    golden("chargeback-pencil.csv", "".join(chargeback_csv(month)))
    golden("chargeback-pencil-summary.csv", "".join(summary_csv(month)))
    golden("chargeback-pencil-notes.txt", "".join(notes_text(month, RATES, TERMS)))


def test_thirds_of_a_card_add_up_in_every_column(golden: Callable[[str, str], None]) -> None:
    """Three seventh-slices for a second and the card's rest: 1000 milliGPU-seconds, 0.000278 hours in all."""
    usages = [charged(slurm(str(n)), 0, charged=142, held=142, project=f"p{n}") for n in range(3)]
    usages.append(Usage("", None, "h100", Disposition.IDLE, 0, 574, OCTOBER, OCTOBER + 1))
    month = statement(usages, Rates({"h100": Decimal(1000)}, "EUR"))

    golden("chargeback-thirds.csv", "".join(chargeback_csv(month)))
    golden("chargeback-thirds-summary.csv", "".join(summary_csv(month)))


def test_a_month_without_a_second_has_a_capacity_of_zero() -> None:
    (row,) = read("".join(summary_csv(statement([]))))

    assert {
        "billing_period": PERIOD,
        "disposition": "capacity",
        "project": "",
        "scheduler": "",
        "gpu_seconds": "0.000",
        "gpu_hours": "0.000000",
        "amount": "0.00",
        "currency": "EUR",
    } == row


@settings(max_examples=50)
@given(wild_usages())
def test_summary_rows_sum_to_capacity_in_every_column(usages: list[Usage]) -> None:
    *rows, capacity = read("".join(summary_csv(statement(usages))))

    for column in ("gpu_seconds", "gpu_hours", "amount"):
        assert Decimal(capacity[column]) == sum(Decimal(row[column]) for row in rows)
    assert Decimal(sum(u.charged for u in usages)).scaleb(-3) == Decimal(capacity["gpu_seconds"])


@settings(max_examples=50)
@given(wild_usages())
def test_lines_sum_to_the_summary_in_hours_and_money(usages: list[Usage]) -> None:
    month = statement(usages)
    *rows, _ = read("".join(summary_csv(month)))
    hours: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    amounts: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for line in read("".join(chargeback_csv(month))):
        if line["disposition"]:
            key = (line["disposition"], line["project"], line["scheduler"])
            hours[key] += Decimal(line["charged_gpu_hours" if line["disposition"] == "charged" else "gpu_hours"])
            amounts[key] += Decimal(line["amount"])

    keys = [(row["disposition"], row["project"], row["scheduler"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {key: Decimal(row["gpu_hours"]) for key, row in zip(keys, rows, strict=True)} == hours
    assert {key: Decimal(row["amount"]) for key, row in zip(keys, rows, strict=True)} == amounts


@settings(max_examples=50)
@given(wild_usages(), st.randoms(use_true_random=False))
def test_the_order_of_input_changes_no_byte(usages: list[Usage], random: object) -> None:
    first, lines = statement(usages), rate(usages, RATES, PERIOD)
    random.shuffle(lines)  # type: ignore[attr-defined]
    second = compose(lines, RATES, PERIOD)

    for render in (chargeback_csv, summary_csv, lambda s: notes_text(s, RATES, TERMS)):
        assert "".join(render(first)) == "".join(render(second))


@given(usages=wild_usages())
def test_totals_are_the_same_where_there_could_be_very_many(usages: list[Usage]) -> None:
    expected = statement(usages)
    with mock.patch("accounting.statements.compose._MANY", 0):
        assert expected == statement(usages)


def test_three_files_are_written_and_a_second_run_changes_no_byte(tmp_path: Path) -> None:
    paths = write_statement(tmp_path / "out", statement(pencil_month()), RATES, TERMS)
    before = [path.read_bytes() for path in paths]
    write_statement(tmp_path / "out", statement(pencil_month()[::-1]), RATES, TERMS)

    assert before == [path.read_bytes() for path in paths]
    assert {"chargeback-2026-10.csv", "chargeback-2026-10-summary.csv", "chargeback-2026-10-notes.txt"} == {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_a_statement_that_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    month = statement(pencil_month())
    path, *_ = write_statement(tmp_path, month, RATES, TERMS)
    before = path.read_bytes()
    broken = replace(month, micro_hours=month.micro_hours[:-1])

    with pytest.raises(ValueError, match="zip"):
        write_statement(tmp_path, broken, RATES, TERMS)

    assert before == path.read_bytes()
    assert 3 == len(list(tmp_path.iterdir()))


def test_lines_of_another_month_are_refused() -> None:
    lines = rate([charged(slurm("1"), 1)], RATES, "2026-09")

    with pytest.raises(ValueError, match="is of 2026-09 in EUR, the statement of 2026-10 in EUR"):
        compose(lines, RATES, PERIOD)


def test_lines_of_another_currency_are_refused() -> None:
    lines = rate([charged(slurm("1"), 1)], Rates(RATES.gpu_hour, "USD"), PERIOD)

    with pytest.raises(ValueError, match="in USD"):
        compose(lines, RATES, PERIOD)


def test_a_hold_from_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="hold_from of prod: 'bound' is not one of scheduled, started"):
        Terms(hold_from={"prod": "bound"})


def test_a_name_in_an_unmapped_project_is_still_on_the_statement() -> None:
    rows = read("".join(chargeback_csv(statement([charged(kube("u"), 1, project="unmapped", charged=GPU_HOUR)]))))

    assert ["unmapped"] == [row["project"] for row in rows]
