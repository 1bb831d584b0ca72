"""docs/wrong-answers.md names tests: each is there, and every case of a card counted twice is on the page."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "wrong-answers.md").read_text()


def defined(*paths: Path) -> list[str]:
    return [name for path in paths for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)]


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(test_\w+)` \|$", PAGE, re.MULTILINE)

    assert [] == [name for name in named if name not in defined(*TESTS.rglob("test_*.py"))]
    assert len(named) == len([x for x in PAGE.splitlines() if x.startswith("| ")]) - 4  # the tables' heads


def test_every_case_of_a_card_counted_twice_is_on_the_page() -> None:
    cases = defined(TESTS / "accounting" / "test_counted_once.py")

    assert [] == [name for name in cases if f"`{name}`" not in PAGE]
