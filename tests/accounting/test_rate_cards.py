"""Rate cards from files, through the front door: how a price is chosen, what is refused, and what a month keeps."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from accounting.rates import card_files
from accounting.rates.card_files import rate_cards
from accounting.rates.rating import RatingError
from accounting.store.calendar import period_named
from accounting.store.database import connect, write
from accounting.store.tables import closed_jobs
from exporters import strict_yaml
from exporters.config import parse
from exporters.model import Record
from tests.accounting.october import HOUR, SETTINGS, run_1, seen, told
from tests.accounting.site import T0, ended
from tests.accounting.test_dated_prices import Dated, charged

CARD = """
cards:
  - name: "2026"
    currency: EUR
    valid_from: 2026-01-01
    prices:
      - {gpu_hour: 2.10, when: {gpu_model: h100}}
      - {gpu_hour: 1.50, when: {gpu_model: H100, project: [vision, unmapped], scheduler: slurm}}
    factors:
      - {name: qos, factor: 2, when: {qos: premium}}
      - {name: qos, factor: 0.5, when: {qos: scavenger}}
      - {name: markup, factor: 1.08}
"""


@pytest.fixture
def site(empty_sqlite: Path, tmp_path: Path) -> Iterator[Dated]:
    shutil.copy(empty_sqlite, tmp_path / "ledger.db")
    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    seen(engine)
    told(engine, in_qos("premium"))
    carded(tmp_path, CARD)
    yield Dated(engine, tmp_path, rates=f"{{cards: {tmp_path / 'rates'}}}")
    engine.dispose()


def carded(folder: Path, text: str, name: str = "2026.yaml") -> None:
    (folder / "rates").mkdir(exist_ok=True)
    (folder / "rates" / name).write_text(text)


def in_qos(qos: str, end: int = T0 + 3 * HOUR) -> Record:
    """Run 1 as its scheduler tells it."""
    record = run_1(end=end, note=qos)
    return replace(record, job=replace(record.job, qos=qos))


def test_cards_are_parsed_once_for_each_change_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often prices are asked for, and also where a change leaves the file's size and its time as they were."""
    carded(tmp_path, CARD)
    config = parse(f"rates: {{cards: {tmp_path / 'rates'}}}")
    parsed: list[str] = []
    monkeypatch.setattr(card_files, "read", lambda text: parsed.append(text) or strict_yaml.read(text))
    first, again = (rate_cards(config, UTC) for _ in range(2))
    at = (tmp_path / "rates" / "2026.yaml").stat()
    carded(tmp_path, CARD.replace("2.10", "2.20"))
    os.utime(tmp_path / "rates" / "2026.yaml", ns=(at.st_atime_ns, at.st_mtime_ns))
    other = rate_cards(config, UTC)
    carded(tmp_path, CARD)

    assert [CARD, CARD.replace("2.10", "2.20")] == parsed
    assert first is again
    assert first == rate_cards(config, UTC) != other


def test_the_most_specific_price_times_the_factor_of_each_name(site: Dated) -> None:
    """10 GPU-hours x 1.50 x 2 x 1.08 = 32.40."""
    site.run("reconcile", "--period", "2026-10")

    assert [("01:00:00", "10.000000", "3.2400", "32.40")] == charged(site)


def test_pods_have_the_price_of_theirs_without_a_factor_of_a_qos(site: Dated) -> None:
    """4 cards for an hour, the first hour is half in dispute: 4 + 2 h... the lines say so; the price is 2.10 x 1.08."""
    site.run("reconcile", "--period", "2026-10")
    rows = [r for r in site.lines("2026-10") if r["disposition"] == "charged" and r["scheduler"] == "kubernetes"]

    assert [("6.000000", "2.2680", "13.61")] == [(r["charged_gpu_hours"], r["unit_price"], r["amount"]) for r in rows]


def test_a_closed_month_keeps_what_was_said_of_its_jobs(site: Dated) -> None:
    site.run("reconcile", "--period", "2026-10")
    site.run("close", "2026-10")
    before = site.month("2026-10")
    told(site.engine, in_qos("scavenger"))
    site.run("reconcile", "--period", "2026-10")

    assert before == site.month("2026-10")
    assert "every invariant holds\n" == site.run("check")


