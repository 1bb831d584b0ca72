"""Months through the front door: settle, close, seal, correct, rule; on both databases."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from accounting.intake.history import ingest_history
from accounting.periods.closing import period_state
from accounting.periods.sealing import digest
from accounting.rates.rating import Rates
from accounting.site import book, line_questions
from accounting.site.known_months import month_names
from accounting.statements.one_line.evidence_chain import explain_usage
from accounting.statements.one_line.evidence_text import evidence_facts
from accounting.store.calendar import period_named
from accounting.store.database import LedgerError, connect, read, write
from accounting.store.readers import Given
from accounting.store.tables import periods, postings, transactions
from exporters.model import Reject
from tests.accounting import views
from tests.accounting.october import HOUR, NOVEMBER, SETTLED, Site, october, run_1, seen, told
from tests.accounting.plain_rating import rate
from tests.accounting.plain_usage import usage
from tests.accounting.site import DAY, T0, History, ended


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Site:
    return october(engine, tmp_path)


@pytest.fixture
def one_site(empty_sqlite: Path, tmp_path: Path) -> Iterator[Site]:
    """The same on SQLite only, for what no database decides."""
    shutil.copy(empty_sqlite, tmp_path / "ledger.db")
    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield october(engine, tmp_path)
    engine.dispose()


def sums(site: Site, period: str) -> tuple[Decimal, ...]:
    """Hours and money of a statement's lines, and of the last row of its summary."""
    counted = [r for r in site.lines(period) if r["disposition"]]
    hours = sum(Decimal(r["charged_gpu_hours" if r["disposition"] == "charged" else "gpu_hours"]) for r in counted)
    last = site.month(period)[1].decode().splitlines()[-1].split(",")
    return (Decimal(hours), sum((Decimal(r["amount"]) for r in counted), Decimal()), Decimal(last[5]), Decimal(last[6]))


# settle


def test_a_month_with_all_its_records_may_be_closed_and_its_disputes_are_told(site: Site) -> None:
    told = site.run("settle", "2026-10").splitlines()

    assert "2026-10 may be closed" == told.pop()
    assert 2.0 == sum(float(line.split()[1]) for line in told)
    assert [] == [line for line in told if not re.match(r"note: \d\.\d{6} GPU-hours: in dispute, .* no link", line)]
    assert [] == [line for line in told if not line.endswith(" (meterbridge disputes 2026-10)")]


def test_late_records_are_waited_for_as_long_as_the_settings_say(one_site: Site) -> None:
    one_site.now = NOVEMBER + DAY - 1

    told = one_site.run("settle", "2026-10", code=1)
    assert "must: late records are waited for until 2026-11-02T00:00:00+00:00 (ledger.settle)" in told
    one_site.now += 1
    assert "may be closed" in one_site.run("settle", "2026-10")


def test_what_was_not_read_to_the_end_of_the_month_must_be_read(engine: Engine, tmp_path: Path) -> None:
    site = Site(engine, tmp_path)
    never = site.run("settle", "2026-10", code=1)
    seen(engine, until=T0 + 20 * DAY)
    told(engine, run_1(), now=T0 + 20 * DAY)
    site.run("reconcile", "--period", "2026-10")
    partly = site.run("settle", "2026-10", code=1)

    assert "must: the records of slurm lab were never read (meterbridge ingest)" in never
    assert "must: kubernetes kube was never recorded (meterbridge exporter)" in never
    assert "must: the records of slurm lab are read only up to 2026-10-21T00:00:00+00:00" in partly
    assert "must: kubernetes kube was last seen at 2026-10-21T00:00:00+00:00" in partly


def test_hours_without_evidence_and_rejects_are_told_and_may_stay(engine: Engine, tmp_path: Path) -> None:
    seen(engine)
    bad = Reject("sacct", "9|nonsense", "not a row of sacct", NOVEMBER - DAY)
    ingest_history(engine, History([run_1(), bad]), now=NOVEMBER - DAY, start=T0, overlap=90 * DAY, step=90 * DAY)
    site = Site(engine, tmp_path)
    site.run("reconcile", "--period", "2026-10")
    found = site.run("settle", "2026-10", code=1)

    assert re.search(r"note: 192\.000000 GPU-hours: unknown, .*: nobody is billed for them", found)
    assert "note: 1 records are set aside since the month began" in found


