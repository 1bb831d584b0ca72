"""The listener as Prometheus sees it: the real one, scraping over plain HTTP, TLS and basic auth."""

from __future__ import annotations

from collections.abc import Iterator

import bcrypt
import httpx2
import pytest
import trustme

from demo.dcgm_text import render
from demo.fleet import Fleet, card_at_work
from exporters.exposition.family import Family
from exporters.exposition.page import Page
from exporters.exposition.reader import Reader
from exporters.exposition.writer import Writer
from exporters.http.server import Server, create_app
from tests.exporters.exposition import reference
from tests.lab.alertmanager import Alertmanager, Webhook, timestamp
from tests.lab.prometheus import Prometheus, check_metrics

HOSTILE = 'a"b\\c\nd}{=,# \u2028é\U0001f600'
FAMILIES = [
    Family(
        "meterbridge_job_gpu_seconds_total",
        'GPU-seconds held, "all" of them \\ in\ntwo lines.',
        "counter",
        ("scheduler", "cluster", "job_id"),
        [(("slurm", "hpc", "18"), 12_345_678.25), (("kubernetes", "prod", HOSTILE), 3.5)],
    ),
    Family("meterbridge_job_info", "Names.", "info", ("job_id", "name"), [(("18", HOSTILE), 1.0)]),
    Family("meterbridge_job_gpus", "Cards held.", "gauge", ("job_id",), [(("18",), 0.001), (("19",), float("nan"))]),
]
PAGE = Page(Writer().render(FAMILIES))


CARDS = [card_at_work("gn01", i, 1_790_000_000.0, load=0.5, tensor=0.25) for i in range(2)]


@pytest.fixture(scope="module")
def scraped(prometheus: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with jobs ``plain``, ``known`` and ``unknown`` (TLS, right and wrong password) and ``fleet``."""
    folder = tmp_path_factory.mktemp("web")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.crt")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (folder / "web.yml").write_text(
        f"tls_server_config: {{cert_file: server.crt, key_file: server.key}}\nbasic_auth_users: {{prom: {hashed}}}\n"
    )
    tls = {"tls_config": {"ca_file": str(folder / "ca.crt")}}
    app = create_app(lambda: PAGE, lambda: True)
    plain, guarded = (Server(app, "127.0.0.1:0", config) for config in (None, folder / "web.yml"))
    with Fleet(["gn01"], lambda _node, _at: CARDS) as fleet:
        for server in (plain, guarded):
            server.start()
        prometheus.scrape("plain", f"{plain.url}/metrics")
        for job, password in (("known", "secret"), ("unknown", "guess")):
            auth = {"username": "prom", "password": password}
            prometheus.scrape(job, f"{guarded.url}/metrics", **tls, basic_auth=auth)
        prometheus.scrape("fleet", fleet.targets[0])
        yield prometheus
        for job in ("plain", "known", "unknown", "fleet"):
            prometheus.forget(job)
        for server in (plain, guarded):
            server.stop()


@pytest.mark.server("prometheus")
def test_promtool_has_nothing_against_the_page() -> None:
    assert check_metrics(PAGE.body()) == []


@pytest.mark.server("prometheus")
def test_promtool_is_asked_at_all() -> None:
    assert check_metrics(b"# TYPE m_total gauge\nm_total 1\n")


@pytest.mark.server("prometheus")
def test_prometheus_reads_every_label_and_value_as_written(scraped: Prometheus) -> None:
    found = scraped.wait('meterbridge_job_gpu_seconds_total{job="plain"}')

    assert {("hpc", "18"): 12_345_678.25, ("prod", HOSTILE): 3.5} == {
        (labels["cluster"], labels["job_id"]): value for labels, value in found
    }
    assert [HOSTILE] == [labels["name"] for labels, _ in scraped.query('meterbridge_job_info{job="plain"}')]
    assert [0.001] == [v for labels, v in scraped.query('meterbridge_job_gpus{job="plain",job_id="18"}')]


@pytest.mark.server("prometheus")
def test_prometheus_reads_us_over_tls_with_the_right_password_only(scraped: Prometheus) -> None:
    scraped.wait('meterbridge_job_gpus{job="known",job_id="18"}')
    scraped.wait('up{job="unknown"} == 0')

    assert scraped.targets()["known"] == ("up", "")
    assert "401" in scraped.targets()["unknown"][1]


@pytest.mark.server("prometheus")
def test_prometheus_and_we_read_the_fleet_alike(scraped: Prometheus) -> None:
    found = scraped.wait('{job="fleet",UUID!=""}')
    ours = Reader().read(render("gn01", CARDS).encode()).samples()

    assert {(name, labels["UUID"]): value for name, labels, value, _ in ours} == {
        (labels["__name__"], labels["UUID"]): value for labels, value in found
    }


@pytest.mark.server("prometheus", "alertmanager")
def test_the_pages_of_real_exporters_are_read_as_prometheus_client_reads_them(
    prometheus: Prometheus, alertmanager: Alertmanager
) -> None:
    for url in (prometheus.url, alertmanager.url):
        text = httpx2.get(f"{url}/metrics").text
        reader = Reader()
        for _ in range(2):
            flat = [reference.flat(*sample) for sample in reader.read(text.encode()).samples()]

            assert reference.read(text) == flat
            assert len(flat) > 100


@pytest.mark.server("alertmanager")
def test_an_alert_reaches_the_webhook_and_so_does_its_end(alertmanager: Alertmanager, webhook: Webhook) -> None:
    labels = {"alertname": "RoceCongestion", "node": "gn01"}
    alertmanager.post([{"labels": labels, "startsAt": timestamp(-5), "endsAt": timestamp(60)}])
    fired = webhook.next()
    alertmanager.post([{"labels": labels, "startsAt": timestamp(-5), "endsAt": timestamp(-1)}])
    ended = webhook.next()

    assert [("firing", labels), ("resolved", labels)] == [
        (n["status"], n["alerts"][0]["labels"]) for n in (fired, ended)
    ]
