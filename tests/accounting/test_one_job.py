"""What a job used, as its owner asks: hours and money are its statement's, and what nobody measured is unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.statements.one_job.advice import ENOUGH, LITTLE, advice
from accounting.store.database import write
from accounting.store.tables import jobs
from exporters.recorder import Round, Telemetry
from tests.accounting.october import HOUR, NOVEMBER, SETTLED, Site, october, run_1, seen, told
from tests.accounting.site import DAY, T0, ended, run, slurm_job

FACTS: dict[str, Any] = {
    "cards": "8",
    "state": "COMPLETED",
    "wait_seconds": 10,
    "run_seconds": 7200,
    "waste": {"orphaned": {"gpu_hours": None, "amount": None, "currency": "EUR"}},
}


def node(busy: str | None, cards: str = "4", coverage: str | None = "1.0000", tensor: str | None = None) -> Any:
    return {"node": "gn01", "cards": cards, "busy": busy, "coverage": coverage, "tensor": tensor}


def measured(machine: str, busy: float, start: int = T0 + HOUR, cards: int = 4, hours: int = 2) -> Telemetry:
    seconds = float(cards * hours * HOUR)
    return Telemetry(
        run(7), run(7).id, machine, start, start + hours * HOUR, seconds, seconds * busy, seconds * busy / 2,
        seconds * 500, 4e9 * busy, 2e9 * busy, int(seconds), int(seconds),
    )  # fmt: skip


def two_nodes(engine: Engine, folder: Path) -> Site:
    """Run 7 held four cards on each of two nodes for two hours; those of the second were never busy."""
    from tests.accounting.readings import live
    from tests.accounting.site import gn
    from tests.accounting.site import node as at

    live(engine, T0, nodes=[at(gn(1)), at(gn(2))], gap=90 * DAY)
    live(engine, SETTLED, nodes=[at(gn(1)), at(gn(2))], gap=90 * DAY)
    told(engine, ended(7, T0 + HOUR, T0 + 3 * HOUR, nodes=(1, 2), cards=4))
    recorder = LedgerRecorder(engine)
    recorder.record(Round(SETTLED + 60, (), (), (measured("gn01", 0.75), measured("gn02", 0.0))))
    recorder.close()
    site = Site(engine, folder)
    site.run("reconcile", "--period", "2026-10")
    return site


def job(site: Site, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(site.run("job", name, "--json"))
    return found


def test_a_job_is_told_with_its_cards_its_wait_and_what_to_do(engine: Engine, tmp_path: Path) -> None:
    site = two_nodes(engine, tmp_path)
    facts = job(site, "7")

    assert ("8", 3600, 7200) == (facts["cards"], facts["wait_seconds"], facts["run_seconds"])
    assert [("gn01", "0.7500", "500"), ("gn02", "0.0000", "500")] == [
        (one["node"], one["busy"], one["power_watts"]) for one in facts["nodes"]
    ]
    assert ["4 of 8 cards were never used: ask for 4"] == facts["advice"]
    assert {"gpu_hours": "10.000000", "amount": "21.00", "currency": "EUR"} == facts["waste"]["idle"]
    assert "4 of 8 cards were never used: ask for 4" in site.run("job", "7")
    assert 1 == len(site.run("job-mail", "7").splitlines())


def test_hours_and_money_of_a_job_are_those_of_its_lines(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    facts = job(site, "1")
    lines = [line for line in site.lines("2026-10") if line["job_id"] == run(1).id]
    cells = facts["lines"][0].keys()

    assert [{name: line[name] for name in cells} for line in lines] == facts["lines"]
    assert {"EUR": str(sum(Decimal(line["amount"]) for line in lines))} == facts["amounts"]
    assert sum(Decimal(line["charged_gpu_hours"]) for line in lines) == Decimal(facts["charged_gpu_hours"])


def test_a_correction_is_among_the_lines_of_its_job(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    site.run("close", "2026-10")
    told(engine, run_1(note="later", end=T0 + 2 * HOUR))
    site.now = NOVEMBER + 3 * DAY
    site.run("reconcile")
    lines = [one for m in ("2026-10", "2026-11") for one in site.lines(m) if one["job_id"] == run(1).id]

    assert [line["line_id"] for line in lines] == [line["line_id"] for line in job(site, "1")["lines"]]
    assert {"2026-10", "2026-11"} == {line["billing_period"] for line in lines}


def test_what_nobody_measured_is_unknown_and_not_zero(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    (one,) = job(site, "1")["nodes"]

    assert {None} == {one[name] for name in ("busy", "tensor", "power_watts", "energy_kwh", "nvlink_sent_gb")}
    assert {"gpu_hours": None, "amount": None, "currency": "EUR"} == job(site, "1")["waste"]["idle"]
    assert "lost to cards that did nothing: unknown" in site.run("job", "1")


def test_a_pod_names_the_job_that_it_belongs_to(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)

    assert "kubernetes/kube/uid-a" == job(site, "vision/a")["job"]
    assert "kubernetes/kube/uid-a" == job(site, "vision/Job/a")["job"]


def test_several_runs_of_one_number_are_named_not_guessed(engine: Engine, tmp_path: Path) -> None:
    seen(engine)
    task = ended(2, T0 + HOUR, T0 + 2 * HOUR)
    last = ended(12, T0 + HOUR, T0 + 2 * HOUR)
    array = [
        replace(task, job=replace(task.job, display_id="12_0")),
        replace(last, job=replace(last.job, display_id="12_1")),
    ]
    told(engine, *array)
    site = Site(engine, tmp_path)
    error = site.run("job", "12", code=2)

    assert f"slurm/lab/{run(2).id} (12_0, COMPLETED)" in error
    assert f"slurm/lab/{run(12).id} (12_1, COMPLETED)" in error
    assert f"slurm/lab/{run(12).id}" == job(site, "12_1")["job"]
    assert f"slurm/lab/{run(2).id}" == job(site, f"slurm/lab/{run(2).id}")["job"]
    assert f"slurm/lab/{run(2).id}" == job(site, run(2).id)["job"]


def test_a_job_that_nobody_knows_is_wrong_usage(engine: Engine, tmp_path: Path) -> None:
    assert "no job '99' in the ledger" in october(engine, tmp_path).run("job", "99", code=2)


def test_a_job_that_waits_or_runs_says_so(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    with write(engine) as connection:
        connection.execute(update(jobs).where(jobs.c.run == run(1).id).values(end_at=None, state="RUNNING"))

    assert SETTLED - (T0 + HOUR) == job(site, "1")["run_seconds"]
    assert "still running" in site.run("job", "1")


@pytest.mark.parametrize(
    ("nodes", "told_"),
    [
        ([node("0.0000"), node("0.9000")], ["4 of 8 cards were never used: ask for 4"]),
        ([node("0.0000", "8")], ["none of its 8 cards was ever busy"]),
        ([node("0.0000", "8", f"{ENOUGH - Decimal('0.0001')}")], ["1 of 1 nodes were measured too little"]),
        ([node("0.0000", "8", None)], ["1 of 1 nodes were measured too little"]),
        ([node(None, "8", None)], ["nothing was measured of its cards"]),
        ([node(f"{LITTLE}", "8")], []),
        ([node("0.2999", "8")], ["the cards of gn01 were busy 30 % of the time"]),
        ([node("0.9000", "8", tensor="0.0100")], ["the tensor cores of gn01 were active 1 % of the time"]),
        ([node("0.9000", "8", tensor=None)], []),
    ],
)  # fmt: skip
def test_advice_rests_on_what_was_measured(nodes: list[Any], told_: list[str]) -> None:
    found = advice({**FACTS, "nodes": nodes})

    assert len(told_) == len(found)
    assert all(sentence.startswith(begins) for sentence, begins in zip(found, told_, strict=True))


def test_a_job_name_cannot_move_the_cursor(engine: Engine, tmp_path: Path) -> None:
    seen(engine)
    one = run_1()
    told(engine, replace(one, job=replace(slurm_job(1, T0 + HOUR, T0 + 2 * HOUR), name="\x1b[2J", state="COMPLETED")))

    assert "\\x1b[2J" in Site(engine, tmp_path).run("job", "1")


def test_the_example_of_the_docs_is_what_is_printed(
    engine: Engine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page = Path(__file__).parents[2] / "docs/jobs.md"
    before, _, rest = page.read_text().partition("<!-- example -->\n")
    _, _, after = rest.partition("<!-- end -->\n")
    printed = two_nodes(engine, tmp_path).run("job", "7")
    whole = f"{before}<!-- example -->\n```text\n{printed}```\n<!-- end -->\n{after}"
    if request.config.getoption("--update-golden"):
        page.write_text(whole)

    assert whole == page.read_text()
