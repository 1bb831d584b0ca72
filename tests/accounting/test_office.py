"""The accounting service as ``meterbridge serve`` runs it: a ledger behind a real socket, tokens in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import httpx2
import pytest

from accounting import book, office
from accounting.intake import ingest_history
from accounting.schema import open_ledger
from exporters.config import parse
from exporters.server import Server
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
    hashes = {
        name: hashlib.sha256(token.encode()).hexdigest() for name, token in (("admin", ADMIN), ("vision", VISION))
    }
    (folder / "tokens.yaml").write_text(TOKENS.format(**hashes))
    config = parse(SETTINGS.format(folder=folder))
    book.reconcile_period(config, "2026-10", T0 + DAY)
    server = office.service(config)
    server.start()
    try:
        yield server
    finally:
        server.stop()


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
    assert {"sound": True, "breaches": []} == get(service, "/api/v1/check", ADMIN).json()


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
