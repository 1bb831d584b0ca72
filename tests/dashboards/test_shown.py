"""What people read on a board: numbers as Grafana's own formatting writes them, with the units that the boards set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import pytest

from dashboards.push import boards
from tests.lab.grafana import panels
from tests.lab.grafana_data import Asked, texts
from tests.lab.servers import require

pytestmark = pytest.mark.server("grafana")

LARGE = (8000.0, 72969.8, 175432.0, 1234567.0)
"""Cards of a fleet, hours of a month, money of a month."""


@pytest.fixture(autouse=True)
def _grafana() -> None:
    require("grafana")


def shown() -> Iterator[tuple[str, str, str, float | None]]:
    """Where a number stands (board and panel or column), its query, its unit and its decimals."""
    for name, board in boards().items():
        for panel in panels(board):
            defaults = panel["fieldConfig"]["defaults"]
            where = f"{name}: {panel['title']}"
            if panel["type"] != "table":
                exprs = " ".join(target["expr"] for target in panel["targets"])
                yield where, exprs, defaults["unit"], defaults.get("decimals")
                continue
            by_ref = {target["refId"]: target["expr"] for target in panel["targets"]}
            for override in panel["fieldConfig"]["overrides"]:
                column = override["matcher"]["options"]
                if not column.startswith("Value"):
                    continue
                own = {p["id"]: p["value"] for p in override["properties"]}
                expr = by_ref[column[-1] if column.endswith(tuple(by_ref)) else "A"]
                title = f"{where}, {own.get('displayName', column)}"
                yield title, expr, own.get("unit", defaults["unit"]), own.get("decimals")


WHOLE = [
    row
    for row in shown()
    if re.search(r"/ 3600|_charge\b|_gpus\b", row[1]) and not re.search("percent|dtduration", row[2])
]


def test_hours_money_and_cards_are_not_scaled() -> None:
    """72,970 GPU-hours are not 8.33 years, 175,432 EUR not 175 K, 8,000 cards not 8 K."""
    said = texts([(number, unit, decimals) for _, _, unit, decimals in WHOLE for number in LARGE])

    wrong = []
    for (where, *_), part in zip(WHOLE, batched(said, len(LARGE)), strict=True):
        whole = [text.split(".")[0].replace(",", "") for text in part]
        if whole not in ([str(int(n)) for n in LARGE], [str(round(n)) for n in LARGE]):
            wrong.append((where, part))
    assert [] == wrong


def batched(said: Sequence[str], size: int) -> list[Sequence[str]]:
    """Pieces of one length (itertools has it from Python 3.12 on)."""
    return [said[at : at + size] for at in range(0, len(said), size)]


def test_some_numbers_of_each_kind_are_among_them() -> None:
    assert {"chargeback: Amount", "chargeback: Capacity, GPU-hours", "project: GPU-hours in the time shown"} <= {
        row[0] for row in WHOLE
    }


def test_what_every_unit_of_the_boards_looks_like(golden: Callable[[str, str], None]) -> None:
    kinds = sorted({(unit, -1.0 if decimals is None else decimals) for _, _, unit, decimals in shown()})
    numbers = (0.0, 0.0123, 0.5, 59.0, 999.5, 3600.0, 90000.0, 1.5e9)
    asked: list[Asked] = [(n, unit, None if d < 0 else d) for unit, d in kinds for n in numbers]

    said = iter(texts(asked))
    table = [
        f"{unit} {'' if d < 0 else f'{d:g}'}".strip() + ": " + " | ".join(next(said) for _ in numbers)
        for unit, d in kinds
    ]

    golden("shown-units.txt", f"numbers: {' | '.join(f'{n:g}' for n in numbers)}\n" + "\n".join(table) + "\n")
