from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
import trustme

from exporters.http.connections import address, reason
from exporters.http.fetch import ClosedError, Fetcher, FetchError
from tests.lab.endpoints import breaks_off, drips, floods, hangs, says, serving
from tests.lab.ports import free


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    fetcher = Fetcher(timeout=0.5, concurrency=4, max_bytes=1000)
    yield fetcher
    fetcher.close()


@pytest.fixture
def patient() -> Iterator[Fetcher]:
    """Has time for whoever answers, on a busy machine too."""
    fetcher = Fetcher(timeout=2, concurrency=4, max_bytes=1000)
    yield fetcher
    fetcher.close()


def length(_: str, body: bytes) -> int:
    return len(body)


def test_a_round_answers_in_the_order_asked(fetcher: Fetcher) -> None:
    with serving({f"/{n}": says(b"x" * n) for n in range(20)}) as web:
        urls = [web.at(f"/{n}") for n in range(20)]

        assert [(url, n) for n, url in enumerate(urls)] == [(a.url, a.value) for a in fetcher.fetch(urls, length)]


def test_connections_are_kept_between_rounds_and_never_more_than_allowed(fetcher: Fetcher) -> None:
    with serving({"/a": says(b"x")}) as web:
        for _ in range(5):
            fetcher.fetch([web.at("/a")] * 12, length)

        assert len(web.hits) == 60
        assert web.connections <= 4


BAD = {
    "/drips": (drips(b"x"), "no whole answer within 2 s"),
    "/hangs": (hangs, "no whole answer within 2 s"),
    "/floods": (floods(b"x" * 600), "more than 1000 bytes, the limit"),
    "/large": (says(b"x" * 1001), "more than 1000 bytes, the limit"),
    "/cut": (breaks_off(b"x" * 10, promised=20), "the answer was cut short"),
    "/gone": (says(b"", "503 Service Unavailable"), "HTTP 503 Service Unavailable"),
    "/moved": (says(b"", "302 Found", "Location: /fine\r\n"), "HTTP 302 Found"),
    "/bomb": (says(b"\x1f\x8b", headers="Content-Encoding: gzip\r\n"), "a body in gzip, which was not asked for"),
}


def test_what_goes_wrong_at_one_endpoint_is_its_own_and_says_what(patient: Fetcher) -> None:
    with serving({path: answer for path, (answer, _) in BAD.items()} | {"/fine": says(b"xy")}) as web:
        urls = [web.at(path) for path in [*BAD, "/fine"]]
        expected = {web.at(path): error for path, (_, error) in BAD.items()} | {web.at("/fine"): ""}

        assert expected == {a.url: a.error for a in patient.fetch(urls, length)}


def test_an_endpoint_nobody_listens_on_says_so(fetcher: Fetcher) -> None:
    (answer,) = fetcher.fetch([f"http://127.0.0.1:{free()[0]}/metrics"], length)

    assert answer.error.startswith("cannot connect (")


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1/x"])
def test_what_is_no_url_says_so(fetcher: Fetcher, url: str) -> None:
    (answer,) = fetcher.fetch([url], length)

    assert answer.error


def test_dead_endpoints_come_last_in_the_next_round(fetcher: Fetcher) -> None:
    with serving({"/hangs": hangs, "/a": says(b"a"), "/b": says(b"b")}) as web:
        urls = [web.at("/hangs")] * 8 + [web.at("/a"), web.at("/b")]
        fetcher.fetch(urls, length)
        web.hits.clear()
        fetcher.fetch(urls, length)

        assert set(web.hits[:2]) == {"/a", "/b"}


def test_a_round_ends_when_its_time_is_over(fetcher: Fetcher) -> None:
    with serving({"/hangs": hangs}) as web:
        started = time.monotonic()
        answers = fetcher.fetch([web.at("/hangs")] * 100, length, within=0.2)

        assert time.monotonic() - started < 2
        assert {"not reached before the round's time was over"} == {a.error for a in answers}


def test_a_body_that_its_reader_refuses_is_that_endpoints_error(fetcher: Fetcher) -> None:
    def refuse(url: str, body: bytes) -> int:
        if body == b"bad":
            raise ValueError("not a page")
        if body == b"worse":
            raise FetchError("empty")
        return len(body)

    with serving({"/bad": says(b"bad"), "/worse": says(b"worse"), "/fine": says(b"f")}) as web:
        answers = fetcher.fetch([web.at("/bad"), web.at("/worse"), web.at("/fine")], refuse)

        assert [(None, "not a page"), (None, "empty"), (1, "")] == [(a.value, a.error) for a in answers]


def test_a_server_that_dropped_its_kept_connection_is_asked_again(fetcher: Fetcher) -> None:
    with serving({"/a": says(b"x", headers="Connection: close\r\n")}) as web:
        answers = [fetcher.fetch([web.at("/a")], length)[0].error for _ in range(3)]

        assert answers == ["", "", ""]


