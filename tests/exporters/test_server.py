from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from exporters.exposition.family import Family
from exporters.exposition.negotiate import Form
from exporters.exposition.page import Page
from exporters.exposition.writer import Writer
from exporters.http.landing_page import landing_page
from exporters.http.server import ListenError, Server, create_app, split_listen
from exporters.join.projects import ProjectMap
from exporters.model import Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.status import SourceStatus
from tests.exporters import world as w

FAMILIES = [
    Family(
        "meterbridge_job_gpu_seconds_total",
        "GPU-seconds held by the job.",
        "counter",
        ("scheduler", "cluster", "job_id"),
        [(("slurm", "hpc", "18"), 7200.0), (("kubernetes", "prod", 'a"b\\c\nd'), 3.5)],
    ),
    Family("meterbridge_job_info", "Names.", "info", ("job_id", "name"), [(("18", "träin"), 1.0)]),
]
PAGE = Page(Writer().render(FAMILIES))
STATUS = SourceStatus("slurmctld", "hpc", True, 1000.0, 0.2, 5, 0, 0)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    started = []

    def start(*arguments: object) -> Server:
        started.append(Server(create_app(*arguments), "127.0.0.1:0"))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.stop()


def test_metrics_is_the_last_rounds_page(serve: Callable[..., Server]) -> None:
    url = serve(lambda: PAGE, lambda: True).url + "/metrics"
    with httpx2.Client() as client:
        plain = client.get(url, headers={"Accept-Encoding": "identity"})
        openmetrics = client.get(url, headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert (PAGE.body(), Form.TEXT.value) == (plain.content, plain.headers["content-type"])
    assert "content-encoding" not in plain.headers
    assert (PAGE.body(Form.OPENMETRICS), Form.OPENMETRICS.value) == (
        openmetrics.content,
        openmetrics.headers["content-type"],
    )
    assert plain.headers["vary"] == "Accept, Accept-Encoding"


def test_a_page_is_compressed_for_who_accepts_it(serve: Callable[..., Server]) -> None:
    url = serve(lambda: PAGE, lambda: True).url + "/metrics"
    with httpx2.Client() as client, client.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())

    assert answer.headers["content-encoding"] == "gzip"
    assert PAGE.body() == gzip.decompress(raw)


def test_before_the_first_round_there_is_nothing_to_scrape_and_it_says_so(serve: Callable[..., Server]) -> None:
    url = serve(lambda: None, lambda: False).url
    answers = {path: httpx2.get(url + path).status_code for path in ("/metrics", "/-/ready", "/-/healthy", "/")}

    assert {"/metrics": 503, "/-/ready": 503, "/-/healthy": 200, "/": 200} == answers


def test_ready_follows_the_join(serve: Callable[..., Server]) -> None:
    ready: list[bool] = []
    url = serve(lambda: PAGE, lambda: bool(ready)).url + "/-/ready"
    before = httpx2.get(url).status_code
    ready.append(True)

    assert (503, 200) == (before, httpx2.get(url).status_code)


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/metrics", 405), ("GET", "/nothing", 404)])
def test_what_is_not_offered_is_refused(serve: Callable[..., Server], method: str, path: str, status: int) -> None:
    assert status == httpx2.request(method, serve(lambda: PAGE, lambda: True).url + path).status_code


def test_a_storm_of_scrapes_is_answered_while_a_join_holds_the_interpreter(serve: Callable[..., Server]) -> None:
    server = serve(lambda: PAGE, lambda: True)
    over = threading.Event()

    def join() -> None:
        while not over.is_set():
            sum(range(10_000))

    worker = threading.Thread(target=join)
    worker.start()
    took = []

    def scrape() -> None:
        with httpx2.Client() as client:
            for _ in range(4):
                started = time.monotonic()
                client.get(server.url + "/metrics").raise_for_status()
                took.append(time.monotonic() - started)

    scrapers = [threading.Thread(target=scrape) for _ in range(10)]
    for scraper in scrapers:
        scraper.start()
    for scraper in scrapers:
        scraper.join()
    over.set()
    worker.join()

    assert len(took) == 40
    assert max(took) < 5


def test_the_landing_page_lists_the_endpoints_and_the_sources(serve: Callable[..., Server]) -> None:
    server = serve(lambda: PAGE, lambda: True, lambda: [STATUS], lambda: 1007.0)
    answer = httpx2.get(server.url + "/")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for text in ("/metrics", "/-/healthy", "/-/ready", "slurmctld", "hpc", "7 s ago", "ok"):
        assert text in answer.text


