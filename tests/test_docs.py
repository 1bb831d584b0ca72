"""What is public is documented, and what is documented is there."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry

from accounting.service.app import create_service
from accounting.service.auth import load_tokens
from accounting.statements.chargeback import COLUMNS
from accounting.statements.summary import SUMMARY_COLUMNS
from exporters import config
from tests import reference

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGES = ("exporters", "accounting", "alerts", "demo")
MODULES = sorted([ROOT / "meterbridge.py", *(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))])
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def words_in_code(page: str) -> set[str]:
    """Everything between backticks on a page."""
    return set(re.findall(r"`([^`\n]+)`", (DOCS / page).read_text()))


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def table_rows(page: str, heading: str) -> list[str]:
    """The first cells of the first table under a heading, each with its words taken apart."""
    section = (DOCS / page).read_text().split(f"\n## {heading}", 1)[1].split("\n#", 1)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("page", reference.PAGES)
def test_a_page_made_from_the_code_is_what_the_code_makes(page: str) -> None:
    assert reference.PAGES[page]() == (DOCS / page).read_text(), "run make docs"


@pytest.mark.parametrize("name", reference.commands())
def test_every_command_and_option_says_what_it_does(name: str) -> None:
    command = reference.commands()[name]

    assert command.help
    assert [] == [p.name for p in command.params if p.param_type_name == "option" and not p.help]  # type: ignore[attr-defined]


def keys(section: type[config.Section], prefix: str = "") -> Iterator[str]:
    """Every key of the settings, with dots; a section's own name is a heading, not a key."""
    for name, field in section.model_fields.items():
        sections = [*_sections(field.annotation)]
        if sections:
            yield from keys(sections[0], f"{prefix}{name}.")
        if not sections or any("dict" in str(part) for part in get_args(field.annotation)):  # one or the other
            yield f"{prefix}{name}"


def _sections(kind: object) -> Iterator[type[config.Section]]:
    """The sections that a type is made of."""
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias) and issubclass(kind, config.Section):
        yield kind
    for inner in get_args(kind):
        yield from _sections(inner)


def test_every_setting_is_documented() -> None:
    assert set() == set(keys(config.Config)) - words_in_code("configure.md")


def test_every_documented_setting_is_there() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \|", (DOCS / "configure.md").read_text(), re.MULTILINE)

    assert set() == set(rows) - set(keys(config.Config))
    assert sorted(set(rows)) == sorted(rows)


def test_the_example_of_the_settings_is_one() -> None:
    example, *parts = blocks("configure.md", "yaml")

    site = config.parse(example)
    assert [] == [part for part in parts if not config.parse(part).model_fields_set]
    assert ["vision", "nlp"] == [p.project for p in site.projects]


def test_the_example_of_the_token_file_is_one(tmp_path: Path) -> None:
    (example,) = blocks("api.md", "yaml")
    path = tmp_path / "tokens.yaml"
    path.write_text(example)

    assert load_tokens(path).who("test") is not None  # what its first hash is of


def test_every_path_of_the_api_is_documented() -> None:
    app = create_service(None, None, registry=CollectorRegistry())  # type: ignore[arg-type]
    served = {
        f"GET {path.replace('{period}', '2026-10').replace('{project}', 'vision')}" for path in app.openapi()["paths"]
    }

    assert served == {word for word in words_in_code("api.md") if word.startswith("GET ")}


def test_every_column_is_documented_in_its_order() -> None:
    assert list(COLUMNS) == table_rows("statements.md", "The lines")
    assert list(SUMMARY_COLUMNS) == table_rows("statements.md", "The summary")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_public_says_what_it_is(path: Path) -> None:
    if "versions" in path.parts and "migrations" in path.parts:
        return  # a migration's name says it
    tree = ast.parse(path.read_text())
    public = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node in tree.body
        if not node.name.startswith("_")
    ]

    assert ast.get_docstring(tree)
    assert [] == [node.name for node in public if not ast.get_docstring(node)]


def with_examples() -> list[str]:
    """The modules that hold examples, by import name."""
    found = [path for path in MODULES if ">>> " in path.read_text()]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found]


@pytest.mark.parametrize("name", with_examples())
def test_examples_in_docstrings_are_true(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))

    assert tried
    assert not failed


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
    local = [t for t in targets if not t.startswith(("http://", "https://"))]

    assert [] == [t for t in local if not (page.parent / t).exists()]


def test_every_page_can_be_reached_from_the_first_one() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
        waiting += [(page.parent / t).resolve() for t in targets if not t.startswith("http")]

    assert [] == [str(p.relative_to(ROOT)) for p in PAGES if p not in reached]


def test_every_make_target_that_a_page_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {t for page in PAGES for t in re.findall(r"(?:`|^ *|=\S+ )make ([a-z-]+)", page.read_text(), re.MULTILINE)}

    assert {"demo", "test", "test-fast", "lint", "docs", "bench", "lock"} <= named
    assert set() == named - targets


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^\| ([^|]+) \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)[1:]

    assert sorted(words, key=lambda w: w.lower().replace("_", "")) == words


def test_every_fault_of_the_reliability_page_is_held_by_a_test_that_there_is() -> None:
    named = re.findall(r"`(test_[a-z0-9_]+)` \|$", (DOCS / "reliability.md").read_text(), re.MULTILINE)
    there = {
        name for path in Path("tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    rows = [line for line in (DOCS / "reliability.md").read_text().splitlines() if line.startswith("| ")]
    faults = [line for line in rows if not line.startswith("| fault")]

    assert set() == set(named) - there
    assert len(faults) == len(named) > 30


def test_every_series_that_takes_the_place_of_another_is_served() -> None:
    named = set(re.findall(r"meterbridge_[a-z_]+", (DOCS / "migrate.md").read_text()))
    served = set(re.findall(r"^\| `(meterbridge_[a-z_]+)`", (DOCS / "metrics.md").read_text(), re.MULTILINE))

    assert set() == named - served
    assert len(named) > 8
