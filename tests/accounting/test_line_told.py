"""`meterbridge explain`: what a person reads of a line, and the same as data."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine

from accounting.site import line_questions
from accounting.store.calendar import Period
from tests.accounting.october import SETTLED, Site, october, run_1, told


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Site:
    return october(engine, tmp_path)


def line_of(site: Site, **like: str) -> dict[str, str]:
    (found,) = (row for row in site.lines("2026-10") if like.items() <= row.items())
    return found


def test_hours_price_amount_and_the_sum_per_node_come_before_any_evidence(site: Site) -> None:
    line = line_of(site, job_name="train-1", disposition="charged")
    told = site.run("explain", line["line_id"]).splitlines()

    assert f"{line['line_id']} of 2026-10" == told[0]
    assert f"  used between {line['start']} and {line['end']}" in told
    assert any(row.startswith(f"  charged {line['charged_gpu_hours']} GPU-hours = ") for row in told)
    assert any(row.startswith("  price 2.10 EUR per GPU-hour: rates.gpu_hour.h100 (gpu_model h100)") for row in told)
    assert any(row.endswith(f"rounded once, half to even: {line['amount']} EUR") for row in told)
    assert ["  node  GPU-hours  from                  to", f"  gn01  {line['charged_gpu_hours']:>9}  "] == [
        row[:45] if "GPU-hours  from" in row else row[:19] for row in told if row.startswith(("  node ", "  gn01"))
    ]
    assert f"  sum   {line['charged_gpu_hours']:>9}" in told
    assert not any("record of" in row for row in told)
    assert "record of sacct" in site.run("explain", line["line_id"], "--evidence")


def test_as_data_every_line_has_the_figures_of_the_csv_and_nodes_that_sum_to_it(site: Site) -> None:
    for line in site.lines("2026-10"):
        told = json.loads(site.run("explain", line["line_id"], "--json"))

        assert (line["amount"], line["disposition"]) == (told["amount"], told["disposition"])
        assert (line["project"], line["gpu_model"]) == (told["project"], told["gpu_model"])
        assert Decimal(told["gpu_hours"]) == sum(Decimal(node["gpu_hours"]) for node in told["nodes"])
        assert (line["charged_gpu_hours"] if line["disposition"] == "charged" else line["gpu_hours"]) == told[
            "gpu_hours"
        ]
        assert "evidence" not in told


def test_a_line_in_dispute_names_the_other_party_and_no_link(site: Site) -> None:
    line = line_of(site, disposition="disputed")
    told = site.run("explain", line["line_id"])

    assert "linked to" not in told
    assert f"  in dispute with {line['linked_record']}: meterbridge disputes 2026-10 names both parties" in told
    assert f"  {line['gpu_hours']} GPU-hours\n" in told


def test_the_beginning_of_an_id_is_enough(site: Site) -> None:
    ids = sorted(row["line_id"] for row in site.lines("2026-10"))
    whole = site.run("explain", ids[0])
    only = next(n for n in range(2, 22) if not ids[1].startswith(ids[0][:n]))

    assert whole == site.run("explain", ids[0][:only]) == site.run("explain", ids[0][1:only].upper())


def test_lines_of_two_months_that_begin_alike_are_both_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole id is one of the latest month that has it; the beginning of one is looked for in all."""
    site.run("close", "2026-10")
    told(site.engine, run_1(5, "late"), now=SETTLED + 1)
    site.run("reconcile")
    (line,) = (row["line_id"] for row in site.lines("2026-11") if row["job_name"] == "train-1")

    def alike(_engine: object, period: Period, beginning: str, _cards: object) -> list[SimpleNamespace]:
        return [SimpleNamespace(line_id=f"{beginning}{period.name}")]

    whole = site.run("explain", line)
    monkeypatch.setattr(line_questions, "lines_named", alike)
    refused = site.run("explain", line[:5], code=2)

    assert f"{line} of 2026-11, a correction of 2026-10" in whole
    assert f"{line[:5]}2026-11 of 2026-11 and {line[:5]}2026-10 of 2026-10; give more of it" in refused


def test_what_is_no_id_is_wrong_usage(site: Site) -> None:
    for odd in ("L", "zebra", "L12345678901234567890a"):
        assert f"'{odd}' is no line: one is written L and 20 digits" in site.run("explain", odd, code=2)
