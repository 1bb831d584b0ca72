"""Many endpoints: their turns within a round, how each does, and the page that names them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest

from exporters.http.fetch import Fetcher, phase
from exporters.http.targets_page import targets_page
from exporters.sources.devices.fanout import PACE, Fanout, Kind, together
from exporters.status import Target
from tests.lab.endpoints import Endpoints, says, serving


@dataclass
class Told:
    """What one endpoint served, as short as it gets."""

    body: bytes
    bad: list[tuple[int, str]] = field(default_factory=list)


class Reads:
    """An endpoint's memory."""

    def read(self, body: bytes, now: float) -> Told:  # noqa: ARG002
        return Told(body)


def fanout(endpoints: Endpoints, paths: list[str], **more: object) -> Fanout[Told]:
    kinds = [Kind("thing", "things.targets", lambda *_: Reads(), [endpoints.at(p) for p in paths])]
    settings: dict[str, object] = {"interval": 15.0, "timeout": 2.0, "concurrency": 64, "max_bytes": 1000}
    return Fanout("things", kinds, **{**settings, **more})  # type: ignore[arg-type]


class Unsearched(list[str]):
    """A list too long to look anything up in it: that is a comparison per entry, and so per pair of entries."""

    def __contains__(self, _: object) -> bool:
        raise AssertionError("one endpoint is looked for among all")


def test_the_endpoints_of_a_fleet_are_not_searched_one_for_another() -> None:
    with serving({"/1": says(b"1\n")}) as endpoints:
        kind = Kind("thing", "things.targets", lambda *_: Reads(), Unsearched([endpoints.at("/1")]))
        things: Fanout[Told] = Fanout("things", [kind], interval=15.0, timeout=2.0, concurrency=64, max_bytes=1000)
        try:
            things.read(1000.0)
        finally:
            things.close()

        assert [(endpoints.at("/1"), "listed")] == [(t.url, t.found) for t in things.targets()]


def test_turns_are_spread_evenly_and_stay_what_they_are() -> None:
    phases = [phase(f"http://gn{n:04d}:9400/metrics") for n in range(1000)]
    tenths = [sum(1 for p in phases if n / 10 <= p < (n + 1) / 10) for n in range(10)]

    assert all(70 <= count <= 130 for count in tenths), tenths
    assert 0.28 == round(phase("http://gn0001:9400/metrics"), 2)


def test_each_endpoint_has_its_turn_within_the_spread() -> None:
    at: dict[str, float] = {}
    paths = [f"/{n}" for n in range(20)]
    with serving({path: says(b"1\n") for path in paths}) as endpoints:
        fetcher = Fetcher()
        try:
            urls = [endpoints.at(p) for p in paths]
            began = time.monotonic()
            fetcher.fetch(urls, lambda url, _: at.setdefault(url, time.monotonic() - began), spread=0.5)
        finally:
            fetcher.close()

    assert all(phase(url) * 0.5 <= seconds for url, seconds in at.items())
    assert min(urls, key=phase) == min(at, key=lambda url: at[url])


def test_few_endpoints_are_asked_at_once_and_many_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    spreads = []
    fetch = Fetcher.fetch

    def spy(self: Fetcher, *arguments: object, spread: float = 0.0, **more: object) -> object:
        spreads.append(spread)
        return fetch(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Fetcher, "fetch", spy)
    paths = [f"/{n}" for n in range(8)]
    with serving({path: says(b"1\n") for path in paths}) as endpoints:
        for concurrency in (8, 4):
            many = fanout(endpoints, paths, concurrency=concurrency)
            many.read(1.0)
            many.close()

    assert [0.0, 8 * PACE] == spreads


def test_how_each_endpoint_did_is_remembered() -> None:
    with serving({"/good": says(b"12345\n"), "/bad": says(b"", "500 Oops")}) as endpoints:
        both = fanout(endpoints, ["/good", "/bad"])
        both.read(100.0)
        good, bad = sorted(both.targets(), key=lambda t: t.error)
        endpoints.answers["/good"] = says(b"", "503 Busy")
        endpoints.answers["/bad"] = says(b"1\n")
        both.read(115.0)
        both.close()
        later = {t.url: t for t in both.targets()}

    assert ("listed", 6) == (good.found, good.size)
    assert (100.0, "HTTP 503 Busy") == (later[endpoints.at("/good")].last_success, later[endpoints.at("/good")].error)
    assert (115.0, "") == (later[endpoints.at("/bad")].last_success, later[endpoints.at("/bad")].error)
    assert endpoints.at("/bad") == bad.url


def test_the_page_names_the_failing_ones_first_and_escapes_what_they_say() -> None:
    targets = [
        Target("http://a:1/metrics", "listed", 90.0, 0.012, 2048, ""),
        Target("http://b:1/metrics", "discovered", 0.0, 0.0, 0, "<script>"),
    ]
    page = targets_page([("dcgm", targets)], 100.0)

    assert page.index("http://b:1") < page.index("http://a:1")
    assert "1 read, 1 not." in page
    assert "<script>" not in page
    assert "10 s ago" in page
    assert "never" in page


def test_without_endpoints_the_page_says_so() -> None:
    assert "No source reads endpoints." in targets_page([], 1.0)


def test_several_ways_of_discovery_are_one() -> None:
    both = together([lambda: ["http://a:1/metrics", "http://b:1/metrics"], lambda: {"http://b:1/metrics": "gn01"}])

    assert {"http://a:1/metrics": "", "http://b:1/metrics": "gn01"} == both()
