"""What every test may use: golden files with an update switch, and the real servers of the lab."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.lab import servers

# A busy machine is slow, and that is no failure of a property.
# The same examples in every run: whether a change passes says something of that change. `make explore` looks further.
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("meterbridge", BUSY, derandomize=True, database=None)
settings.register_profile("explore", BUSY, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "meterbridge"))

pytest_plugins = ("tests.lab.fixtures",)

TESTDATA = Path(__file__).parent / "testdata"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files instead of comparing with them")


PROPERTY_ON_A_SERVER = 900
"""Seconds that a property may take which asks a server for each of its examples.

On an idle machine it takes 15 of a processor; one with ten times as much to do needs more than the usual five minutes.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        drawn = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        if drawn and item.get_closest_marker("server") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(PROPERTY_ON_A_SERVER))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("server"):
        for name in mark.args:
            servers.require(name)


@pytest.fixture
def testdata() -> Path:
    """The folder of recorded worlds and golden files."""
    return TESTDATA


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)`` compares ``text`` with tests/testdata/golden/<name>; ``--update-golden`` rewrites it."""

    def check(name: str, text: str) -> None:
        path = TESTDATA / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
            return
        assert path.exists(), f"no golden file {name}: run pytest --update-golden, then read what it wrote"

        assert text == path.read_bytes().decode(), f"differs from golden file {name} (--update-golden rewrites it)"

    return check