def test_a_correction_is_rated_with_what_was_said_when_its_month_was_closed(site: Dated) -> None:
    """An hour less of four cards: 4 x 1.50 x 2 x 1.08 = 12.96, whatever QOS the run has now."""
    site.run("reconcile", "--period", "2026-10")
    site.run("close", "2026-10")
    told(site.engine, in_qos("scavenger", end=T0 + 2 * HOUR))
    site.run("reconcile", "--period", "2026-10")

    assert [("01:00:00", "-4.000000", "3.2400", "-12.96")] == charged(site, "2026-11")
    assert "every invariant holds\n" == site.run("check")


@pytest.mark.parametrize(
    "tampered", [update(closed_jobs).values(facts='{"qos":"scavenger"}'), delete(closed_jobs)], ids=["changed", "gone"]
)
def test_what_is_kept_of_jobs_is_proved_by_check(site: Dated, tampered: object) -> None:
    site.run("reconcile", "--period", "2026-10")
    site.run("close", "2026-10")
    told(site.engine, in_qos("scavenger"))
    with write(site.engine) as connection:
        connection.execute(tampered)  # type: ignore[call-overload]

    assert "what was kept of its jobs was changed" in site.run("check", code=1)


def test_a_month_of_flat_prices_keeps_nothing(site: Dated) -> None:
    site.rates = "{gpu_hour: {h100: 2}}"
    site.run("reconcile", "--period", "2026-10")
    site.run("close", "2026-10")

    with site.engine.connect() as connection:
        assert [] == connection.execute(closed_jobs.select()).all()


def price(more: str = "", head: str = "") -> str:
    """A file of one card with a price of every model, and more below it."""
    return f"cards:\n  - name: a\n    currency: EUR\n{head}    prices:\n      - {{gpu_hour: 2}}\n{more}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (price("      - {gpu_hours: 1}\n"), "line 6: cards.0.prices.1.gpu_hours: unknown key; did you mean gpu_hour?"),
        (price("      - {gpu_hour: -1}\n"), "line 6: cards.0.prices.1.gpu_hour: Input should be greater than"),
        (
            price("      - gpu_hour: 1\n        when: {qoss: x}\n"),
            "line 7: cards.0.prices.1.when.qoss: unknown key; did you mean qos?",
        ),
        (price("      - {when: {qos: x}}\n"), "line 6: cards.0.prices.1: a price needs gpu_hour"),
        (price("      - {gpu_hour: 3}\n"), "line 6: cards.0.prices.1 both apply to the same usages at one time"),
        (
            price("      - {gpu_hour: 3, when: {qos: [a, b]}}\n      - {gpu_hour: 4, when: {qos: [b, c]}}\n"),
            "line 7: cards.0.prices.2 both apply to the same usages",
        ),
        (price("      - {gpu_hour: 3, when: {scheduler: slurm, queue: a}}\n"), "it can never win: there are no"),
        (
            price(
                "      - {gpu_hour: 3, when: {scheduler: slurm}}\n"
                "      - {gpu_hour: 3, when: {scheduler: kubernetes}}\n"
            ),
            "line 5: cards.0.prices.0: it can never win: a more specific one applies to each scheduler",
        ),
        (price("      - {gpu_hour: 3, when: {scheduler: lsf}}\n"), "scheduler 'lsf' is none of slurm, kubernetes"),
        (
            price("      - {gpu_hour: 3, when: {project: visoin}}\n"),
            "there is no project 'visoin' in the settings; did you",
        ),
        (
            price("      - {gpu_hour: 3, when: {cluster: moon}}\n"),
            "there is no cluster 'moon' in the settings; there are",
        ),
        (price(head="    valid_from: 2026-02-01\n    valid_to: 2026-01-01\n"), "line 2: cards.0: valid_from"),
        (
            price("      - {gpu_hour: 3, when: {qos: a}, valid_to: 2027-01-01}\n", "    valid_to: 2026-12-01\n"),
            "line 7: cards.0.prices.1: it is valid outside of the time of its card",
        ),
        (price().replace("EUR", "EUX"), "line 3: cards.0.currency: rates.currency: 'EUX' is no ISO 4217 code"),
        (price("    factors:\n      - {factor: 2}\n"), "cards.0.factors.0.name: is required"),
        ("prices: []\n", "prices: unknown key; known here: allocations, cards"),
        ("cards: [\n", "not valid YAML: line"),
        ("[]\n", "must be a mapping with the key cards"),
        (price(head="    valid_from: 2026-10-02\n"), "no card is valid in all of 2026-10"),
        (
            price(head="    valid_to: 2026-10-20\n")
            + price(head="    valid_from: 2026-10-20\n").replace("cards:\n", "").replace("EUR", "USD"),
            "the currency changes from EUR to USD within 2026-10: it can only change between months",
        ),
        (
            price(head="    valid_to: 2026-10-20\n")
            + price(head="    valid_from: 2026-10-19\n").replace("cards:\n", ""),
            "overlap: one card is valid at a time",
        ),
        (
            price(head="    valid_to: 2026-10-19\n")
            + price(head="    valid_from: 2026-10-20\n").replace("cards:\n", ""),
            "there is time without a card",
        ),
    ],
)
def test_a_card_that_makes_no_sense_is_refused_with_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    carded(tmp_path, text)
    rates = f"{{cards: {tmp_path / 'rates'}}}"
    config = parse(SETTINGS.format(url="sqlite:///x", price=1).partition("rates:")[0] + f"rates: {rates}")
    october = period_named("2026-10")

    with pytest.raises(RatingError) as refused:
        rate_cards(config, UTC).of(october.name, october.start, october.end)
    assert message in str(refused.value)
    assert "rates/2026.yaml" in str(refused.value)


