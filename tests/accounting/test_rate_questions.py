"""What finance asks of prices: `meterbridge rates check`, `diff` and `explain`."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from accounting.statements.chargeback import COLUMNS
from accounting.statements.summary import SUMMARY_COLUMNS
from accounting.store.database import connect
from meterbridge import main
from tests.accounting.october import seen, told
from tests.accounting.test_dated_prices import TWO, Dated
from tests.accounting.test_rate_cards import CARD, carded, in_qos, price
from tests.contributing.outputs import served


@pytest.fixture
def site(empty_sqlite: Path, tmp_path: Path) -> Iterator[Dated]:
    shutil.copy(empty_sqlite, tmp_path / "ledger.db")
    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    seen(engine)
    told(engine, in_qos("premium"))
    carded(tmp_path, CARD)
    found = Dated(engine, tmp_path, rates=f"{{cards: {tmp_path / 'rates'}}}")
    found.run("reconcile", "--period", "2026-10")
    yield found
    engine.dispose()


def ask(site: Dated, *words: str, code: int = 0) -> list[str]:
    """Ask, and the lines of the answer; options stand behind the word below the verb."""
    path = site.folder / "meterbridge.yaml"
    path.write_text(site.text)
    result = CliRunner().invoke(main, ["rates", *words, "--config", str(path)])
    assert code == result.exit_code, result.output
    return result.output.splitlines()


def line_of_run_1(site: Dated) -> dict[str, str]:
    (line,) = (r for r in site.lines("2026-10") if r["disposition"] == "charged" and r["scheduler"] == "slurm")
    return line


def test_check_counts_the_lines_of_each_price_and_names_prices_of_none(site: Dated) -> None:
    *lines, last = ask(site, "check", "2026-10")

    assert ["1 lines: 2026 prices.0 x markup 1.08", "1 lines: 2026 prices.1 x markup 1.08 x qos 2"] == lines[:2]
    assert len(lines) == 3
    assert "note: gives no line of 2026-10 its price: " in lines[2]
    assert lines[2].endswith("line 11: cards.0.factors.1")
    assert "every line of 2026-10 has exactly one price" == last


def test_check_names_everything_without_a_price_and_everything_with_two(site: Dated) -> None:
    two = "      - {gpu_hour: 3, when: {qos: premium}}\n      - {gpu_hour: 4, when: {partition: gpu}}\n"
    pods = "      - {gpu_hour: 3, when: {scheduler: kubernetes, queue: nowhere}}\n"
    carded(site.folder, price(two + pods).replace("      - {gpu_hour: 2}\n", ""))
    *faults, last = ask(site, "check", "2026-10", code=1)

    assert 2 == len(faults)
    assert "cards.0.prices.0" in faults[1] + faults[0]
    assert any("both give a price, with equal right, to" in fault for fault in faults)
    assert any("no price for GPU model 'h100' (job kubernetes/kube/" in fault for fault in faults)
    assert "2 kinds of lines of 2026-10 do not have exactly one price" in last


def test_diff_says_what_another_card_would_have_changed_by_project(site: Dated) -> None:
    """Run 1: 10 h, the pod: 6 h. 32.40 + 13.61 with the card, 16 x 2 without."""
    other = site.folder / "other.yaml"
    other.write_text(price())
    told = ask(site, "diff", "settings", str(other), "--period", "2026-10")
    rows = [line.split() for line in told if "vision" in line or "all together" in line]

    assert [["vision", "46.01", "32.00", "-14.01"], ["all", "together", "46.01", "32.00", "-14.01"]] == rows


def test_cards_of_two_currencies_are_not_compared(site: Dated) -> None:
    other = site.folder / "other.yaml"
    other.write_text(price().replace("EUR", "USD"))

    assert "they cannot be compared" in "".join(
        ask(site, "diff", "settings", str(other), "--period", "2026-10", code=2)
    )


def test_explain_names_price_factors_and_arithmetic(site: Dated) -> None:
    line = line_of_run_1(site)
    told = ask(site, "explain", line["line_id"])

    assert "  charged 10.000000 GPU-hours = 36000000 milliGPU-seconds / 3600000" in told
    (price_told,) = (line for line in told if line.startswith("  price "))
    assert price_told.startswith("  price 1.50 EUR per GPU-hour: 2026 prices.1 (project vision or unmapped, scheduler ")
    assert any(line.startswith("  times 2: qos (qos premium; ") for line in told)
    assert any(line.startswith("  times 1.08: markup (everything else; ") for line in told)
    assert "  amount 36000000 / 3600000 x 3.2400 = 32.4, rounded once, half to even: 32.40 EUR" == told[-1]


def test_explain_of_a_line_of_one_of_two_prices_says_when_it_was_used(site: Dated) -> None:
    site.priced(TWO)
    lines = [r for r in site.lines("2026-10") if r["disposition"] == "charged" and r["scheduler"] == "slurm"]
    told = ask(site, "explain", lines[1]["line_id"], "--period", "2026-10")

    assert "  this price counts from 2026-10-01T02:15:30Z to 2026-11-01T00:00:00Z" in told
    assert f"  used between {lines[1]['start']} and {lines[1]['end']}" in told
    assert "  amount 10680000 / 3600000 x 3.00 = 8.9, rounded once, half to even: 8.90 EUR" == told[-1]


def test_explain_of_what_has_no_price_says_so(site: Dated) -> None:
    (idle,) = (r for r in site.lines("2026-10") if r["disposition"] == "idle")

    assert "  it is idle, and only charged time has a price: 0 EUR" == ask(site, "explain", idle["line_id"])[-1]
    assert "no line L00" in "".join(ask(site, "explain", "L" + "0" * 20, code=2))


EVERYTHING = """
cards:
  - name: until
    currency: EUR
    valid_to: 2026-10-01T02:15:30Z
    su_price: 0.10
    prices:
      - {su: 7, when: {scheduler: slurm}}
      - {su: 5, gpu_hour: 0.333}
    factors:
      - {name: qos, factor: 1.5, when: {qos: premium}}
      - {name: project, factor: 0.9, when: {project: vision, namespace: vision}}
      - {name: markup, factor: 1.19}
    distribute: [{of: [idle, down], how: proportional, gpu_hour: 0.0123, su: 0.5}]
  - name: from then on
    currency: EUR
    valid_from: 2026-10-01T02:15:30Z
    prices:
      - {gpu_hour: 1.01, when: {gpu_model: H100, account: [vision, nlp], scheduler: slurm}}
      - {gpu_hour: 0.57, when: {scheduler: kubernetes, namespace: vision, gpu_model: h100}}
    factors:
      - {name: qos, factor: 1.25, when: {qos: premium}}
      - {name: markup, factor: 1.07}
    distribute: [{of: [idle, down], how: proportional, gpu_hour: 0.0123, su: 0.5}]
