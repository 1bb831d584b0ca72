"""A statement as a whole: its files, and what adds up across them."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from errno import ENOSPC
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import statements
from accounting.rates.rating import Rates
from accounting.statements import Statement, Terms, chargeback_csv, summary_csv, write_statement
from accounting.statements.notes import notes_text
from exporters.model import Disposition
from tests.accounting import plain_statement
from tests.accounting.plain_lines import Usage
from tests.accounting.plain_rating import rate
from tests.accounting.produced import alike, produced
from tests.accounting.usages import GPU_HOUR, OCTOBER, PERIOD, RATES, charged, kube, pencil_month, slurm, wild_usages

TERMS = Terms("Europe/Zurich", {"prod": "scheduled", "test": "started"})


def chargeback(month: Statement) -> str:
    return b"".join(chargeback_csv(month)).decode()


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_the_pencil_month_reads_as_expected(golden: Callable[[str, str], None]) -> None:
    month = produced(pencil_month())

    golden("chargeback-pencil.csv", chargeback(month))
    golden("chargeback-pencil-summary.csv", "".join(summary_csv(month)))
    golden("chargeback-pencil-notes.txt", "".join(notes_text(month, RATES, TERMS)))


def test_thirds_of_a_card_add_up_in_every_column(golden: Callable[[str, str], None]) -> None:
    """Three seventh-slices for a second and the card's rest: 1000 milliGPU-seconds, 0.000278 hours in all."""
    usages = [charged(slurm(str(n)), 0, charged=142, held=142, project=f"p{n}") for n in range(3)]
    usages.append(Usage("", None, "h100", Disposition.IDLE, 0, 574, OCTOBER, OCTOBER + 1))
    month = produced(usages, Rates({"h100": Decimal(1000)}, "EUR"))

    golden("chargeback-thirds.csv", chargeback(month))
    golden("chargeback-thirds-summary.csv", "".join(summary_csv(month)))


def test_a_month_without_a_second_has_a_capacity_of_zero() -> None:
    (row,) = read("".join(summary_csv(produced([]))))

    assert {
        "billing_period": PERIOD,
        "disposition": "capacity",
        "project": "",
        "scheduler": "",
        "gpu_seconds": "0.000",
        "gpu_hours": "0.000000",
        "amount": "0.00",
        "currency": "EUR",
        "service_units": "",
    } == row


@settings(max_examples=50)
@given(wild_usages())
def test_summary_rows_sum_to_capacity_in_every_column(usages: list[Usage]) -> None:
    *rows, capacity = read("".join(summary_csv(produced(usages))))

    for column in ("gpu_seconds", "gpu_hours", "amount"):
        assert Decimal(capacity[column]) == sum(Decimal(row[column]) for row in rows)
    assert Decimal(sum(u.charged for u in usages)).scaleb(-3) == Decimal(capacity["gpu_seconds"])


@settings(max_examples=50)
@given(wild_usages())
def test_lines_sum_to_the_summary_in_hours_and_money(usages: list[Usage]) -> None:
    month = produced(usages)
    *rows, _ = read("".join(summary_csv(month)))
    hours: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    amounts: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for line in read(chargeback(month)):
        if line["disposition"]:
            key = (line["disposition"], line["project"], line["scheduler"])
            hours[key] += Decimal(line["charged_gpu_hours" if line["disposition"] == "charged" else "gpu_hours"])
            amounts[key] += Decimal(line["amount"])

    keys = [(row["disposition"], row["project"], row["scheduler"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {key: Decimal(row["gpu_hours"]) for key, row in zip(keys, rows, strict=True)} == hours
    assert {key: Decimal(row["amount"]) for key, row in zip(keys, rows, strict=True)} == amounts


@given(wild_usages())
def test_a_pivot_table_made_as_the_page_says_counts_nothing_twice(usages: list[Usage]) -> None:
    """docs/statements.md, *In a pivot table*: by its columns alone, as a person at a spreadsheet has them."""
    month = produced(usages)
    rows, summary = read(chargeback(month)), read("".join(summary_csv(month)))
    hours: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if word := row["disposition"]:
            hours[word] += Decimal(row["charged_gpu_hours" if word == "charged" else "gpu_hours"])
    told: dict[str, Decimal] = defaultdict(Decimal)
    for row in summary:
        if row["disposition"] != "capacity":
            told[row["disposition"].split()[0]] += Decimal(row["gpu_hours"])

    assert told == hours
    assert hours["charged"] == sum((Decimal(row["charged_gpu_hours"]) for row in rows), Decimal())
    assert Decimal(summary[-1]["amount"]) == sum((Decimal(row["amount"]) for row in rows), Decimal())
    assert Decimal(summary[-1]["gpu_hours"]) == sum(hours.values(), Decimal())


@settings(max_examples=50)
@given(wild_usages(), st.randoms(use_true_random=False))
def test_the_order_of_input_changes_no_byte(usages: list[Usage], random: object) -> None:
    shuffled = alike(usages)
    first = produced(shuffled)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    second = produced(shuffled)

    for render in (chargeback, summary_csv, lambda s: notes_text(s, RATES, TERMS)):
        assert "".join(render(first)) == "".join(render(second))


@given(wild_usages(), st.sampled_from(["EUR", "JPY", "KWD"]), st.decimals(0, 100, places=9))
def test_a_month_is_what_it_is_line_by_line(usages: list[Usage], currency: str, price: Decimal) -> None:
    usages, rates = alike(usages), Rates({"h100": price}, currency, Decimal("0.5"))
    month, plain = produced(usages, rates), plain_statement.compose(rate(usages, rates, PERIOD), rates, PERIOD)

    assert "".join(plain_statement.chargeback_csv(plain)) == chargeback(month)
    assert plain.totals == month.totals


def test_a_month_that_was_measured_is_what_it_is_line_by_line() -> None:
    usages = alike(pencil_month())

    assert "".join(
        plain_statement.chargeback_csv(plain_statement.compose(rate(usages, RATES, PERIOD), RATES, PERIOD))
    ) == chargeback(produced(usages))


def test_three_files_are_written_and_a_second_run_changes_no_byte(tmp_path: Path) -> None:
    paths = write_statement(tmp_path / "out", produced(pencil_month()), RATES, TERMS)
    before = [path.read_bytes() for path in paths]
    write_statement(tmp_path / "out", produced(pencil_month()[::-1]), RATES, TERMS)

    assert before == [path.read_bytes() for path in paths]
    assert {"chargeback-2026-10.csv", "chargeback-2026-10-summary.csv", "chargeback-2026-10-notes.txt"} == {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_a_statement_that_fails_half_way_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    month = produced(pencil_month())
    path, *_ = write_statement(tmp_path, month, RATES, TERMS)
    before = path.read_bytes()

    def full(statement: Statement) -> Iterator[bytes]:
        yield next(chargeback_csv(statement))
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(statements, "chargeback_csv", full)
    with pytest.raises(OSError, match="No space"):
        write_statement(tmp_path, month, RATES, TERMS)

    assert before == path.read_bytes()
    assert 3 == len(list(tmp_path.iterdir()))


def test_a_hold_from_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="hold_from of prod: 'bound' is not one of scheduled, started"):
        Terms(hold_from={"prod": "bound"})


def test_a_name_in_an_unmapped_project_is_still_on_the_statement() -> None:
    rows = read(chargeback(produced([charged(kube("u"), 1, project="unmapped", charged=GPU_HOUR)])))

    assert ["unmapped"] == [row["project"] for row in rows]