def test_node_days_with_newer_records_must_be_reconciled(site: Site) -> None:
    told(site.engine, ended(2, T0 + 5 * DAY, T0 + 5 * DAY + 60))
    before = site.run("settle", "2026-10", code=1)
    site.run("reconcile", "--period", "2026-10")

    assert "must: node-days with newer records: gn01 2026-10-06 (meterbridge reconcile)" in before
    assert "may be closed" in site.run("settle", "2026-10")


def test_a_month_that_cannot_be_priced_must_be_priced_first(one_site: Site) -> None:
    one_site.extra = "gpu_models: {a100: [h100]}\n"
    one_site.run("reconcile", "--period", "2026-10")

    assert "must: no price for GPU model 'a100'" in one_site.run("settle", "2026-10", code=1)
    one_site.run("close", "2026-10", "--force", code=2)
    assert "open" == period_state(one_site.engine, "2026-10").state


# close


def test_a_month_that_is_not_settled_is_closed_only_by_force(site: Site) -> None:
    told(site.engine, ended(2, T0 + 5 * DAY, T0 + 5 * DAY + 60))
    refused = site.run("close", "2026-10", code=1)
    state = period_state(site.engine, "2026-10").state
    forced = site.run("close", "2026-10", "--force")

    assert "node-days with newer records: gn01 2026-10-06" in refused
    assert "open" == state
    assert "2026-10 is closed: 33.60 EUR\n" == forced


def test_a_month_that_is_not_over_is_not_closed_even_by_force(one_site: Site) -> None:
    one_site.now = NOVEMBER - 1

    assert "is not over" in one_site.run("close", "2026-10", "--force", code=1)


def test_closing_again_changes_nothing(site: Site) -> None:
    site.run("close", "2026-10")
    before = views.rows(site.engine, select(periods))
    site.now, site.price = SETTLED + DAY, "9.99"
    again = site.run("close", "2026-10")

    assert "2026-10 is closed: 33.60 EUR\n" == again
    assert before == views.rows(site.engine, select(periods))


def test_a_closed_month_keeps_its_prices_whatever_the_settings_say(site: Site) -> None:
    draft = site.month("2026-10")
    site.run("close", "2026-10")
    closed = site.month("2026-10")
    site.price = "3.00"

    assert [re.sub(rb',state|,"open, as of .*"', b"", file) for file in draft[:2]] == closed[:2]
    assert closed == site.month("2026-10")
    assert b"The month is closed. These are the prices that it was closed with" in closed[2]
    assert b"h100: 2.10" in closed[2]
    assert "every invariant holds\n" == site.run("check")


# every open month


def test_reconcile_without_a_month_does_every_open_one(engine: Engine, tmp_path: Path) -> None:
    site = Site(engine, tmp_path)
    seen(engine)
    told(engine, run_1())
    site.now = period_named("2027-02").start + DAY  # three months that nobody has reconciled, and October
    site.run("reconcile")
    late = site.lines("2026-10")
    site.run("close", "2026-10", "--force")
    site.run("close", "2026-11", "--force")

    begin, end = book.unfinished_months(site.config(), engine, site.now)

    assert ["2026-10", "2026-11", "2026-12", "2027-01", "2027-02"] == month_names(engine)
    assert {"train-1"} <= {row["job_name"] for row in late}
    assert (period_named("2026-12").start, period_named("2027-02").end) == (begin, end)


def test_a_closed_last_month_is_looked_at_for_corrections(site: Site) -> None:
    site.run("close", "2026-10")

    begin, end = book.unfinished_months(site.config(), site.engine, site.now)

    assert (T0, period_named("2026-11").end) == (begin, end)


# corrections


