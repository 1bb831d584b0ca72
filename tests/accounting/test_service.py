"""The accounting API: what each token sees, and what nobody sees without one."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from accounting.service.app import UnavailableError, UnknownPeriodError, create_service
from accounting.service.auth import Principal, Role, Tokens
from accounting.service.loop import Loop, Task
from accounting.statements import Statement, chargeback_csv, summary_csv
from accounting.statements.html.statement_page import Pages, Standing, Surroundings
from tests.accounting.produced import produced
from tests.accounting.usages import PERIOD, pencil_month


@dataclass
class PencilBooks:
    """Books that hold the pencil month."""

    breaches: list[str] = field(default_factory=list)
    trouble: str = ""
    state: str = "open"

    def periods(self) -> Sequence[str]:
        if self.trouble:
            raise UnavailableError(self.trouble)
        return ["2026-09", PERIOD]

    def statement(self, period: str) -> Statement:
        if period != PERIOD:
            raise UnknownPeriodError(period)
        return produced(pencil_month())

    def pages(self, period: str) -> Pages:
        return Pages.of(self.statement(period), Surroundings("hall", standing=Standing(self.state)))

    def check(self, sample: int | None) -> tuple[Sequence[str], str]:
        return self.breaches[:sample], "" if sample is None else "a sample"

    def ready(self) -> str:
        return self.trouble


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


TOKENS = Tokens(
    [
        (digest("admin-token"), Principal("finance", Role.ADMIN)),
        (digest("vision-token"), Principal("vision", Role.PROJECT, frozenset({"vision"}))),
        (digest("two-token"), Principal("two", Role.PROJECT, frozenset({"vision", "nlp"}))),
    ]
)
LINES = f"/api/v1/statements/{PERIOD}"


@pytest.fixture
def books() -> PencilBooks:
    return PencilBooks()


@pytest.fixture
def client(books: PencilBooks) -> Iterator[TestClient]:
    with TestClient(create_service(books, TOKENS)) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


ADMIN, VISION, TWO = bearer("admin-token"), bearer("vision-token"), bearer("two-token")
PATHS = [
    "/api/v1/periods",
    LINES,
    f"{LINES}/chargeback.csv",
    f"{LINES}/summary",
    f"{LINES}/summary.csv",
    "/api/v1/check",
    "/api/v1/metrics",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer("wrong"),
        bearer(digest("admin-token")),
        {"Authorization": "Basic YTpi"},
        {"X-API-Key": "no"},
    ],
)
def test_nothing_is_served_without_a_valid_token(client: TestClient, path: str, headers: dict[str, str]) -> None:
    answer = client.get(path, headers=headers)

    assert 401 == answer.status_code
    assert 'Bearer realm="meterbridge"' == answer.headers["www-authenticate"]


def test_every_api_path_is_among_those_that_need_a_token(client: TestClient) -> None:
    described = {path.replace("{period}", PERIOD) for path in client.get("/openapi.json").json()["paths"]}

    assert set(PATHS) == {path for path in described if path.startswith("/api/")}


SITE_PAGE, VISION_PAGE = f"/statements/{PERIOD}", f"/statements/{PERIOD}/vision"
WITH_PASSWORD = {name: ("anybody", f"{name}-token") for name in ("admin", "vision", "two")}


@pytest.mark.parametrize("path", [SITE_PAGE, VISION_PAGE])
@pytest.mark.parametrize("password", [None, ("admin", ""), ("admin", "wrong")])
def test_a_browser_is_asked_for_a_token(client: TestClient, path: str, password: tuple[str, str] | None) -> None:
    answer = client.get(path, auth=password)

    assert 401 == answer.status_code
    assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    ("who", "path", "status"),
    [
        ("admin", SITE_PAGE, 200),
        ("admin", VISION_PAGE, 200),
        ("admin", f"/statements/{PERIOD}/nobody", 404),
        ("admin", "/statements/2026-08", 404),
        ("admin", "/statements/2026-13", 422),
        ("vision", SITE_PAGE, 403),
        ("vision", VISION_PAGE, 200),
        ("vision", f"/statements/{PERIOD}/nlp", 403),
        ("vision", f"/statements/{PERIOD}/", 403),
        ("vision", f"/statements/{PERIOD}/vision/../nlp", 403),
        ("two", f"/statements/{PERIOD}/nlp", 200),
    ],
)
def test_who_sees_which_page(client: TestClient, who: str, path: str, status: int) -> None:
    assert status == client.get(path, auth=WITH_PASSWORD[who]).status_code
    assert status == client.get(path, headers=bearer(f"{who}-token")).status_code


def test_a_page_that_is_served_says_what_the_file_says(client: TestClient, books: PencilBooks) -> None:
    assert books.pages(PERIOD).project("vision") == client.get(VISION_PAGE, headers=VISION).text
    assert f'href="{PERIOD}/vision"' in client.get(SITE_PAGE, headers=ADMIN).text


def test_a_browser_keeps_the_page_of_a_closed_month_while_it_holds(client: TestClient, books: PencilBooks) -> None:
    books.state = "closed"
    first = client.get(VISION_PAGE, headers=VISION)
    again = client.get(VISION_PAGE, headers={**VISION, "If-None-Match": first.headers["etag"]})
    other = client.get(f"/statements/{PERIOD}/nlp", headers={**TWO, "If-None-Match": first.headers["etag"]})

    assert (200, "private, no-cache") == (first.status_code, first.headers["cache-control"])
    assert (304, b"") == (again.status_code, again.content)
    assert 200 == other.status_code
    assert 401 == client.get(VISION_PAGE, headers={"If-None-Match": first.headers["etag"]}).status_code


def test_the_page_of_an_open_month_is_kept_by_nobody(client: TestClient) -> None:
    headers = client.get(VISION_PAGE, headers=VISION).headers

    assert "no-store" == headers["cache-control"]
    assert "etag" not in headers


def test_a_service_without_tokens_lets_nobody_in() -> None:
    with TestClient(create_service(PencilBooks(), Tokens())) as client:
        assert 401 == client.get("/api/v1/periods", headers=ADMIN).status_code


def test_a_token_may_come_as_a_key_beside_basic_auth(client: TestClient) -> None:
    answer = client.get("/api/v1/periods", headers={"Authorization": "Basic YTpi", "X-API-Key": "admin-token"})

    assert {"periods": ["2026-09", "2026-10"]} == answer.json()


def test_an_admin_gets_the_file_that_the_command_writes(client: TestClient, books: PencilBooks) -> None:
    month = books.statement(PERIOD)

    lines = client.get(f"{LINES}/chargeback.csv", headers=ADMIN)
    summary = client.get(f"{LINES}/summary.csv", headers=ADMIN)

    assert b"".join(chargeback_csv(month)) == lines.content
    assert "".join(summary_csv(month)).encode() == summary.content
    assert 'attachment; filename="chargeback-2026-10.csv"' == lines.headers["content-disposition"]


@pytest.mark.parametrize(("headers", "projects"), [(VISION, {"vision"}), (TWO, {"vision", "nlp"})])
def test_a_project_sees_its_own_lines_only(client: TestClient, headers: dict[str, str], projects: set[str]) -> None:
    as_json = client.get(LINES, headers=headers).json()["lines"]
    as_csv = list(csv.DictReader(io.StringIO(client.get(f"{LINES}/chargeback.csv", headers=headers).text, newline="")))
    totals = client.get(f"{LINES}/summary", headers=headers).json()["rows"]
    totals_csv = list(csv.DictReader(io.StringIO(client.get(f"{LINES}/summary.csv", headers=headers).text, newline="")))

    for rows in (as_json, as_csv, totals, totals_csv):
        assert projects == {row["project"] for row in rows}


def test_a_project_never_sees_the_fleets_capacity(client: TestClient) -> None:
    assert client.get(f"{LINES}/summary", headers=VISION).json()["capacity"] is None
    assert "capacity" not in client.get(f"{LINES}/summary.csv", headers=VISION).text


def test_an_admin_sees_capacity(client: TestClient) -> None:
    assert "144000.000" == client.get(f"{LINES}/summary", headers=ADMIN).json()["capacity"]["gpu_seconds"]


def test_an_admin_may_ask_for_one_project(client: TestClient) -> None:
    answer = client.get(LINES, headers=ADMIN, params={"project": "nlp"}).json()

    assert ["nlp"] == [line["project"] for line in answer["lines"]]
    assert client.get(f"{LINES}/summary", headers=ADMIN, params={"project": "nlp"}).json()["capacity"] is None


@pytest.mark.parametrize("path", ["", "/chargeback.csv", "/summary", "/summary.csv"])
@pytest.mark.parametrize("project", ["nlp", ""])
def test_a_project_may_not_ask_for_another(client: TestClient, path: str, project: str) -> None:
    answer = client.get(LINES + path, headers=VISION, params={"project": project})

    assert (403, {"detail": f"this token may not see project {project}"}) == (answer.status_code, answer.json())


def test_a_line_has_the_same_hours_whoever_looks() -> None:
    """The printed hours are apportioned over the whole month, not over what a token sees of it."""
    with TestClient(create_service(PencilBooks(), TOKENS)) as client:
        whole = {line["line_id"]: line for line in client.get(LINES, headers=ADMIN).json()["lines"]}
        part = client.get(LINES, headers=VISION).json()["lines"]

    assert [whole[line["line_id"]] for line in part] == part


def test_names_are_whole_in_json_where_no_spreadsheet_reads_them(client: TestClient) -> None:
    (line,) = client.get(LINES, headers=ADMIN, params={"project": "nlp"}).json()["lines"]

    assert "=HYPERLINK(0)" == line["job_name"]


def test_lines_come_in_pages(client: TestClient) -> None:
    everything = client.get(LINES, headers=ADMIN).json()
    pages = [client.get(LINES, headers=ADMIN, params={"offset": n, "limit": 3}).json() for n in (0, 3, 6, 9)]

    assert [3, 3, 2, 0] == [len(page["lines"]) for page in pages]
    assert everything["lines"] == [line for page in pages for line in page["lines"]]
    assert {8} == {page["total"] for page in pages}


@pytest.mark.parametrize("params", [{"limit": 10_001}, {"limit": 0}, {"offset": -1}])
def test_a_page_has_limits(client: TestClient, params: dict[str, int]) -> None:
    assert 422 == client.get(LINES, headers=ADMIN, params=params).status_code


def test_an_unknown_period_is_not_found(client: TestClient) -> None:
    answer = client.get("/api/v1/statements/2031-01", headers=ADMIN)

    assert (404, {"detail": "there is no billing period 2031-01"}) == (answer.status_code, answer.json())


@pytest.mark.parametrize("period", ["2026-13", "latest", "..%2f..%2fetc"])
def test_a_period_that_is_no_month_is_refused(client: TestClient, period: str) -> None:
    assert client.get(f"/api/v1/statements/{period}", headers=ADMIN).status_code in {404, 422}


def test_an_admin_sees_what_the_check_found(client: TestClient, books: PencilBooks) -> None:
    assert {"sound": True, "breaches": [], "waits": ""} == client.get("/api/v1/check", headers=ADMIN).json()

    books.breaches.append("node-day gn01 2026-10-03 sums to 5")

    whole = client.get("/api/v1/check", headers=ADMIN).json()
    assert {"sound": False, "breaches": books.breaches, "waits": ""} == whole


def test_a_sample_may_be_asked_for(client: TestClient) -> None:
    answer = client.get("/api/v1/check", headers=ADMIN, params={"sample": 3}).json()

    assert {"sound": True, "breaches": [], "waits": "a sample"} == answer
    assert 422 == client.get("/api/v1/check", headers=ADMIN, params={"sample": 0}).status_code


def test_a_project_may_not_check_the_books(client: TestClient) -> None:
    assert 403 == client.get("/api/v1/check", headers=VISION).status_code


def test_books_that_cannot_be_read_are_an_answer_of_their_own(client: TestClient, books: PencilBooks) -> None:
    books.trouble = "the ledger at db1 does not answer"

    api, ready, healthy = (client.get(p, headers=ADMIN) for p in ("/api/v1/periods", "/-/ready", "/-/healthy"))

    assert (503, {"detail": books.trouble}) == (api.status_code, api.json())
    assert (503, f"{books.trouble}\n") == (ready.status_code, ready.text)
    assert 200 == healthy.status_code


def test_a_service_with_its_books_is_ready(client: TestClient) -> None:
    assert (200, "ready\n") == (client.get("/-/ready").status_code, client.get("/-/ready").text)


def test_the_loop_runs_while_the_service_does() -> None:
    ran: list[str] = []
    loop = Loop([Task("ingest", 3600, lambda: ran.append("ingest"))], CollectorRegistry())
    app = create_service(PencilBooks(), TOKENS, loop)

    with TestClient(app) as client:
        assert (200, "healthy\n") == (client.get("/-/healthy").status_code, client.get("/-/healthy").text)
    after = TestClient(app).get("/-/healthy")

    assert not loop.alive
    assert (503, "the loop has ended\n") == (after.status_code, after.text)


def test_requests_are_counted_by_route_and_not_by_path(client: TestClient) -> None:
    for period in ("2026-10", "2031-01", "2031-02"):
        client.get(f"/api/v1/statements/{period}", headers=ADMIN)
    client.get("/no/such/thing")
    page = client.get("/metrics").text

    counted = {
        (sample.labels["route"], sample.labels["code"]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "meterbridge_http_requests_total"
    }
    assert {
        ("/api/v1/statements/{period}", "200"): 1,
        ("/api/v1/statements/{period}", "404"): 2,
        ("none", "404"): 1,
    } == counted


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/metrics", "/-/healthy", "/no/such/thing", "/api/v1/periods"])
def test_every_answer_has_safe_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers

    assert "nosniff" == headers["x-content-type-options"]
    assert "no-store" == headers["cache-control"]
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_the_front_page_names_every_path_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/").text

    for path in client.get("/openapi.json").json()["paths"]:
        assert f"GET {path}<" in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_pages_that_would_load_scripts_from_elsewhere_are_off(client: TestClient, path: str) -> None:
    assert 404 == client.get(path).status_code