def test_what_other_systems_say_is_escaped_on_the_landing_page() -> None:
    hostile = "<script>alert(1)</script>\"'&"
    status = SourceStatus(
        hostile, hostile, False, 0.0, 0.0, 1, 1, 0, complete=False, error=hostile, problems=(hostile,) * 20
    )
    page = landing_page([status], False, 0.0)

    assert "<script>" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;") == 2 + 10
    assert "and 11 more" in page
    assert "never" in page


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (STATUS, "ok"),
        (SourceStatus("a", "b", True, 1.0, 0.0, 1, 0, 0, complete=False, problems=("x",)), "partly read"),
        (SourceStatus("a", "b", False, 1.0, 0.0, 3, 1, 0, error="gone"), "failing"),
        (SourceStatus("a", "b", False, 0.0, 0.0, 0, 0, 0), "not read yet"),
    ],
)
def test_the_landing_page_says_how_a_source_does(status: SourceStatus, says: str) -> None:
    assert f">{says}<td>" in landing_page([status], True, 10.0)


@pytest.mark.parametrize(
    ("listen", "parts"),
    [
        ("127.0.0.1:9810", ("127.0.0.1", 9810)),
        ("[::1]:0", ("::1", 0)),
        (":9810", ("", 9810)),
        ("host.x:1", ("host.x", 1)),
    ],
)
def test_a_listen_address_has_two_parts(listen: str, parts: tuple[str, int]) -> None:
    assert parts == split_listen(listen)


@pytest.mark.parametrize("listen", ["", "9810", "host", "host:", "host:x", "host:65536", "::1:9810", "host:-1"])
def test_what_is_no_listen_address_is_refused(listen: str) -> None:
    with pytest.raises(ListenError, match="is not HOST:PORT"):
        split_listen(listen)


def test_a_taken_port_and_an_unknown_host_are_clear_errors(serve: Callable[..., Server]) -> None:
    taken = serve(lambda: PAGE, lambda: True).url.removeprefix("http://")
    with pytest.raises(ListenError, match=f"cannot listen on {taken}: Address already in use"):
        Server(create_app(lambda: PAGE, lambda: True), taken).start()
    with pytest.raises(ListenError, match=r"cannot listen on no-such-host\.invalid:0"):
        Server(create_app(lambda: PAGE, lambda: True), "no-such-host.invalid:0").start()


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    assert Server(create_app(lambda: PAGE, lambda: True)).url == "http://127.0.0.1:9810"


def test_it_speaks_ipv6_and_may_be_stopped_twice() -> None:
    server = Server(create_app(lambda: PAGE, lambda: True), "[::1]:0")
    server.start()
    answer = httpx2.get(server.url + "/-/healthy")
    server.stop()
    server.stop()

    assert answer.text == "healthy\n"
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(server.url + "/-/healthy")


def test_an_application_that_refuses_to_start_is_an_error_and_not_a_hang() -> None:
    async def refuses(scope: dict[str, str], receive: Callable[..., object], send: Callable[..., object]) -> None:
        raise RuntimeError("no ledger")

    server = Server(refuses, "127.0.0.1:0", lifespan=True)
    with pytest.raises(ListenError, match="did not come up"):
        server.start()


def test_the_page_for_people_says_where_files_are() -> None:
    page = landing_page([], True, 0.0, files={"/var/lib/meterbridge/<x>.csv": "every line"})

    assert "<code>/var/lib/meterbridge/&lt;x&gt;.csv</code>: every line" in page


def test_fifty_scrapers_at_once_call_no_source_and_each_is_answered() -> None:
    source = w.StubSource("slurmctld", "lab", w.SLURM)
    job = w.slurm_job(1)
    source.says = Snapshot(0, jobs=(job,), claims=(w.slurm_claim(job, "gn01", 1000),), nodes=(w.slurm_node("gn01"),))
    collector = Collector([source], JoinSettings(ProjectMap.of([])))
    collector.poll_all()
    collector.join()
    server = Server(create_app(collector.page, collector.ready, collector.statuses), "127.0.0.1:0")
    server.start()

    def scrape(_: int) -> tuple[int, bytes]:
        answer = httpx2.get(f"{server.url}/metrics")
        return answer.status_code, answer.content

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(scrape, range(200)))
    server.stop()

    page = collector.page()
    assert page is not None
    assert {(200, page.body())} == set(answers)
    assert 1 == source.polls
