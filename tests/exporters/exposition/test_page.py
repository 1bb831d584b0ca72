from __future__ import annotations

import gzip
import threading

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporters.exposition import page as page_module
from exporters.exposition.family import Family
from exporters.exposition.negotiate import Form, accepts_gzip, choose_form
from exporters.exposition.page import Page, registry_block
from exporters.exposition.writer import Writer
from tests.exporters.exposition import reference

FAMILIES = [
    Family("meterbridge_job_gpu_seconds_total", 'Held, "all" of them.', "counter", ("job_id",), [(("18",), 7200.0)]),
    Family("meterbridge_job_info", "Names.", "info", ("job_id", "name"), [(("18", 'a"b\n'), 1.0)]),
]
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, Form.TEXT),
        ("", Form.TEXT),
        ("*/*", Form.TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Form.TEXT),
        (PROMETHEUS_2, Form.OPENMETRICS),
        (PROMETHEUS_3, Form.OPENMETRICS),
        ("application/openmetrics-text", Form.OPENMETRICS),
        ("application/openmetrics-text; version=0.0.1", Form.TEXT),
        ("application/openmetrics-text; version=2.0.0, text/plain;q=0.5", Form.TEXT),
        ("application/openmetrics-text;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.9", Form.TEXT),
        ("application/openmetrics-text;q=0", Form.TEXT),
        ("application/openmetrics-text;q=nonsense", Form.TEXT),
        ("image/png;;=,", Form.TEXT),
    ],
)
def test_a_scraper_gets_the_form_it_prefers(accept: str | None, form: Form) -> None:
    assert form is choose_form(accept)


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("identity", False),
        ("br, gzip;q=1.0, *;q=0", True),
    ],
)
def test_gzip_is_used_where_it_is_accepted(header: str | None, allowed: bool) -> None:
    assert allowed == accepts_gzip(header)


def test_a_page_is_the_same_in_every_form_prometheus_client_writes() -> None:
    page = Page(Writer().render(FAMILIES))

    assert reference.text(FAMILIES) == page.body(Form.TEXT)
    assert reference.openmetrics(FAMILIES) == page.body(Form.OPENMETRICS)
    for form in Form:
        assert page.body(form) == gzip.decompress(page.body(form, compressed=True))


def test_the_same_round_is_compressed_to_the_same_bytes() -> None:
    first, second = (Page(Writer().render(FAMILIES)).body(compressed=True) for _ in range(2))

    assert first == second
    assert first[4:8] == bytes(4)  # gzip's time stamp


def test_fifty_scrapers_at_once_cost_one_compression(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    everybody_asked = threading.Event()

    def packer(*settings: int) -> object:
        calls.append(1)
        everybody_asked.wait(10)
        return compressobj(*settings)

    compressobj = page_module.isal_zlib.compressobj
    monkeypatch.setattr(page_module.isal_zlib, "compressobj", packer)
    page = Page(Writer().render(FAMILIES))
    threads = [threading.Thread(target=page.body, args=(Form.OPENMETRICS, True)) for _ in range(50)]
    for thread in threads:
        thread.start()
    everybody_asked.set()
    for thread in threads:
        thread.join()

    assert len(calls) == 1


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_form_is_there_once_somebody_has_asked_for_it(form: Form, compressed: bool) -> None:
    page = Page(Writer().render(FAMILIES))

    assert page.ready(form, compressed) is None
    assert page.body(form, compressed) is page.body(form, compressed) is page.ready(form, compressed)


def test_the_size_of_a_page_is_known_before_anybody_asks() -> None:
    page = Page(Writer().render(FAMILIES))

    assert page.size == len(page.body())


def test_the_exporters_own_registry_is_part_of_the_page() -> None:
    registry = CollectorRegistry()
    Gauge("meterbridge_build", "Own.", registry=registry).set(1)
    Counter("meterbridge_rounds", "Own.", registry=registry).inc()
    page = Page([*Writer().render(FAMILIES), registry_block(registry)])

    assert reference.text(FAMILIES) + generate_latest(registry) == page.body()
    assert reference.openmetrics(FAMILIES).removesuffix(b"# EOF\n") + generate_openmetrics(registry) == page.body(
        Form.OPENMETRICS
    )