def test_a_late_record_is_a_correction_with_the_prices_of_the_month_it_corrects(site: Site) -> None:
    site.run("close", "2026-10")
    site.run("seal", "2026-10")
    closed = site.month("2026-10")
    october_lines = {r["line_id"]: r for r in site.lines("2026-10")}
    site.price, site.now = "100.00", SETTLED + HOUR
    told(site.engine, run_1(5, "late"), now=SETTLED + 1)  # it held one card less than was told
    site.run("reconcile")
    site.run("reconcile")
    rows = site.lines("2026-11")
    [mine] = [r for r in rows if r["job_name"] == "train-1"]
    what, month, line = mine["linked_record"].split("/")

    assert closed == site.month("2026-10")
    assert ("correction", "2026-10", "train-1") == (what, month, october_lines[line]["job_name"])
    assert ("2026-11", "2.10", "-1.000000", "-2.10", "charged") == tuple(
        mine[c] for c in ("billing_period", "unit_price", "charged_gpu_hours", "amount", "disposition")
    )
    hours, money, capacity, total = sums(site, "2026-11")
    assert (hours, money) == (capacity, total)
    assert "every invariant holds\n" == site.run("check")


def test_corrections_are_rows_of_their_own_in_the_summary(site: Site) -> None:
    site.run("close", "2026-10")
    told(site.engine, run_1(5, "late"), now=SETTLED + 1)
    site.run("reconcile")
    _, summary, notes = site.month("2026-11")

    draft = ',,"open, as of 2026-11-03T00:00:00Z"'  # no service units
    assert [
        f"2026-11,charged 2026-10,vision,kubernetes,3600.000,1.000000,2.10,EUR{draft}",
        f"2026-11,charged 2026-10,vision,slurm,-3600.000,-1.000000,-2.10,EUR{draft}",
        f"2026-11,idle 2026-10,,,3600.000,1.000000,0.00,EUR{draft}",
        f"2026-11,disputed 2026-10,vision,kubernetes,-3600.000,-1.000000,0.00,EUR{draft}",
    ] == [r for r in summary.decode().splitlines() if "2026-10" in r]
    assert b"Prices of 2026-10:\n    h100: 2.10\n" in notes


def test_a_correction_is_applied_once_however_often_it_is_told(site: Site) -> None:
    site.run("close", "2026-10")
    told(site.engine, run_1(5, "late"), now=SETTLED + 1)
    site.run("reconcile")
    first = site.month("2026-11")
    for note in ("later", "latest"):
        site.now += HOUR
        told(site.engine, run_1(5, note), now=site.now)
        site.run("reconcile", "--period", "2026-10")

    assert first == site.month("2026-11")
    assert [("correction",)] == [
        k for k in views.rows(site.engine, select(transactions.c.kind)) if k[0] == "correction"
    ]


def test_a_correction_can_be_explained_to_the_record_that_came_late(one_site: Site) -> None:
    one_site.run("close", "2026-10")
    told(one_site.engine, run_1(5, "late"), now=SETTLED + 1)
    one_site.run("reconcile")
    [line] = [r["line_id"] for r in one_site.lines("2026-11") if r["job_name"] == "train-1"]
    chain = one_site.run("explain", line, "--evidence")

    assert f"{line} of 2026-11, a correction of 2026-10\n" in chain
    assert "charged -1.000000 GPU-hours = -3600000 milliGPU-seconds" in chain
    assert "\n    -3600000 milliGPU-seconds held -7200000, 2026-10-01T01:00:00Z" in chain
    assert "1|COMPLETED|" in chain
    assert "|5|late" in chain


def test_every_line_is_explained_by_its_name_as_it_is_in_the_books(site: Site) -> None:
    site.run("close", "2026-10")
    told(site.engine, run_1(5, "late"), now=SETTLED + 1)
    site.run("reconcile")
    october = period_named("2026-10")
    lines = [r["line_id"] for r in site.lines("2026-10")]
    expected = {
        line.line_id: evidence_facts(explain_usage(site.engine, october.start, october.end, line.usage))
        for line in rate(usage(site.engine, october.start, october.end), Rates({"h100": Decimal("2.10")}), "2026-10")
    }

    assert set(lines) == set(expected)
    assert 4 <= len(lines)
    config = site.config()
    assert expected == {line: line_questions.explained(config, line, None, evidence=True)["evidence"] for line in lines}
    with pytest.raises(LedgerError, match=f"no line {'L' + '0' * 20} in 2026-11, 2026-10"):
        line_questions.explained(config, "L" + "0" * 20, None)


