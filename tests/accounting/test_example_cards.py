"""Cards after what centres publish, each with a month that was worked with a pencil; docs/rates/ has the cards."""

from __future__ import annotations

import re
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from accounting.rates.card_files import grants, rate_cards
from accounting.rates.rating import Rates
from accounting.store.calendar import period_named
from exporters.config import parse
from tests.accounting.plain_lines import Usage
from tests.accounting.produced import produced
from tests.accounting.usages import charged, slurm

DOCS = Path(__file__).parents[2] / "docs" / "rates"


def rates_of(name: str, month: str = "2026-10") -> Rates:
    """The prices of a card of docs/rates/ in a month."""
    period = period_named(month)
    config = parse(f"rates: {{cards: {DOCS / name}.yaml}}")
    return rate_cards(config, UTC).of(month, period.start, period.end)


def used(number: int, hours: float, **more: object) -> Usage:
    """A job of Slurm that was charged for so many GPU-hours."""
    return charged(slurm(str(number), cluster="anvil"), hours, **more)


A = {"gpu_model": "a100"}
MONTHS: list[tuple[str, list[Usage], list[tuple[str, str]], str, str]] = [
    # four A100 for ten hours are 10 node-hours; premium x 2; one GPU for 3 hours x 0.25; scavenger x 0
    (
        "nersc",
        [
            used(1, 40, **A),
            used(2, 40, **A, qos="premium"),
            used(3, 3, **A),
            used(4, 40, **A, qos="scavenger"),
        ],
        [("10", "0"), ("20", "0"), ("0.75", "0"), ("0", "0")],
        "30.75",
        "0",
    ),
    # a node with four A100 for a day: 24 x 4; one with eight for an hour: 8; an A40 for half an hour: 0.5
    ("ncsa-delta", [used(1, 96, **A), used(2, 8, **A), used(3, 0.5, gpu_model="a40")],
     [("96", "0"), ("8", "0"), ("0.5", "0")], "104.5", "0"),
    # two GPUs for 12 hours: 24; one for half an hour in the debug partition: 0.5
    ("purdue-anvil", [used(1, 24, partition="gpu"), used(2, 0.5, partition="gpu-debug")],
     [("24", "0"), ("0.5", "0")], "24.5", "0"),
    # 100 GPU-hours x 10 units x 0.014 = 14.00; 7 x 10 x 0.014 = 0.98
    ("caltech", [used(1, 100), used(2, 7)], [("1000", "14.00"), ("70", "0.98")], "1070", "14.98"),
    # 10 x 43 x 0.01 = 4.30; 0.5 x 43 x 0.01 = 0.215, half to even: 0.22
    ("drexel", [used(1, 10, partition="gpu"), used(2, 0.5, partition="gpu")],
     [("430", "4.30"), ("21.5", "0.22")], "451.5", "4.52"),
    # 10 x 1.48, 10 x 2.1, 10 x 7.2
    ("kentucky", [used(1, 10, gpu_model="v100"), used(2, 10, **A), used(3, 10, gpu_model="H200")],
     [("14.8", "0"), ("21", "0"), ("72", "0")], "107.8", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "usages", "lines", "units", "amount"), MONTHS, ids=[month[0] for month in MONTHS])
def test_a_published_card_comes_to_what_a_pencil_says(
    name: str, usages: list[Usage], lines: list[tuple[str, str]], units: str, amount: str
) -> None:
    month = produced(usages, rates_of(name))
    runs = month.words(month.lines["job"])["run"].to_list()
    rows = dict(zip(runs, month.lines.select("su", "minor").rows(), strict=True))
    in_order = [rows[str(n)] for n in range(1, len(rows) + 1)]
    found = [(Decimal(su).scaleb(-6), Decimal(minor).scaleb(-2)) for su, minor in in_order]

    assert [(Decimal(su), Decimal(money)) for su, money in lines] == found
    assert (Decimal(units).scaleb(6), Decimal(amount)) == (month.micro_su, month.amount)


def test_gpu_minutes_are_priced_by_the_hour() -> None:
    """IIT Delhi: 90 minutes x 0.50 = 45.00 rupees, in the priority queue 90 x 0.75 = 67.50."""
    month = produced([used(1, 1.5), used(2, 1.5, partition="priority")], rates_of("iit-delhi"))

    assert [4500, 6750] == sorted(month.lines["minor"].to_list())
    assert ["30.00", "45.00"] == sorted(month.lines["unit_price"].cast(pl.String))
    assert (None, "INR") == (month.micro_su, month.currency)


def test_a_tier_is_a_price_from_the_day_on_which_it_was_reached() -> None:
    changes = rates_of("caltech").changes

    assert (period_named("2026-10").start + 14 * 86_400,) == changes
    assert () == rates_of("caltech", "2026-11").changes
    assert {Decimal("0.140"), Decimal("0.08")} == {rule.price for rule in rates_of("caltech", "2026-11").rules}


def test_the_examples_of_the_page_are_cards_and_grants(tmp_path: Path) -> None:
    """The whole ones; a factor without `when` and a list of prices are parts of one."""
    page = (DOCS.parent / "rates.md").read_text()
    found = [
        block
        for block in re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        if not block.startswith(" ")
    ]
    projects = "projects: [{project: vision, accounts: [v]}, {project: llm, accounts: [n]}]\n"
    cards, granted = 0, 0
    for n, block in enumerate(found):
        path = tmp_path / f"{n}.yaml"
        path.write_text(block)
        config = parse(f"{projects}rates: {{cards: {path}}}")
        granted += len(grants(config, UTC))
        cards += len(rate_cards(config, UTC).cards) if "cards:" in block else 0

    assert (4, 3, 2) == (len(found), cards, granted)


def test_every_card_of_the_docs_is_tried_here() -> None:
    """PATh's in `tests/accounting/test_beside_cards.py`."""
    tried = {month[0] for month in MONTHS} | {"iit-delhi", "path"}

    assert tried == {path.stem for path in DOCS.glob("*.yaml")}
