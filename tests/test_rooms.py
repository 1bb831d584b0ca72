"""The house is laid out as the READMEs of its two floors say."""

from __future__ import annotations

import importlib
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("exporters", "accounting")
CODE = (*FLOORS, "alerts", "dashboards", "demo")
LONGEST = 350
"""Lines of a file."""

LARGEST = 15
"""Modules of a folder: more than that nobody finds his way in."""

ONE_THING = {
    "slurm": "Slurm",
    "kubernetes": "Kubernetes",
    "devices": "endpoints of cards",
    "fabric": "RDMA ports",
}
"""Names that several rooms have, since each of them is about that one thing: its settings, its sources, its scripts."""


def folders(floor: str) -> list[Path]:
    """The floor and every room of it that holds modules; steps of migrations have names of their own."""
    found = {path.parent for path in (ROOT / floor).rglob("*.py")}
    return sorted(path for path in found if path.name != "versions")


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def table(floor: str, heading: str) -> list[str]:
    """The names in the first column of a table of the floor's README, in its order."""
    section = (ROOT / floor / "README.md").read_text().split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("floor", FLOORS)
def test_every_room_is_in_the_readme_of_its_floor(floor: str) -> None:
    rooms = {f"{path.relative_to(ROOT / floor)}/" for path in folders(floor)} - {"./"}

    assert rooms == set(table(floor, "In the order of the data"))


@pytest.mark.parametrize("floor", FLOORS)
def test_what_stands_at_the_top_of_a_floor_says_why(floor: str) -> None:
    assert {path.name for path in modules(ROOT / floor)} == set(table(floor, "At the top"))


@pytest.mark.parametrize("floor", FLOORS)
def test_no_room_is_too_full(floor: str) -> None:
    assert {} == {str(f): len(modules(f)) for f in folders(floor) if len(modules(f)) > LARGEST}


@pytest.mark.parametrize("floor", FLOORS)
def test_a_name_is_one_thing(floor: str) -> None:
    """A verb of the command line may be named as what it is about."""
    places = defaultdict(list)
    for folder in folders(floor):
        if folder.name != "commands":
            places[folder.name].append(str(folder))
            for path in modules(folder):
                places[path.stem].append(str(path))

    assert {} == {name: some for name, some in places.items() if len(some) > 1 and name not in ONE_THING}


def leads_somewhere(name: str) -> bool:
    """Whether a dotted name is a module, or something in one; the fields of a class count, too."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[count:]:
            if attribute in (*getattr(found, "__annotations__", ()), *getattr(found, "__slots__", ())):
                return True
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize("where", ["*.py", "accounting", "exporters", "alerts", "demo", "docs", "tests", "*.md"])
def test_names_and_paths_in_docstrings_and_pages_lead_somewhere(where: str) -> None:
    """Between backticks, as `exporters.model.Claim` or `exporters/model.py`; a page of old decisions is a page, too."""
    found = [ROOT.glob(where)] if "*" in where else [(ROOT / where).rglob(kind) for kind in ("*.py", "*.md")]
    pages = {path: path.read_text() for paths in found for path in paths if path.name != "CHANGELOG.md"}
    floors = "|".join(FLOORS)
    dotted = {(p, n) for p, text in pages.items() for n in re.findall(rf"`((?:{floors})(?:\.\w+)+)`", text)}
    paths = {(p, n) for p, text in pages.items() for n in re.findall(rf"`((?:{floors})/[\w/.]+)`", text)}

    assert set() == {(str(p), n) for p, n in dotted if not leads_somewhere(n)}
    assert set() == {(str(p), n) for p, n in paths if not (ROOT / n).exists()}


def test_no_file_is_too_long() -> None:
    """Not those of tests: a table of cases is as long as it is."""
    code = [ROOT / "meterbridge.py", *(path for name in CODE for path in (ROOT / name).rglob("*.py"))]
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in code}

    assert {} == {name: count for name, count in lines.items() if count > LONGEST}
