"""The whole demo, twice (rounds four times as far apart as in the real one): what it shows, and that it repeats."""

from __future__ import annotations

import csv
import io
import re
import shutil
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from rich.console import Console

from accounting.rates.rating import PriceRule, Rates
from accounting.service.app import create_service
from accounting.service.metrics import PROJECT_CHARGE, Months
from accounting.service.site_service import LedgerBooks, standing_of
from accounting.site import book, line_questions, months
from accounting.site.line_questions import LineError
from accounting.store.calendar import period_named
from demo import run
from demo.report import KINDS, WORDS, Month
from demo.site import MACHINES
from exporters.config import load, parse
from exporters.model import Disposition
from tests.accounting.test_service import TOKENS
from tests.lab.daemons import wait_for

pytestmark = pytest.mark.slow

EVERY = 4
MONTH_S = 31 * 86_400
FILES = ("chargeback-2026-10.csv", "chargeback-2026-10-summary.csv", "chargeback-2026-10-notes.txt")


@dataclass
class Shown:
    """What one run of the demo left behind."""

    out: Path
    printed: str
    month: Month
    pages: dict[str, httpx2.Response]

    def rows(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO((self.out / name).read_text())))


def show(out: Path, *, serve: bool) -> Shown:
    """Run the demo; with ``serve`` look at its pages once the month is over, then tell it to stop."""
    text = io.StringIO()
    stop = threading.Event()
    pages: dict[str, httpx2.Response] = {}

    def look() -> None:
        try:
            found = wait_for(lambda: re.search(r"(http\S+) stays up", text.getvalue()), 240, "end of the month")
            url = found[1]  # type: ignore[index]
            for path in ("/", "/metrics", "/-/ready"):
                pages[path] = httpx2.get(url + path)
            served = re.search(r"served at (http\S+) as well", text.getvalue())[1]  # type: ignore[index]
            for path in ("/2026-10.html", "/2026-10/vision.html", "/site/ledger.sqlite", "/../meterbridge.yaml"):
                pages[path] = httpx2.get(served + path)
        finally:
            stop.set()

    visitor = threading.Thread(target=look)
    if serve:
        visitor.start()
    console = Console(file=text, width=120)
    month = run.run(out, serve=serve, console=console, every=EVERY, stop=stop)
    if serve:
        visitor.join()
    return Shown(out, text.getvalue(), month, pages)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # where it would listen somebody else does already
        port = taken.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("demo.site.LISTEN", f"127.0.0.1:{port}")
            yield show(tmp_path_factory.mktemp("demo"), serve=True)


@pytest.mark.timeout(600)
def test_a_second_run_writes_the_same_bytes(shown: Shown, tmp_path: Path) -> None:
    again = show(tmp_path, serve=False)

    assert {n: (shown.out / n).read_bytes() for n in FILES} == {n: (again.out / n).read_bytes() for n in FILES}


def test_the_statement_is_served_as_a_page_and_nothing_else_of_the_folder(shown: Shown) -> None:
    assert (shown.out / "2026-10.html").read_text() == shown.pages["/2026-10.html"].text
    assert (shown.out / "2026-10" / "vision.html").read_text() == shown.pages["/2026-10/vision.html"].text
    assert [404, 404] == [shown.pages[path].status_code for path in ("/site/ledger.sqlite", "/../meterbridge.yaml")]


def test_the_six_dispositions_sum_to_capacity_to_the_second(shown: Shown) -> None:
    *parts, capacity = shown.rows("chargeback-2026-10-summary.csv")
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in parts:
        sums[row["disposition"]] += Decimal(row["gpu_seconds"])

    assert capacity["disposition"] == "capacity"
    assert Decimal(capacity["gpu_seconds"]) == len(MACHINES) * 8 * MONTH_S
    assert sum(sums.values()) == Decimal(capacity["gpu_seconds"])
    assert {d.value for d in Disposition} == {name for name, seconds in sums.items() if seconds > 0}


def test_every_kind_of_line_is_there(shown: Shown) -> None:
    assert list(KINDS) == [what for what, _ in shown.month.worth]


def test_three_projects_pay_and_what_maps_to_nothing_is_visible(shown: Shown) -> None:
    paying = {
        (row["project"], row["scheduler"])
        for row in shown.rows("chargeback-2026-10-summary.csv")
        if row["disposition"] == "charged"
    }

    projects = ("genomics", "llm", "unmapped", "vision")
    assert {(project, scheduler) for project in projects for scheduler in ("slurm", "kubernetes")} == paying


def test_a_namespace_that_changed_hands_is_paid_by_both_each_for_its_days(shown: Shown) -> None:
    lines = [row for row in shown.rows("chargeback-2026-10.csv") if row["account_or_namespace"] == "imaging"]

    expected = [
        ("genomics", "2026-10-16T00:00:00Z", "2026-11-01T00:00:00Z", "384.000000"),
        ("vision", "2026-10-01T00:00:00Z", "2026-10-16T00:00:00Z", "360.000000"),
    ]
    assert expected == sorted((r["project"], r["start"], r["end"], r["gpu_hours"]) for r in lines)


