"""Prices with dates: what is used has the price of its time, to the second, through the front door."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from accounting.store.database import connect
from exporters.model import Record
from tests.accounting.october import HOUR, SETTINGS, Site, run_1, seen, told
from tests.accounting.site import T0, ended

CHANGE = "2026-10-01T02:15:30Z"
"""In the midst of the hour in which two of the six cards of run 1 are in dispute."""

FLAT = "{gpu_hour: {h100: 2.00}}"
TWO = f"{{gpu_hour: [{{valid_to: {CHANGE}, price: {{h100: 2.00}}}}, {{valid_from: {CHANGE}, price: {{h100: 3.00}}}}]}}"


@dataclass
class Dated(Site):
    """A site with rates of its own."""

    rates: str = FLAT

    @property
    def text(self) -> str:
        found = SETTINGS.format(url=self.engine.url.render_as_string(hide_password=False), price="1")
        return found[: found.index("rates:")] + f"rates: {self.rates}\n{self.extra}"

    def priced(self, rates: str) -> None:
        """Set prices, and book October with them."""
        self.rates = rates
        self.run("reconcile", "--period", "2026-10")


@pytest.fixture
def site(empty_sqlite: Path, tmp_path: Path) -> Iterator[Dated]:
    shutil.copy(empty_sqlite, tmp_path / "ledger.db")
    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    seen(engine)
    told(engine, run_1())
    yield Dated(engine, tmp_path)
    engine.dispose()


def charged(site: Site, period: str = "2026-10") -> list[tuple[str, str, str, str]]:
    """Of run 1's charged lines: when, hours, price and amount."""
    rows = [r for r in site.lines(period) if r["disposition"] == "charged" and r["scheduler"] == "slurm"]
    return [(r["start"][11:19], r["charged_gpu_hours"], r["unit_price"], r["amount"]) for r in rows]


def names(site: Site) -> list[str]:
    return [r["line_id"] for r in site.lines("2026-10") if r["disposition"] == "charged" and r["scheduler"] == "slurm"]


def hours(site: Site) -> Decimal:
    """What the lines of October add up to: capacity."""
    rows = [r for r in site.lines("2026-10") if r["disposition"]]
    told = (r["charged_gpu_hours" if r["disposition"] == "charged" else "gpu_hours"] for r in rows)
    return sum(map(Decimal, told), Decimal())


def test_a_usage_that_spans_a_change_of_price_is_split_at_its_second(site: Dated) -> None:
    """Six cards for an hour, then four: 6 h + 4 x 930 s = 7.033333 h at 2, 4 x 2670 s = 2.966667 h at 3."""
    site.priced(TWO)

    expected = [("01:00:00", "7.033333", "2.00", "14.07"), ("02:15:30", "2.966667", "3.00", "8.90")]
    assert expected == charged(site)


def test_the_line_with_the_first_price_keeps_its_name_and_the_month_its_hours(site: Dated) -> None:
    site.priced(FLAT)
    (name,), flat = names(site), hours(site)
    site.priced(TWO)
    first, second = names(site)

    assert (name, False) == (first, second == name)
    assert flat == hours(site)


def test_a_price_that_is_taken_back_leaves_the_month_as_if_it_had_never_been(site: Dated) -> None:
    site.priced(FLAT)
    before = site.month("2026-10")
    site.priced(TWO)
    site.priced(FLAT)

    assert before == site.month("2026-10")
    assert "every invariant holds\n" == site.run("check")


def test_a_change_of_another_models_price_splits_no_line(site: Dated) -> None:
    site.priced(FLAT)
    before = [{**row, "price_rule": ""} for row in site.lines("2026-10")]
    dated = f"{{valid_to: {CHANGE}, price: {{a100: 1.00}}}}, {{valid_from: {CHANGE}, price: {{a100: 9.00}}}}"
    site.priced(f"{{gpu_hour: [{dated}, {{price: {{h100: 2.00}}}}]}}")

    assert before == [{**row, "price_rule": ""} for row in site.lines("2026-10")]


def test_a_price_that_comes_back_is_the_price_of_one_line(site: Dated) -> None:
    """2 until 01:30, 3 until 02:30, 2 again: 3 h + 2 h at 2, 3 h + 2 h at 3."""
    a, b = "2026-10-01T01:30:00Z", "2026-10-01T02:30:00Z"
    spans = [f"valid_to: {a}, price: {{h100: 2}}", f"valid_from: {a}, valid_to: {b}, price: {{h100: 3}}",
             f"valid_from: {b}, price: {{h100: 2.00}}"]  # fmt: skip
    site.priced("{gpu_hour: [" + ", ".join(f"{{{span}}}" for span in spans) + "]}")

    expected = [
        ("01:00:00", "3.000000", "2.00", "6.00"),
        ("01:30:00", "5.000000", "3.00", "15.00"),
        ("02:30:00", "2.000000", "2.00", "4.00"),
    ]
    assert expected == charged(site)


