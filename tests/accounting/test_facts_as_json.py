"""Verbs that list facts print them as JSON, too."""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy import Engine

from tests.accounting.october import october


def test_months_and_rejects_are_told_as_json(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    (month,) = [one for one in json.loads(site.run("periods", "--json")) if one["month"] == "2026-10"]

    assert {"month", "state", "capacity", "charged", "amount", "currency", "seal"} == month.keys()
    assert sum(float(line["amount"]) for line in site.lines("2026-10")) == float(month["amount"])
    assert [] == json.loads(site.run("rejects", "--json"))