def test_what_a_failed_node_cost_is_given_back(site: Dated) -> None:
    """Two cards for an hour x 2.10... x 0, beside run 1, which pays as before."""
    refund = "      - {name: refund, factor: 0, when: {state: [NODE_FAIL, BOOT_FAIL]}}\n"
    carded(site.folder, CARD + refund)
    record = ended(2, T0 + 10 * HOUR, T0 + 11 * HOUR, cards=2)
    told(site.engine, in_qos("premium"), replace(record, job=replace(record.job, state="NODE_FAIL")))
    site.run("reconcile", "--period", "2026-10")
    site.run("close", "2026-10")

    expected = [("01:00:00", "10.000000", "3.2400", "32.40"), ("10:00:00", "2.000000", "0.0000", "0.00")]
    assert expected == charged(site)
    assert "every invariant holds\n" == site.run("check")


UNITS = """
cards:
  - name: units
    currency: USD
    su_price: 0.014
    prices:
      - {name: a GPU, su: 10}
    factors:
      - {name: qos, factor: 1.5, when: {qos: premium}}
"""


def test_service_units_stand_beside_the_money_that_they_cost(site: Dated) -> None:
    """10 GPU-hours x 10 SU x 1.5 = 150 SU at 0.014 = 2.10 USD; pods 6 x 10 = 60 SU, 0.84 USD."""
    carded(site.folder, UNITS)
    site.run("reconcile", "--period", "2026-10")
    rows = [r for r in site.lines("2026-10") if r["disposition"] == "charged"]
    found = {r["scheduler"]: (r["service_units"], r["unit_price"], r["amount"], r["price_rule"]) for r in rows}
    summary = [*csv.DictReader(site.month("2026-10")[1].decode().splitlines())]
    site.run("close", "2026-10")
    before = site.month("2026-10")
    carded(site.folder, CARD)

    assert ("150.000000", "0.2100", "2.10", "a GPU x qos 1.5") == found["slurm"]
    assert ("60.000000", "0.140", "0.84", "a GPU") == found["kubernetes"]
    assert ("capacity", "210.000000", "2.94") == tuple(
        summary[-1][n] for n in ("disposition", "service_units", "amount")
    )
    assert {"150.000000", "60.000000", ""} == {row["service_units"] for row in summary[:-1]}
    assert before == site.month("2026-10")
    assert "every invariant holds\n" == site.run("check")


def test_a_folder_without_cards_is_an_error(site: Dated) -> None:
    (site.folder / "rates" / "2026.yaml").unlink()

    assert "there is no rate card in this folder" in site.run("reconcile", "--period", "2026-10", code=2)


def test_cards_of_several_files_are_one_after_the_other(site: Dated) -> None:
    """Until 02:00 6 x 1, then 4 x 3."""
    a, b = "2026-10-01T00:00:00Z", "2026-10-01T02:00:00Z"
    carded(site.folder, price(head=f"    valid_from: {b}\n").replace("gpu_hour: 2", "gpu_hour: 3"), "2026.yaml")
    carded(site.folder, price(head=f"    valid_from: {a}\n    valid_to: {b}\n").replace("hour: 2", "hour: 1"), "z.yaml")
    site.run("reconcile", "--period", "2026-10")

    assert [("01:00:00", "6.000000", "1.00", "6.00"), ("02:00:00", "4.000000", "3.00", "12.00")] == charged(site)
