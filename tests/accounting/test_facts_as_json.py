"""Verbs that list facts print them as JSON, too, and as plain columns into a pipe."""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy import Engine, update

from accounting.store.database import write
from accounting.store.tables import jobs
from tests.accounting.october import october

ODD = "[red]no markup[/red]\x1b[2J"


def test_months_and_rejects_are_told_as_json(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    (month,) = [one for one in json.loads(site.run("periods", "--json")) if one["month"] == "2026-10"]
    columns = {"month", "state", "capacity_gpu_hours", "charged_gpu_hours", "amount", "currency", "seal"}

    assert columns == month.keys()
    assert sum(float(line["amount"]) for line in site.lines("2026-10")) == float(month["amount"])
    assert [] == json.loads(site.run("rejects", "--json"))


def test_disputes_check_and_settle_are_told_as_json(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    (dispute,) = json.loads(site.run("disputes", "--json"))
    told = site.run("disputes")

    assert f"{dispute['dispute']}  open  {dispute['node']}  {dispute['start']} to {dispute['end']}" in told
    assert f"{dispute['gpu_hours']} GPU-hours" in told
    assert all(party["job"] in told and party["records"] for party in dispute["parties"])
    assert {"breaches": [], "not_proved": ""}.items() <= json.loads(site.run("check", "--json")).items()
    assert [] == [one for one in json.loads(site.run("settle", "2026-10", "--json")) if one["must"]]


def test_a_breach_says_in_either_form_how_it_is_mended(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    with write(engine) as connection:
        connection.execute(update(jobs).values(qos="gold"))
    text = site.run("check", code=1)
    found = json.loads(site.run("check", "--json", code=1).partition("\nError")[0])

    assert "mend: something else than meterbridge changed the ledger: stop exporter and service, take back" in text
    assert "QOS" in text
    assert {"a job is what was told of it", "claims are what the record said"} == {
        breach["invariant"] for breach in found["breaches"]
    }
    assert all("docs/backup.md" in breach["mend"] for breach in found["breaches"])


def test_a_table_into_a_pipe_is_a_line_for_each_row_without_drawn_lines(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)
    head, *rows = site.run("periods").splitlines()

    assert "month    state  capacity GPU-hours  charged GPU-hours  amount  currency  seal" == head
    assert ["2026-10"] == [row.split()[0] for row in rows]
    assert (head + "".join(rows)).isascii()


def test_what_is_named_in_a_table_is_neither_markup_nor_moves_the_cursor() -> None:
    from click.testing import CliRunner

    from accounting.commands import terminal

    with CliRunner().isolation() as (out, _, _):
        terminal.show("rejects", ("record", "n"), [(ODD, "1"), ("x", "2")])
        told = out.getvalue().decode()

    assert "record" == told.splitlines()[0].split()[0]
    assert "[red]no markup[/red]\\x1b[2J  1" == told.splitlines()[1]


def test_what_comes_next_is_told_beside_the_answer_not_in_it(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)

    assert "next: meterbridge close 2026-10\n" == site.typed("settle", "2026-10").stderr
    assert "meterbridge seal 2026-10" in site.typed("close", "2026-10").stderr
    sealed = site.typed("seal", "2026-10")
    seal = sealed.stdout.split()[1]
    assert f"2026-10 {seal}\n" == sealed.stdout
    assert f"keep this seal outside of this machine; later: meterbridge check --seal {seal}\n" == sealed.stderr
    assert site.run("check", "--seal", seal).startswith("every invariant holds")


def test_a_month_that_is_open_is_not_ready_to_be_sealed(engine: Engine, tmp_path: Path) -> None:
    site = october(engine, tmp_path)

    assert "close it first (meterbridge close 2026-10)" in site.run("seal", "2026-10", code=1)
