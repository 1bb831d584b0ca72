"""The metric table as a contract: names, labels, units and the page of documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.series import TABLE, SeriesRow, markdown

FORBIDDEN = {"job", "instance", "pod", "namespace", "container", "endpoint", "service"}


@pytest.mark.parametrize("row", TABLE, ids=lambda r: r.name)
def test_a_family_is_named_as_prometheus_names_things(row: SeriesRow) -> None:
    name = row.name.removesuffix("_total").removesuffix("_expected")

    assert row.name.startswith("meterbridge_")
    assert (row.type == "counter") == row.name.endswith("_total")
    assert not FORBIDDEN & set(row.labels)
    assert row.help.endswith(".")
    if row.unit:
        assert name.endswith("_" + row.unit)


def test_no_two_families_share_a_name() -> None:
    names = [r.name for r in TABLE]

    assert sorted(set(names)) == sorted(names)


def test_the_page_of_documentation_is_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"

    assert markdown() == page.read_text(), "run make docs"
