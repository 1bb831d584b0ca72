"""Usage by whatever is asked: sums of the statement's own lines, of which none is left out and none counted twice."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pytest
from sqlalchemy import Engine

from accounting.statements.grouped import BY
from tests.accounting.october import HOUR, october, run_1, told
from tests.accounting.site import T0, ended


def test_whatever_it_is_asked_by_it_sums_to_the_statement(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    lines = [line for line in site.lines("2026-10") if line["disposition"] == "charged"]
    for by in [c for n in (1, 2) for c in combinations(BY, n)]:
        expected: dict[tuple[str, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
        for line in lines:
            sums = expected[tuple(line[BY[name]] for name in by)]
            sums[0] += Decimal(line["charged_gpu_hours"])
            sums[1] += Decimal(line["amount"] or 0)
        rows = json.loads(site.run("usage", "2026-10", "--by", ",".join(by), "--json"))

        assert dict(expected) == {
            tuple(row[name] for name in by): [Decimal(row["charged_gpu_hours"]), Decimal(row["amount"])] for row in rows
        }


def test_the_largest_comes_first_and_of_one_project_only_its_own(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    told(site.engine, run_1(2), *(ended(n, T0 + n * HOUR, T0 + (n + n - 5) * HOUR, cards=1) for n in (6, 7)))
    site.run("reconcile")
    rows = json.loads(site.run("usage", "2026-10", "--by", "user,scheduler", "--json"))
    hours = [Decimal(row["charged_gpu_hours"]) for row in rows]
    own = json.loads(site.run("usage", "2026-10", "--project", "vision", "--by", "month,user", "--json"))

    assert len(hours) > 1, rows
    assert sorted(hours, reverse=True) == hours
    charged = [
        line for line in site.lines("2026-10") if (line["project"], line["disposition"]) == ("vision", "charged")
    ]
    assert sum(Decimal(line["charged_gpu_hours"]) for line in charged) == sum(
        Decimal(row["charged_gpu_hours"]) for row in own
    )
    assert {"2026-10"} == {row["month"] for row in own}
    assert site.run("usage").startswith("project")  # the latest month


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("2026-10", "--by", "moon"), 2, "'moon' is not one of month, project, user"),
        (("2026-13",), 2, "2026-13"),
        (("2031-01",), 3, "no records of 2031-01 are booked"),
    ],
)
def test_what_cannot_be_answered_is_said(
    engine: Engine, tmp_path: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    assert says in october(engine, tmp_path).run("usage", *words, code=code)