def test_closing_breaks_off_a_round_and_may_be_done_twice() -> None:
    fetcher = Fetcher(timeout=60)
    with serving({"/hangs": hangs}) as web:
        failed = []

        def poll() -> None:
            try:
                fetcher.fetch([web.at("/hangs")], length)
            except ClosedError:
                failed.append("closed")

        thread = threading.Thread(target=poll)
        thread.start()
        while not web.hits:
            time.sleep(0.01)
        fetcher.close()
        fetcher.close()
        thread.join(5)

        assert failed == ["closed"]
        with pytest.raises(ClosedError):
            fetcher.fetch([web.at("/hangs")], length)


def test_a_secret_header_is_sent_and_not_shown() -> None:
    fetcher = Fetcher(headers={"Authorization": "Bearer hush"})
    try:
        assert "hush" not in repr(fetcher)
    finally:
        fetcher.close()


def test_a_kept_connection_that_was_closed_since_is_replaced(fetcher: Fetcher) -> None:
    async def once(writer: asyncio.StreamWriter) -> None:
        await says(b"x")(writer)
        writer.close()  # without a word about it in the answer

    with serving({"/a": once}) as web:
        answers = [fetcher.fetch([web.at("/a")] * 3, length)[0].error for _ in range(5)]

        assert answers == [""] * 5


def test_connections_that_were_idle_for_too_long_are_closed() -> None:
    fetcher = Fetcher(keep_alive=0.0)
    try:
        with serving({"/a": says(b"x")}) as web:
            for _ in range(3):
                fetcher.fetch([web.at("/a")], length)

            assert web.connections == 3
    finally:
        fetcher.close()


def test_an_address_is_whom_to_ask_and_the_request() -> None:
    asked = address("https://gn01.example/metrics?a=%20b", {"Accept": "text/plain"})
    expected = b"GET /metrics?a=%20b HTTP/1.1\r\nHost: gn01.example\r\nAccept: text/plain\r\n\r\n"

    assert ((True, "gn01.example", 443), expected) == (asked.origin, asked.request)
    assert (False, "::1", 9400) == address("http://[::1]:9400/metrics", {}).origin
    assert b"\r\nHost: [::1]:9400\r\n" in address("http://[::1]:9400/metrics", {}).request


def test_a_user_in_a_url_is_sent_as_basic_authorization_and_not_shown() -> None:
    asked = address("http://reader:hu%40sh@gn01:9400/metrics", {})

    assert b"\r\nHost: gn01:9400\r\nAuthorization: Basic cmVhZGVyOmh1QHNo\r\n" in asked.request
    assert "cmVh" not in repr(asked)
    assert b"Authorization: mine" in address("http://a:b@gn01/", {"Authorization": "mine"}).request


def test_a_header_that_breaks_its_line_is_refused() -> None:
    with pytest.raises(ValueError, match="the header Authorization has a line break in it"):
        Fetcher(headers={"Authorization": "Bearer hush\n"})


def test_a_fault_over_one_page_is_that_pages_and_the_round_goes_on(fetcher: Fetcher) -> None:
    def fails(_: str, body: bytes) -> int:
        if body == b"x":
            raise KeyError(len(body))
        return len(body)

    with serving({"/a": says(b"x"), "/b": says(b"yy")}) as web:
        broken, fine = fetcher.fetch([web.at("/a"), web.at("/b")], fails)

    assert (None, "its page cannot be read: KeyError: 1") == (broken.value, broken.error)
    assert (2, "") == (fine.value, fine.error)


def test_endpoints_behind_tls_are_read_by_those_who_trust_them() -> None:
    authority = trustme.CA()
    served, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.configure_trust(trusting)
    body = b"x" * 1_000_000
    with serving({"/a": says(body)}, served) as web:
        answers = []
        for fetcher in (Fetcher(tls=trusting), Fetcher()):
            for _ in range(2):
                answers += fetcher.fetch([web.at("/a")], lambda _, body: body)
            fetcher.close()

        assert [body, body, None, None] == [a.value for a in answers]
        assert "cannot connect (certificate: unable to get local issuer certificate)" == answers[-1].error


def test_an_endpoint_that_hangs_up_at_once_says_so_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            for _ in range(20):
                server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        fetcher = Fetcher(timeout=30)
        answers = fetcher.fetch([f"http://127.0.0.1:{server.getsockname()[1]}/"] * 20, length)
        fetcher.close()
        thread.join()

    assert {"the connection ended without an answer", "the connection broke (Connection reset by peer)"} >= {
        a.error for a in answers
    }


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 9400)"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ValueError("no such thing"), "no such thing"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_reason_is_told_without_the_address(error: Exception, why: str) -> None:
    assert why == reason(error)
