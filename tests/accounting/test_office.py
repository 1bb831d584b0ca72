"""The accounting service as ``meterbridge serve`` runs it: a ledger behind a real socket, tokens in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import Engine

from accounting.intake.history import ingest_history
from accounting.service import site_service
from accounting.site import book
from accounting.store.schema import open_ledger
from exporters.config import Config, parse
from exporters.http.server import Server
from tests.accounting.readings import live
from tests.accounting.site import DAY, T0, History, ended, gn, node, pod, pod_job
from tests.lab.daemons import wait_for

ADMIN, VISION = "a" * 40, "v" * 40
SETTINGS = """
ledger: {{url: "sqlite:///{folder}/ledger.db"}}
rates: {{gpu_hour: {{h100: 2.50}}}}
projects: [{{project: vision, accounts: [vision]}}, {{project: llm, namespaces: [llm]}}]
service: {{listen: "127.0.0.1:0", tokens_file: {folder}/tokens.yaml}}
"""
TOKENS = """
tokens:
  - {{name: finance, role: admin, sha256: {admin}}}
  - {{name: vision, role: project, projects: [vision], sha256: {vision}}}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service on a ledger in which vision's job and llm's pod each held a card for an hour."""
    folder = tmp_path_factory.mktemp("office")
    engine = open_ledger(f"sqlite:///{folder}/ledger.db")
    served = pod_job("chat", account="llm")
    live(engine, T0, nodes=[node(gn(1))], claims=[pod("chat", 1, T0)], jobs=[served])
    live(engine, T0 + 3600, nodes=[node(gn(1))], gone=[pod("chat", 1, T0, T0 + 3600)], jobs=[served])
    ingest_history(engine, History([ended(1, T0, T0 + 3600)]), now=T0 + DAY, start=T0)
    engine.dispose()
    (folder / "tokens.yaml").write_text(TOKENS.format(admin=sha256(ADMIN), vision=sha256(VISION)))
    config = parse(SETTINGS.format(folder=folder))
    book.reconcile_period(config, "2026-10", T0 + DAY)
    server = site_service.service(config)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def get(service: Server, path: str, token: str = "") -> httpx2.Response:
    return httpx2.get(service.url + path, headers={"Authorization": f"Bearer {token}"} if token else {})


def test_a_project_sees_its_own_lines_and_an_admin_all(service: Server) -> None:
    own = get(service, "/api/v1/statements/2026-10", VISION).json()["lines"]
    every = get(service, "/api/v1/statements/2026-10", ADMIN).json()["lines"]

    assert {"vision"} == {line["project"] for line in own}
    assert {"vision", "llm"} <= {line["project"] for line in every}


def test_without_a_token_nothing_is_told_but_health_is(service: Server) -> None:
    assert 401 == get(service, "/api/v1/periods").status_code
    assert 200 == get(service, "/-/ready").status_code


def test_a_month_that_is_not_in_the_books_is_not_found(service: Server) -> None:
    assert 404 == get(service, "/api/v1/statements/2020-01", ADMIN).status_code


def test_the_check_runs_on_the_ledger(service: Server) -> None:
    assert {"sound": True, "breaches": [], "waits": ""} == get(service, "/api/v1/check", ADMIN).json()


def test_a_project_lead_reads_the_page_with_a_browser(service: Server) -> None:
    page = httpx2.get(f"{service.url}/statements/2026-10/vision", auth=("vision", VISION))
    site = httpx2.get(f"{service.url}/statements/2026-10", auth=("finance", ADMIN))

    assert (200, 200) == (page.status_code, site.status_code)
    assert "2.50" in page.text
    assert "llm" not in page.text
    assert 'href="2026-10/llm"' in site.text


def test_its_clock_reconciles_and_says_so(service: Server) -> None:
    done = 'meterbridge_task_success{task="reconcile"} 1.0'

    wait_for(lambda: done in get(service, "/metrics").text, 30, "the first reconcile")


def test_the_months_so_far_are_told_to_prometheus_of_ones_own_projects_only(service: Server) -> None:
    wait_for(
        lambda: "meterbridge_ledger_project_charge{" in get(service, "/api/v1/metrics", ADMIN).text, 20, "the books"
    )
    own = get(service, "/api/v1/metrics", VISION).text
    everybody = get(service, "/metrics").text

    assert 401 == get(service, "/api/v1/metrics").status_code
    assert 'meterbridge_ledger_project_charge{currency="EUR",period="2026-10",project="vision"} 2.5' in own
    assert "llm" not in own
    assert 'meterbridge_ledger_period_info{period="2026-10",state="open"} 1.0' in everybody
    assert "vision" not in everybody


def ledger(folder: Path, *runs: int) -> tuple[Config, Engine]:
    """A ledger with a machine for a day, and these runs on it."""
    engine = open_ledger(f"sqlite:///{folder}/ledger.db")
    for at in (T0, T0 + DAY):
        live(engine, at, nodes=[node(gn(1))], gap=2 * DAY)
    config = parse(SETTINGS.format(folder=folder))
    book_runs(config, engine, *runs)
    return config, engine


def book_runs(config: Config, engine: Engine, *runs: int) -> None:
    ingest_history(engine, History([ended(n, T0, T0 + 3600) for n in runs]), now=T0 + DAY, start=T0, overlap=DAY)
    book.reconcile_period(config, "2026-10", T0 + DAY)


def test_a_statement_is_kept_until_something_is_booked(tmp_path: Path) -> None:
    config, engine = ledger(tmp_path, 1)
    books = site_service.LedgerBooks(config, engine)
    first, same = books.statement("2026-10"), books.statement("2026-10")
    book_runs(config, engine, 1, 2)
    later = books.statement("2026-10")
    engine.dispose()

    assert first is same
    assert first.lines.height + 1 == later.lines.height


def test_a_ledger_that_fails_while_lines_are_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    config, engine = ledger(tmp_path, 1)
    (tmp_path / "tokens.yaml").write_text(TOKENS.format(admin=sha256(ADMIN), vision=sha256(VISION)))
    server = site_service.service(config)
    server.start()
    try:
        paths = [f"/api/v1/statements/2026-10{more}" for more in ("", "/chargeback.csv")]
        before = [get(server, path, ADMIN).status_code for path in paths]
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE jobs RENAME TO lost")
        after = [get(server, path, ADMIN) for path in paths]
    finally:
        server.stop()
        engine.dispose()

    assert [200, 200] == before
    for answer in after:
        assert 503 == answer.status_code
        assert answer.json()["detail"].endswith("ledger.db cannot be read: no such table: jobs")