"""


def test_every_reader_has_the_amounts_of_a_month_in_which_every_rule_is_used(site: Dated) -> None:
    """Files, API, metrics, `periods`, `rates diff` and what the month is closed with."""
    carded(site.folder, EVERYTHING)
    site.run("reconcile", "--period", "2026-10")
    checked = ask(site, "check", "2026-10")
    lines = site.lines("2026-10")
    amounts = [Decimal(line["amount"]) for line in lines if line["disposition"] == "charged"]
    units = sum(Decimal(line["service_units"] or 0) for line in lines)
    whole = sum(amounts, Decimal())
    answers = served(site)
    summary = [*csv.DictReader(site.month("2026-10")[1].decode().splitlines())]
    (compared,) = (row for row in ask(site, "diff", "settings", "settings", "--period", "2026-10") if "together" in row
                   and "SU" not in row)  # fmt: skip

    assert 5 == len(amounts)
    assert 4 == len([line for line in checked if " lines: " in line])
    assert [] == [line for line in checked if line.startswith("note")]
    assert (str(whole), units) == (summary[-1]["amount"], Decimal(summary[-1]["service_units"]))
    for answer in ("api", "api_csv"):
        assert [{n: line[n] for n in COLUMNS} for line in lines] == [
            {n: row[n] for n in COLUMNS} for row in answers[answer]
        ]
    expected = [{n: row[n] for n in SUMMARY_COLUMNS} for row in summary[:-1]]
    assert expected == [{n: row[n] for n in SUMMARY_COLUMNS} for row in answers["api_summary"]]
    assert {"vision": float(whole)} == {project: float(paid) for project, paid in answers["charge"].items()}
    assert str(whole) in site.run("periods")
    assert 2 == compared.count(str(whole))
    assert f"2026-10 is closed: {whole} EUR\n" == site.run("close", "2026-10")
    asked = ask(site, "check", "2026-10")
    assert "note: 2026-10 is closed and keeps the prices that it was closed with: these were checked" in asked[0]
    asked = ask(site, "diff", "settings", "settings", "--period", "2026-10")
    assert f"note: 2026-10 is closed and stays at {whole} EUR, by the prices that it was closed with" in asked[0]
    assert "every invariant holds\n" == site.run("check")
