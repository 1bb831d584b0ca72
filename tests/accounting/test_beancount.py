"""The books in Beancount's form: an independent program adds them up and agrees, and sees it when they are wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from accounting.statements import beancount
from accounting.store.calendar import close, period_named
from tests.accounting.posting import post
from tests.accounting.site import DAY, T0
from tests.accounting.test_ledger import booked, charged

OCTOBER, NOVEMBER = period_named("2026-10"), period_named("2026-11")


def bean_check(path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("bean-check")
    return subprocess.run([program, str(path)], capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def books(engine: Engine) -> Engine:
    """A month with a change that was posted anew, closed, and corrected in the next one."""
    post(engine, booked(charged(1), machine="gn01"), now=T0 + DAY)
    post(engine, booked(charged(3), machine="gn01"), now=T0 + 2 * DAY)
    post(engine, booked(charged(2), machine="gn02"), now=T0 + 2 * DAY)
    close(engine, "2026-10", now=OCTOBER.end)
    post(engine, booked(charged(4), machine="gn01"), now=NOVEMBER.start + 5)
    return engine


@pytest.mark.parametrize("period", [OCTOBER, NOVEMBER], ids=lambda p: p.name)
def test_bean_check_agrees_with_our_balances(books: Engine, period: object, tmp_path: Path) -> None:
    assert period in (OCTOBER, NOVEMBER)
    path = tmp_path / "month.beancount"
    path.write_text("".join(beancount.export(books, OCTOBER if period == OCTOBER else NOVEMBER)))

    found = bean_check(path)

    assert (0, "") == (found.returncode, found.stderr)


def test_bean_check_sees_one_milligpu_second_too_many(books: Engine, tmp_path: Path) -> None:
    lines = list(beancount.export(books, OCTOBER))
    n = next(i for i, x in enumerate(lines) if " balance Expenses:Charged  " in x)
    word = lines[n].split()[3]
    lines[n] = lines[n].replace(word, str(int(word) + 1))
    path = tmp_path / "month.beancount"
    path.write_text("".join(lines))

    assert "Balance failed" in bean_check(path).stderr


def test_reversals_and_corrections_are_in_the_journal(books: Engine) -> None:
    october, november = ("".join(beancount.export(books, p)) for p in (OCTOBER, NOVEMBER))

    assert '* "gn01" "reversal"' in october
    assert '2026-11-01 * "gn01" "correction"' in november
    assert 'corrects-day: "2026-10-' in november


names = st.text(max_size=12)


@given(names, names)
def test_two_projects_never_share_an_account(a: str, b: str) -> None:
    assert (a == b) == (beancount.account("charged", a) == beancount.account("charged", b))


@given(st.sets(names, max_size=6))
def test_two_models_never_share_a_commodity_and_each_is_one_that_beancount_takes(models: set[str]) -> None:
    units = beancount.commodities(models)

    assert len(models) == len(set(units.values()))
    assert all(len(u) <= 24 and u.isascii() and u == u.upper() and u[-1].isalnum() for u in units.values())


def test_a_commodity_is_the_model_in_capitals_cut_and_with_a_digest_where_it_would_not_be_the_only_one() -> None:
    names = beancount.commodities(
        ["h100", "NVIDIA L40S", "--a100 (sxm)--", "nvidia_h100_80gb_hbm3", "B200", "b200", "東"]
    )

    assert {"h100": "MGS.H100", "NVIDIA L40S": "MGS.NVIDIA-L40S", "--a100 (sxm)--": "MGS.A100-SXM"} == {
        model: names[model] for model in ("h100", "NVIDIA L40S", "--a100 (sxm)--")
    }
    assert "MGS.NVIDIA-H100" == names["nvidia_h100_80gb_hbm3"], "twelve letters, and no dash at their end"
    assert all(names[model].startswith("MGS.B200.") and len(names[model]) == 15 for model in ("B200", "b200"))
    assert names["B200"] != names["b200"]
    assert names["東"].startswith("MGS..")
