"""The chargeback's cells."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.statements import chargeback_csv
from accounting.statements.chargeback import COLUMNS, chargeback_rows
from exporters.model import Disposition
from tests.accounting.plain_lines import Usage
from tests.accounting.plain_statement import moment
from tests.accounting.produced import produced
from tests.accounting.usages import GPU_HOUR, OCTOBER, charged, kube, nobodys, pencil_month, slurm


def cells(usage: Usage) -> dict[str, str]:
    """The one line of a statement that holds only this usage."""
    text = b"".join(chargeback_csv(produced([usage]))).decode()
    (row,) = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    return row


def test_the_columns_are_those_that_were_promised() -> None:
    promised = (
        "billing_period, project, scheduler, cluster, job_id, job_name, user, account_or_namespace, "
        "partition_or_queue, gpu_model, start, end, gpu_hours, charged_gpu_hours, avg_gpu_utilization, energy_kwh, "
        "telemetry_coverage, unit_price, amount, currency, disposition, linked_record, line_id, "
        "service_units, price_rule"
    )

    assert tuple(promised.split(", ")) == COLUMNS


def test_a_linked_record_shows_what_it_held_and_charges_nothing() -> None:
    row = cells(charged(kube("u"), 2, disposition=None, charged=0, linked=slurm("5@1790812500")))

    assert ("", "2.000000", "0.000000", "0.00", "slurm/hall/5@1790812500") == (
        row["disposition"],
        row["gpu_hours"],
        row["charged_gpu_hours"],
        row["amount"],
        row["linked_record"],
    )


def test_a_job_that_pays_for_less_than_it_held_shows_both() -> None:
    row = cells(charged(slurm("1"), 4, held=8 * GPU_HOUR))

    assert ("8.000000", "4.000000", "8.40") == (row["gpu_hours"], row["charged_gpu_hours"], row["amount"])


@pytest.mark.parametrize("word", [d for d in Disposition if d is not Disposition.CHARGED])
def test_hours_that_nobody_pays_are_never_charged_hours(word: Disposition) -> None:
    row = cells(charged(kube("u"), 3, disposition=word, held=8 * GPU_HOUR))

    assert ("3.000000", "0.000000", "0.00", "0.00") == (
        row["gpu_hours"],
        row["charged_gpu_hours"],
        row["unit_price"],
        row["amount"],
    )


def test_nobodys_line_names_no_job() -> None:
    row = cells(nobodys(Disposition.IDLE, 20))

    named = {column: value for column, value in row.items() if value}
    assert {
        "billing_period": "2026-10",
        "gpu_model": "h100",
        "start": "2026-10-01T00:00:00Z",
        "end": "2026-10-01T10:00:00Z",
        "gpu_hours": "20.000000",
        "charged_gpu_hours": "0.000000",
        "unit_price": "0.00",
        "amount": "0.00",
        "currency": "EUR",
        "disposition": "idle",
        "line_id": row["line_id"],
    } == named


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_moments_are_iso_8601_in_utc(when: datetime) -> None:
    start = int(when.timestamp())
    row = cells(charged(slurm("1"), 1, start=start, end=start + 1))

    assert (when.strftime("%Y-%m-%dT%H:%M:%SZ"), moment(start + 1)) == (row["start"], row["end"])


def test_no_telemetry_is_empty_and_never_zero() -> None:
    row = cells(charged(slurm("1"), 1, samples_expected=240))

    assert ("", "", "") == (row["avg_gpu_utilization"], row["energy_kwh"], row["telemetry_coverage"])


def test_samples_that_said_nothing_are_no_coverage() -> None:
    row = cells(charged(slurm("1"), 1, samples_seen=240, samples_expected=240))

    assert ("", "", "") == (row["avg_gpu_utilization"], row["energy_kwh"], row["telemetry_coverage"])


def test_a_card_that_did_nothing_all_the_time_is_zero_and_not_empty() -> None:
    row = cells(
        charged(slurm("1"), 1, observed_gpu_seconds=3600.0, samples_seen=60, samples_expected=240, energy_joules=36e4)
    )

    assert ("0.0000", "0.100000", "0.2500") == (
        row["avg_gpu_utilization"],
        row["energy_kwh"],
        row["telemetry_coverage"],
    )


def test_time_in_which_the_exporter_was_away_is_not_covered() -> None:
    row = cells(
        charged(slurm("1"), 1, observed_gpu_seconds=900.0, samples_seen=60, samples_expected=60, energy_joules=36e4)
    )

    assert "0.2500" == row["telemetry_coverage"]


def test_energy_that_was_not_measured_is_empty() -> None:
    row = cells(charged(slurm("1"), 1, observed_gpu_seconds=3600.0, samples_seen=240, samples_expected=240))

    assert ("0.0000", "") == (row["avg_gpu_utilization"], row["energy_kwh"])


def test_an_empty_stretch_has_no_times() -> None:
    row = cells(charged(slurm("1"), 0, start=OCTOBER, end=OCTOBER))

    assert ("", "") == (row["start"], row["end"])


@pytest.mark.parametrize(
    ("usage_field", "column"),
    [
        ("project", "project"),
        ("job_name", "job_name"),
        ("user", "user"),
        ("account", "account_or_namespace"),
        ("partition", "partition_or_queue"),
    ],
)
def test_every_name_is_safe_in_a_spreadsheet(usage_field: str, column: str) -> None:
    row = cells(charged(slurm("1"), 1, **{usage_field: "=1+1\n\udcff"}))

    assert r"'=1+1\n\xff" == row[column]


def test_hostile_identities_are_safe_in_a_spreadsheet() -> None:
    row = cells(charged(slurm("@1", cluster="+c"), 1, linked=kube("u\n")))

    assert ("'@1", "'+c", r"kubernetes/prod/u\n") == (row["job_id"], row["cluster"], row["linked_record"])


def test_a_reversal_keeps_its_sign_and_no_apostrophe() -> None:
    row = cells(charged(slurm("1"), -1))

    assert ("-1.000000", "-1.000000", "-2.10") == (row["gpu_hours"], row["charged_gpu_hours"], row["amount"])


def test_lines_come_in_the_documented_order() -> None:
    columns = ("project", "scheduler", "job_id", "disposition")
    order = [tuple(row[c] for c in columns) for row in chargeback_rows(produced(pencil_month()[::-1]), str)]
    assert [
        ("nlp", "kubernetes", "d15p-00", "disputed"),
        ("platform", "kubernetes", "5e75-00", "reserved"),
        ("vision", "kubernetes", "0b9e-7f", "charged"),
        ("vision", "kubernetes", "77aa-10", ""),
        ("vision", "slurm", "101@1790812500", "charged"),
        ("", "", "", "idle"),
        ("", "", "", "down"),
        ("", "", "", "unknown"),
    ] == order


def test_energy_is_divided_and_not_multiplied_by_a_reciprocal() -> None:
    row = cells(charged(slurm("1"), 1, energy_joules=31324167.0, samples_seen=1, samples_expected=1))

    assert f"{31324167.0 / 3_600_000:.6f}" == row["energy_kwh"] == "8.701158"