def test_what_is_learnt_of_a_closed_month_has_the_prices_of_the_time_of_use_whatever_cards_say_now(site: Dated) -> None:
    site.priced(TWO)
    lines = names(site)
    site.run("close", "2026-10")
    before = site.month("2026-10")
    site.rates = "{gpu_hour: {h100: 50.00}}"
    told(site.engine, run_1(cards=6, end=T0 + 2 * HOUR))  # it ended an hour earlier
    site.run("reconcile", "--period", "2026-10")
    rows = [r for r in site.lines("2026-11") if r["scheduler"] == "slurm" and r["disposition"] == "charged"]
    found = [(r["linked_record"], r["charged_gpu_hours"], r["unit_price"], r["amount"]) for r in rows]

    expected = [
        (f"correction/2026-10/{lines[0]}", "-1.033333", "2.00", "-2.07"),
        (f"correction/2026-10/{lines[1]}", "-2.966667", "3.00", "-8.90"),
    ]
    assert expected == found
    assert before == site.month("2026-10")
    assert "every invariant holds\n" == site.run("check")


def test_explain_shows_the_evidence_of_one_price(site: Dated) -> None:
    site.priced(TWO)
    first, second = (site.run("explain", name, "--evidence") for name in names(site))

    assert ("2026-10-01T00:00:00Z to 2026-10-01T02:15:30Z" in first, "2026-10-01T02:15:30Z to 2026-10-02" in first) == (
        True,
        False,
    )
    assert ("2026-10-01T00:00:00Z to 2026-10-01T02:15:30Z" in second, "02:15:30Z to 2026-10-02" in second) == (
        False,
        True,
    )


def test_the_notes_say_which_price_was_when(site: Dated) -> None:
    site.priced(TWO)
    notes = site.month("2026-10")[2].decode()

    assert "    h100 until 2026-10-01T02:15:30+00:00: 2.00\n    h100 from 2026-10-01T02:15:30+00:00: 3.00\n" in notes


def test_a_day_is_cut_at_midnight_of_the_sites_zone(empty_sqlite: Path, tmp_path: Path) -> None:
    """In Zurich the sixteenth begins at 22:00 UTC on the fifteenth: 2 x 1 h at 2, 2 x 1 h at 3."""
    shutil.copy(empty_sqlite, tmp_path / "ledger.db")
    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    seen(engine, pods=[])
    late: Record = run_of(T0 + 14 * 24 * HOUR + 21 * HOUR)
    told(engine, late)
    site = Zurich(engine, tmp_path)
    site.priced("{gpu_hour: [{valid_to: 2026-10-16, price: {h100: 2}}, {valid_from: 2026-10-16, price: {h100: 3.00}}]}")

    assert [("21:00:00", "2.000000", "2.00", "4.00"), ("22:00:00", "2.000000", "3.00", "6.00")] == charged(site)
    engine.dispose()


@dataclass
class Zurich(Dated):
    """The same in another time zone."""

    @property
    def text(self) -> str:
        return f"{super().text}time_zone: Europe/Zurich\n"


def run_of(start: int) -> Record:
    """Two cards for two hours."""
    return ended(1, start, start + 2 * HOUR, cards=2)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (
            "{gpu_hour: [{price: {h100: 2}}, {valid_from: 2026-11-01, price: {H100: 3}}]}",
            "rates.gpu_hour.0.price.h100 and rates.gpu_hour.1.price.H100 both apply to the same usages at one time",
        ),
        (
            "{gpu_hour: [{valid_to: 2026-10-10, price: {h100: 2}}, {valid_from: 2026-10-11, price: {h100: 3}}]}",
            "between them, from 2026-10-10T00:00:00Z to 2026-10-11T00:00:00Z, nothing gives a price",
        ),
        ("{gpu_hour: [{valid_from: 2026-11-01, valid_to: 2026-10-01, price: {h100: 2}}]}", "it is never valid"),
    ],
)
def test_dates_that_make_no_sense_are_refused(site: Dated, rates: str, message: str) -> None:
    site.rates = rates

    assert message in site.run("reconcile", "--period", "2026-10", code=2)
