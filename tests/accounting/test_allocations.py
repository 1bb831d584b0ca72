"""Allocations: grants are drawn month by month, never below nothing, and nothing is lost on the way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.rates.allocations import SU, Account, Grant, Month, accounts
from accounting.store.calendar import period_named
from accounting.store.database import connect
from tests.accounting.october import seen, told
from tests.accounting.test_dated_prices import Dated
from tests.accounting.test_rate_cards import UNITS, carded, in_qos
from tests.accounting.test_rate_questions import ask

MONTHS = [period_named(f"2026-{n:02}") for n in range(7, 13)]


def grant(amount: str, first: int = 0, last: int = 5, name: str = "g", *, overdraft: bool = False) -> Grant:
    """A grant over some of `MONTHS`."""
    return Grant(name, "vision", SU, Decimal(amount), MONTHS[first].start, MONTHS[last].end, overdraft)


def months(*charged: str) -> list[Month]:
    """What vision was charged in each of `MONTHS`, in service units."""
    return [
        Month(period.name, period.start, period.end, {("vision", SU): Decimal(amount)})
        for period, amount in zip(MONTHS, charged, strict=False)
    ]


def only(account: Iterator[Account]) -> Account:
    (found,) = account
    return found


def used(account: Account) -> Mapping[str, Decimal]:
    return {balance.grant.name: balance.used for balance in account.balances}


def test_what_expires_first_is_drawn_first_and_the_rest_is_beyond() -> None:
    """120 and 100: 50 of the short one are all of it, 70 of the year's; then 30 of it, and 70 beyond."""
    account = only(accounts([grant("100", name="year"), grant("50", 0, 0, name="july")], months("120", "100")))

    assert {"july": Decimal(50), "year": Decimal(100)} == used(account)
    assert Decimal(70) == sum(account.over.values())
    assert account.overdrawn


def test_what_is_left_of_an_expired_grant_is_lost_and_not_drawn_later() -> None:
    account = only(accounts([grant("100", 0, 0)], months("30", "30")))
    (balance,) = account.balances

    assert (Decimal(70), True, False) == (
        balance.left,
        balance.expired(MONTHS[0].end),
        balance.expired(MONTHS[0].end - 1),
    )
    assert Decimal(30) == account.over["2026-08"]


def test_corrections_give_back_what_was_beyond_and_then_to_the_grants() -> None:
    """100 of 80: 20 beyond. 50 are given back: 20 of them beyond, 30 to the grant."""
    account = only(accounts([grant("80")], months("100", "-50")))

    assert {"g": Decimal(50)} == used(account)
    assert Decimal(0) == sum(account.over.values())
    assert not account.overdrawn


def test_an_overdraft_that_is_allowed_is_told_and_is_no_breach() -> None:
    account = only(accounts([grant("1", overdraft=True)], months("5")))

    assert (Decimal(4), False) == (account.over["2026-07"], account.overdrawn)


_AMOUNT = st.decimals(0, 1000, places=6)


@given(
    st.lists(st.tuples(_AMOUNT, st.integers(0, 5), st.integers(0, 5)), max_size=5),
    st.lists(st.decimals(-500, 1000, places=6), max_size=6),
)
def test_a_grant_never_goes_below_nothing_nor_above_what_was_granted_and_nothing_is_lost(
    granted: list[tuple[Decimal, int, int]], charged: list[Decimal]
) -> None:
    grants = [grant(str(amount), min(a, b), max(a, b), f"g{n}") for n, (amount, a, b) in enumerate(granted)]
    told = months(*map(str, charged))
    for account in accounts(grants, told):
        for balance in account.balances:
            levels = list(accumulate(balance.drawn.values(), initial=Decimal()))
            assert all(0 <= level <= balance.grant.amount for level in levels)
            valid = [m.name for m in told if balance.grant.valid_from <= m.start and m.end <= balance.grant.valid_to]
            assert {*balance.drawn} <= {*valid}
        for month in told:
            parts = [balance.drawn.get(month.name, Decimal()) for balance in account.balances]
            assert month.charged["vision", SU] == sum(parts, account.over[month.name])


GRANTS = """
allocations:
  - {name: year 2026, project: vision, su: 200, valid_from: 2026-01-01, valid_to: 2027-01-01}
"""


@pytest.fixture
def site(empty_sqlite: Path, tmp_path: Path) -> Iterator[Dated]:
    shutil.copy(empty_sqlite, tmp_path / "ledger.db")
    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    seen(engine)
    told(engine, in_qos("premium"))
    carded(tmp_path, UNITS)
    carded(tmp_path, GRANTS, "grants.yaml")
    found = Dated(engine, tmp_path, rates=f"{{cards: {tmp_path / 'rates'}}}")
    found.run("reconcile", "--period", "2026-10")
    yield found
    engine.dispose()


def rows(lines: list[str]) -> list[list[str]]:
    return [line.replace("│", " ").split() for line in lines if "vision" in line and not line.startswith("Error")]


def test_the_front_door_lists_grants_and_says_who_overdrew(site: Dated) -> None:
    """210 SU were used of 200."""
    lines = ask(site, "allocations", code=1)

    assert [
        ["vision", "year", "2026", "SU", "200", "200", "0", "until", "2027-01-01"],
        ["vision", "beyond", "all", "grants", "SU", "10"],
    ] == rows(lines)
    assert "Error: vision used 10 SU more than was granted" == lines[-1]
    carded(site.folder, GRANTS.replace("200", "250"), "grants.yaml")
    assert [["vision", "year", "2026", "SU", "250", "210", "40", "until", "2027-01-01"]] == rows(
        ask(site, "allocations")
    )


def test_a_grant_of_money_is_drawn_by_amounts(site: Dated) -> None:
    carded(site.folder, GRANTS.replace("su: 200", "money: 5.00, currency: USD"), "grants.yaml")

    assert [["vision", "year", "2026", "USD", "5", "2.94", "2.06", "until", "2027-01-01"]] == rows(
        ask(site, "allocations")
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("project: vision", "project: visoin", "there is no project 'visoin' in the settings; did you mean vision?"),
        ("2027-01-01", "2026-12-24", "a grant is for whole months"),
        ("2027-01-01", "2026-01-01", "a grant is for whole months"),
        ("su: 200", "su: 200, money: 1", "a grant is in su, or in money: one of them"),
        (", su: 200", "", "a grant is in su, or in money: one of them"),
        ("su: 200", "money: 1, currency: XXL", "a code of ISO 4217, not 'XXL'"),
        ("su: 200", "su: -200", "allocations.0.su: Input should be greater than or equal to 0"),
        ("}\n", "}\n  - {name: year 2026, project: vision, su: 1, valid_from: 2026-01-01, valid_to: 2026-02-01}\n",
         "has this name, too"),
    ],
)  # fmt: skip
def test_a_grant_that_makes_no_sense_is_refused_with_file_line_and_key(
    site: Dated, old: str, new: str, message: str
) -> None:
    carded(site.folder, GRANTS.replace(old, new), "grants.yaml")
    told = " ".join(ask(site, "allocations", code=2))

    assert message in told
    assert "grants.yaml: line " in told