def test_a_model_without_a_price_then_has_the_price_of_the_statement(one_site: Site) -> None:
    one_site.run("close", "2026-10")
    one_site.extra = "gpu_models: {a100: [h100]}\n"
    one_site.price = "2.10, a100: 1.00"
    one_site.run("reconcile", "--period", "2026-10")
    amounts = {
        (r["gpu_model"], r["job_name"]): r["amount"] for r in one_site.lines("2026-11") if r["disposition"] == "charged"
    }

    assert "-21.00" == amounts["h100", "train-1"]
    assert "10.00" == amounts["a100", "train-1"]


def test_months_closed_in_another_currency_cannot_be_corrected_in_this_one(one_site: Site) -> None:
    one_site.run("close", "2026-10")
    told(one_site.engine, run_1(5, "late"), now=SETTLED + 1)
    one_site.run("reconcile")
    with write(one_site.engine) as connection:
        kept = connection.execute(select(periods.c.closed_with).where(periods.c.name == "2026-10")).scalar_one()
        changed = kept.replace('"EUR"', '"CHF"')
        connection.execute(update(periods).where(periods.c.name == "2026-10").values(closed_with=changed))

    assert "set rates.currency back to CHF" in one_site.run(
        "statement", "2026-11", "--out", str(one_site.folder), code=2
    )


# seal


def test_a_seal_is_printed_and_the_same_again(site: Site) -> None:
    site.run("seal", "2026-10", code=1)
    site.run("close", "2026-10")
    first = site.run("seal", "2026-10")
    site.now += DAY

    assert first == site.run("seal", "2026-10")
    assert 64 == len(first.split()[1])
    assert first.split()[1] in site.run("periods")


def test_seals_are_chained_in_order_of_time(site: Site) -> None:
    december = NOVEMBER + 30 * DAY
    site.run("close", "2026-10")
    told(site.engine, run_1(5, "late"), now=SETTLED + 1)
    site.run("reconcile")
    site.now = december + DAY
    seen(site.engine, until=site.now, pods=[])
    told(site.engine, now=site.now)
    site.run("reconcile", "--period", "2026-11")
    site.run("close", "2026-11", "--force")
    refused = site.run("seal", "2026-11", code=1)
    site.run("seal", "2026-10")
    site.run("seal", "2026-11")

    with read(site.engine) as connection:
        alone, second = digest(Given(connection), connection, "2026-11", b""), period_state(site.engine, "2026-11").seal

    assert "seal 2026-10 before 2026-11" in refused
    assert alone != second
    assert "every invariant holds\n" == site.run("check")


@pytest.mark.parametrize(
    "tamper",
    [
        update(postings).where(postings.c.account == "idle").values(reason="nobody came"),
        update(transactions).where(transactions.c.id == 1).values(author="someone"),
        update(periods).values(closed_with=""),
        update(periods).values(seal=b"another"),
    ],
    ids=["posting", "transaction", "prices", "seal"],
)
def test_check_names_a_sealed_month_that_was_changed(one_site: Site, tamper: object) -> None:
    one_site.run("close", "2026-10")
    one_site.run("seal", "2026-10")
    with write(one_site.engine) as connection:
        connection.execute(tamper)  # type: ignore[call-overload]

    found = one_site.run("check", code=1)

    assert "a sealed period is what was sealed: period 2026-10: its books have another seal" in found


def test_check_rates_closed_months_again(one_site: Site) -> None:
    one_site.run("close", "2026-10")
    with write(one_site.engine) as connection:
        kept = connection.execute(select(periods.c.closed_with)).scalar_one()
        connection.execute(update(periods).values(closed_with=kept.replace('"2.10"', '"2.11"')))

    assert "a closed period rates to the same cents: period 2026-10: closed with 33.60, now 33.76 EUR" in one_site.run(
        "check", code=1
    )
