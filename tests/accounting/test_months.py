"""Months through the front door: settle, close, seal, correct, rule; on both databases."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from accounting.closing import period_state
from accounting.database import connect, read, write
from accounting.sealing import digest
from accounting.tables import periods, postings, rulings, transactions
from exporters.model import LinkKey, LinkKind
from tests.accounting import views
from tests.accounting.october import HOUR, NOVEMBER, SETTLED, Site, october, run_1, seen, told
from tests.accounting.site import DAY, T0, ended, pod


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


def dispute(site: Site) -> str:
    return site.run("disputes").split()[0]


# settle


def test_a_month_with_all_its_records_may_be_closed_and_its_disputes_are_told(site: Site) -> None:
    assert (
        "note: 2.000000 GPU-hours are in dispute (meterbridge disputes 2026-10)\n2026-10 may be closed\n"
        == site.run("settle", "2026-10")
    )


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
    told(engine, run_1(), ended(9, T0, T0 + HOUR, nodes=(77,)), now=NOVEMBER - DAY)
    site = Site(engine, tmp_path)
    site.run("reconcile", "--period", "2026-10")
    found = site.run("settle", "2026-10", code=1)

    assert "note: 192.000000 GPU-hours are unknown: a source could not be read" in found
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

    assert "is not over" in one_site.run("close", "2026-10", "--force", code=3)


def test_closing_again_changes_nothing(site: Site) -> None:
    site.run("close", "2026-10")
    before = views.rows(site.engine, select(periods))
    site.now, site.price = SETTLED + DAY, "9.99"
    again = site.run("close", "2026-10")

    assert "2026-10 is closed: 33.60 EUR\n" == again
    assert before == views.rows(site.engine, select(periods))


def test_a_closed_month_keeps_its_prices_whatever_the_settings_say(site: Site) -> None:
    csv, summary, _ = site.month("2026-10")
    site.run("close", "2026-10")
    closed = site.month("2026-10")
    site.price = "3.00"

    assert [csv, summary] == closed[:2]
    assert closed == site.month("2026-10")
    assert b"The month is closed. These are the prices that it was closed with" in closed[2]
    assert b"h100: 2.10" in closed[2]
    assert "every invariant holds\n" == site.run("check")


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

    assert [
        "2026-11,charged 2026-10,vision,kubernetes,3600.000,1.000000,2.10,EUR",
        "2026-11,charged 2026-10,vision,slurm,-3600.000,-1.000000,-2.10,EUR",
        "2026-11,idle 2026-10,,,3600.000,1.000000,0.00,EUR",
        "2026-11,disputed 2026-10,vision,kubernetes,-3600.000,-1.000000,0.00,EUR",
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
    chain = one_site.run("explain", line)

    assert "charged: -3600000 milliGPU-seconds of h100" in chain
    assert "\n  -3600000 held -7200000, 2026-10-01T01:00:00Z" in chain
    assert "1|COMPLETED|" in chain
    assert "|5|late" in chain


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
    site.run("seal", "2026-10", code=3)
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
    refused = site.run("seal", "2026-11", code=3)
    site.run("seal", "2026-10")
    site.run("seal", "2026-11")

    with read(site.engine) as connection:
        alone, second = digest(connection, "2026-11", b""), period_state(site.engine, "2026-11").seal

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


# disputes


def test_a_dispute_names_both_owners_their_projects_and_the_records(site: Site) -> None:
    told_of = site.run("disputes", "2026-10")

    for part in (
        "open  gn01  2026-10-01T02:00:00Z to 2026-10-01T03:00:00Z  2.000000 GPU-hours",
        "kubernetes/kube/uid-a: vision/Job/a 'a' of bob, vision, project vision",
        f"slurm/lab/1@{T0}: 1 'train-1' of alice, vision, project vision",
        "why: same cards as slurm/lab/1@",
    ):
        assert part in told_of
    assert 2 == told_of.count("record of ")
    assert "" == site.run("disputes", "2026-11")


def test_a_ruling_is_a_posting_with_author_time_and_reason(site: Site) -> None:
    name = dispute(site)
    site.now += 60
    ruled = site.run("rule", name, "--to", "1", "--why", "it was first", "--author", "ada")
    reposted = views.rows(
        site.engine,
        select(transactions.c.author, transactions.c.reason, transactions.c.posted_at).where(
            transactions.c.author != ""
        ),
    )

    assert f"ruled to slurm/lab/1@{T0} by ada at 2026-11-03T00:01:00Z: it was first" in ruled
    assert {("ada", f"to slurm/lab/1@{T0}: it was first", SETTLED + 60)} == set(reposted)
    assert [] == [r for r in site.lines("2026-10") if r["disposition"] == "disputed"]
    assert "37.80" == str(sums(site, "2026-10")[1])
    assert "every invariant holds\n" == site.run("check")


def test_a_ruling_is_applied_again_after_a_late_record(site: Site) -> None:
    name = dispute(site)
    site.run("rule", name, "--to", "vision/Job/a", "--why", "so", "--author", "ada")
    told(site.engine, run_1(8, "late"), now=SETTLED + 1)
    site.run("reconcile", "--period", "2026-10")

    assert f"{name}  ruled  gn01" in site.run("disputes")
    assert "4.000000 GPU-hours" in site.run("disputes").splitlines()[0]
    assert "42.00" == str(sums(site, "2026-10")[1])  # 8 and 4 of run 1, 4 of pod a alone, and the 4 that are its


def test_a_ruling_whose_claims_are_not_in_conflict_any_more_is_told_as_lapsed(site: Site) -> None:
    name = dispute(site)
    site.run("rule", name, "--to", "1", "--why", "so", "--author", "ada")
    told(site.engine, run_1(4, "late"), now=SETTLED + 1)
    site.run("reconcile", "--period", "2026-10")

    assert f"{name}  no longer applicable  gn01" in site.run("disputes")
    assert "every invariant holds\n" == site.run("check")


def test_a_ruling_can_be_overruled_and_revoked_and_nothing_of_it_is_lost(site: Site) -> None:
    name = dispute(site)
    start = site.month("2026-10")
    site.run("rule", name, "--to", "1", "--why", "first", "--author", "ada")
    first = site.month("2026-10")
    site.run("rule", name, "--to", "vision/Job/a", "--why", "second", "--author", "bob")
    second = site.month("2026-10")
    site.run("rule", name, "--revoke", "--why", "wrong", "--author", "cyd")

    assert start == site.month("2026-10")
    assert 3 == len({first[0], second[0], start[0]})
    assert ["ada", "bob", "cyd"] == [
        r[0] for r in views.rows(site.engine, select(rulings.c.author).order_by(rulings.c.id))
    ]
    assert "revoked by cyd" in site.run("disputes")


def test_the_same_ruling_again_is_no_news(one_site: Site) -> None:
    name = dispute(one_site)
    for _ in range(2):
        one_site.now += 1
        one_site.run("rule", name, "--to", "1", "--why", "first", "--author", "ada")

    assert 1 == len(views.rows(one_site.engine, select(rulings.c.id)))


def test_a_ruling_in_a_closed_month_is_a_correction_and_the_month_stays_as_it_was(site: Site) -> None:
    name = dispute(site)
    site.run("close", "2026-10")
    site.run("seal", "2026-10")
    closed = site.month("2026-10")
    site.now += DAY
    report = site.run("rule", name, "--to", "1", "--why", "it was first", "--author", "ada")

    assert "1 corrected" in report
    assert closed == site.month("2026-10")
    assert "4.20" == str(sums(site, "2026-11")[1])
    assert f"{name}  ruled" in site.run("disputes")
    assert "every invariant holds\n" == site.run("check")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("D0", "--to", "1", "--why", "x"), 3, "there is no dispute D0"),
        (("{name}", "--to", "7", "--why", "x"), 3, "7 is not one of the parties"),
        (("{name}", "--revoke", "--why", "x"), 3, "nothing can be revoked"),
        (("{name}", "--to", "1", "--why", " "), 3, "needs an author and a reason"),
        (("{name}", "--why", "x"), 2, "say either --to JOB or --revoke"),
        (("{name}", "--revoke", "--to", "1", "--why", "x"), 2, "say either --to JOB or --revoke"),
    ],
)
def test_a_ruling_that_makes_no_sense_is_refused(
    one_site: Site, words: tuple[str, ...], code: int, sentence: str
) -> None:
    name = dispute(one_site)

    assert sentence in one_site.run("rule", *(w.format(name=name) for w in words), code=code)
    assert [] == views.rows(one_site.engine, select(rulings.c.id))


def test_claims_are_told_with_the_keys_they_carry(engine: Engine, tmp_path: Path) -> None:
    key = LinkKey(LinkKind.INSIDE, "lab", "77", "label meterbridge.io/slurm-job-id")
    seen(engine, pods=[pod("a", 1, T0 + 2 * HOUR, T0 + 4 * HOUR, 4, keys=[key])])
    told(engine)
    site = Site(engine, tmp_path)
    site.run("reconcile", "--period", "2026-10")
    found = site.run("disputes")
    site.run("rule", found.split()[0], "--to", "vision/Job/a", "--why", "a typing error", "--author", "ada")

    assert "key inside lab/77 label meterbridge.io/slurm-job-id" in found
    assert "why: no run of Slurm job 77 of lab is on this node" in found
    assert "16.80" == str(sums(site, "2026-10")[1])