def test_an_external_job_is_charged_once_its_rest_on_a_line_of_its_own(shown: Shown) -> None:
    lines = shown.rows("chargeback-2026-10.csv")
    (pod,) = [r for r in lines if r["job_name"] == "clip-embed-1"]
    job = [r for r in lines if r["job_name"] == "bridge-clip" and r["disposition"] == "charged"]

    held = Decimal(job[0]["gpu_hours"])
    assert pod["linked_record"].endswith(job[0]["job_id"])
    assert {pod["project"]} == {r["project"] for r in job} == {"vision"}
    assert held == Decimal(pod["charged_gpu_hours"]) + sum(Decimal(r["charged_gpu_hours"]) for r in job)


def test_coverage_tells_what_telemetry_missed(shown: Shown) -> None:
    covered = [
        Decimal(r["telemetry_coverage"]) for r in shown.rows("chargeback-2026-10.csv") if r["telemetry_coverage"]
    ]

    assert max(covered) == 1
    assert 0 < min(covered) < 1, "an exporter was out of order for hours"


def test_names_that_a_spreadsheet_would_run_do_not_begin_a_cell(shown: Shown) -> None:
    text = (shown.out / "chargeback-2026-10.csv").read_text()
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]

    assert any("SUM(A1:A9)" in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


def test_the_pages_are_up_at_the_end(shown: Shown) -> None:
    assert [200, 200, 200] == [shown.pages[path].status_code for path in ("/", "/metrics", "/-/ready")]
    metrics = shown.pages["/metrics"].text
    assert "meterbridge_job_info{" in metrics
    assert re.search(r'meterbridge_project_gpus\{[^}]*project="vision"', metrics)
    assert all(f'disposition="{d.value}"' in metrics for d in Disposition)


def test_what_it_says_is_what_it_wrote(shown: Shown) -> None:
    assert all(word.value in shown.printed and meaning in shown.printed for word, meaning in WORDS.items())
    assert "101,184.0" in shown.printed
    for name in re.findall(r"^  ([\w./-]+\.\w+) ", shown.printed, re.MULTILINE):
        assert (shown.out / name).is_file(), name


def test_the_line_it_offers_to_explain_has_an_evidence_chain(shown: Shown) -> None:
    found = re.search(r"meterbridge explain (\w+) --config (\S+)", shown.printed)
    assert found

    told = "\n".join(line_questions.explain(load(Path(found[2])), found[1], None, evidence=True))

    assert "slinky" in told
    assert "sacct" in told
    assert "node br01\n  node-day " in told


def test_the_beginning_of_two_lines_is_refused_and_names_both(shown: Shown) -> None:
    found = re.search(r"meterbridge explain (\w+) --config (\S+)", shown.printed)
    assert found
    with pytest.raises(
        LineError, match=r"L0 is the beginning of more than one line: (L0\w{19}) of 2026-10 and L0"
    ) as told:
        line_questions.explained(load(Path(found[2])), "L0", None)

    both = re.findall(r"L0\w{19}", str(told.value))
    assert 2 == len({*both})
    assert both == [line_questions.explained(load(Path(found[2])), name, None)["line_id"] for name in both]


def test_a_price_by_partition_is_the_same_wherever_the_month_is_told(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Added where CONTRIBUTING says: to the rules of `accounting.rates.rating.Rates`."""
    shutil.copy(shown.out / "site" / "ledger.sqlite", tmp_path)
    text = (shown.out / "meterbridge.yaml").read_text()
    config = parse(text.replace(str(shown.out / "site" / "ledger.sqlite"), str(tmp_path / "ledger.sqlite")))
    flat, month = Rates.rules.fget, "2026-10"
    slinky = PriceRule(Decimal("7.77"), {"partition": "slinky", "gpu_model": "h100"})
    monkeypatch.setattr(Rates, "rules", property(lambda rates: (*flat(rates), slinky)))  # type: ignore[misc]
    path, summary, _ = book.write_statement(config, month, tmp_path / "out")
    rows = [*csv.DictReader(io.StringIO(path.read_text()))]
    prices = {
        row["unit_price"] for row in rows if (row["partition_or_queue"], row["disposition"]) == ("slinky", "charged")
    }
    total = sum(Decimal(row["amount"]) for row in rows)
    with book.opened(config) as engine:
        client = TestClient(create_service(LedgerBooks(config, engine), TOKENS))
        headers = {"X-API-Key": "admin-token"}
        page = client.get(f"/api/v1/statements/{month}?limit=10000", headers=headers).json()
        served = client.get(f"/api/v1/statements/{month}/summary", headers=headers).json()
        gauges = standing_of(config, engine, Months()).by_project[PROJECT_CHARGE]
    now = period_named("2026-11").end
    open_ = months.settle(config, month, now)
    kept = months.close_month(config, month, now, force=True)

    assert "7.77" in prices
    assert total != sum(Decimal(row["amount"]) for row in shown.rows(FILES[0]))
    assert total == Decimal([*csv.DictReader(io.StringIO(summary.read_text()))][-1]["amount"])
    assert total == sum(Decimal(line["amount"]) for line in page["lines"])
    assert total == Decimal(served["capacity"]["amount"])
    assert total == sum(Decimal(str(value)) for (_, period, _), value in gauges.items() if period == month)
    assert not [o for o in open_ if "price" in o.what]
    assert kept is not None
    assert total == kept.amount
    with book.opened(config) as engine:
        assert [] == months.amounts_hold(config, engine)
