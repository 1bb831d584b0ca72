"""The lines of a month as a data frame: those of the CSV, exact, and errors that say how to mend them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from accounting.frames import lines
from exporters.errors import OperatorError
from tests.accounting.october import october


def test_the_lines_are_those_of_the_csv(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    told = site.lines("2026-10")
    found = lines("2026-10", site.folder / "meterbridge.yaml")

    assert [*told[0]] == [*found.columns]
    assert [line["line_id"] for line in told] == found["line_id"].to_list()
    assert [Decimal(line["amount"]) for line in told] == found["amount"].to_list()
    paid = found.groupby("project")["amount"].sum()
    assert sum(Decimal(line["amount"]) for line in told if line["project"] == "vision") == paid["vision"]
    assert "timestamp[us, tz=UTC][pyarrow]" == str(found["start"].dtype)


def test_what_is_not_there_is_an_error_with_a_mend(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)

    with pytest.raises(OperatorError, match="2019-01"):
        lines("2019-01", site.folder / "meterbridge.yaml")
    with pytest.raises(OperatorError, match=r"none\.yaml"):
        lines("2026-10", tmp_path / "none.yaml")
