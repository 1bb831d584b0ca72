"""CONTRIBUTING.md says what is there, and each of its recipes is followed by a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contributing.tree import MADE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
HERE = Path(__file__).parent


def recipes() -> list[str]:
    """The headings of the recipes."""
    return re.findall(r"^## (Add .*)$", TEXT, re.MULTILINE)


def paths() -> list[str]:
    """Every path that the page names and that has no part to be filled in, but for what is made here."""
    tops = "|".join(sorted(re.escape(path.name) for path in ROOT.iterdir() if path.name not in MADE))
    named = re.findall(rf"`((?:{tops})(?:/[\w./-]*)?)`", TEXT)
    return sorted({name for name in named if "/" in name or "." in name})


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_is_followed_by_a_test(recipe: str) -> None:
    name = f"def test_{recipe.lower().replace(' ', '_')}("

    assert [] != [file.name for file in HERE.glob("test_*.py") if name in file.read_text()], name


@pytest.mark.parametrize("path", paths())
def test_a_path_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_steps_of_a_recipe_are_numbered_in_order() -> None:
    for recipe in recipes():
        steps = re.findall(r"^(\d+)\. ", TEXT.split(f"## {recipe}\n", 1)[1].split("\n## ", 1)[0], re.MULTILINE)

        assert [str(n + 1) for n in range(len(steps))] == steps, recipe
