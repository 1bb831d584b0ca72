"""What may still change says so: a draft must not look like an invoice."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from accounting.service.app import create_service
from accounting.service.auth import Principal, Role, Tokens
from accounting.service.site_service import LedgerBooks
from accounting.statements import beancount
from accounting.statements.chargeback import COLUMNS
from accounting.statements.summary import SUMMARY_COLUMNS
from accounting.store.calendar import period_named
from tests.accounting.october import SETTLED, Site, october, run_1, told
from tests.accounting.site import T0, ended

WORDS = "open, as of 2026-11-03T00:00:00Z"
API = "/api/v1/statements/2026-10"


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Site:
    return october(engine, tmp_path)


def rows(file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(file.decode().splitlines()))


def served(site: Site) -> list[dict[str, object]]:
    """The answers about the month: lines and totals."""
    tokens = Tokens([(hashlib.sha256(b"admin").hexdigest(), Principal("finance", Role.ADMIN))])
    client = TestClient(create_service(LedgerBooks(site.config(), site.engine), tokens))
    headers = {"Authorization": "Bearer admin"}
    return [client.get(path, headers=headers).json() for path in (API, f"{API}/summary")]


def exported(site: Site) -> list[str]:
    return list(beancount.export(site.engine, period_named("2026-10")))


def test_an_open_month_says_so_and_since_when_wherever_it_is_told(site: Site) -> None:
    lines, summary, notes = site.month("2026-10")

    assert [*COLUMNS, "state"] == [*rows(lines)[0]]
    assert [*SUMMARY_COLUMNS, "state"] == [*rows(summary)[0]]
    assert {WORDS} == {row["state"] for row in rows(lines) + rows(summary)}
    assert f"The month is {WORDS}" == notes.decode().splitlines()[2]
    assert [WORDS] * 2 == [answer["state"] for answer in served(site)]
    assert f"; 2026-10 is {WORDS}\n" == exported(site)[0]


def test_what_is_booked_later_is_said_later_and_the_same_books_the_same_bytes(site: Site) -> None:
    before = site.month("2026-10")
    site.now = SETTLED + 60
    site.run("reconcile", "--period", "2026-10")
    same = site.month("2026-10")
    told(site.engine, run_1(), ended(2, T0, T0 + 60, cards=1))
    site.run("reconcile", "--period", "2026-10")

    assert before == same
    assert b"open, as of 2026-11-03T00:01:00Z" in site.month("2026-10")[2]


def test_a_closed_or_sealed_month_says_nothing_of_it(site: Site) -> None:
    site.run("close", "2026-10")
    closed = site.month("2026-10")
    site.run("seal", "2026-10")

    assert [COLUMNS, SUMMARY_COLUMNS] == [tuple(rows(file)[0]) for file in closed[:2]]
    assert not any(b"as of" in file or b"open," in file for file in closed)
    assert closed == site.month("2026-10")
    assert ["closed"] * 2 == [answer["state"] for answer in served(site)]
    assert not any("as of" in line for line in exported(site))


def test_a_month_that_only_has_corrections_in_it_says_so_too(site: Site) -> None:
    site.run("close", "2026-10")
    told(site.engine, run_1(), ended(2, T0, T0 + 60, cards=1))
    site.run("reconcile", "--period", "2026-10")

    assert {WORDS} == {row["state"] for row in site.lines("2026-11")}
