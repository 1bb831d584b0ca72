"""A copy of the repository for each test of a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contributing.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The repository as it is, to be changed."""
    return Tree(tmp_path)
