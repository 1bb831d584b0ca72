"""Answers taken apart: whole at any cut, refused where they hold no page, and the same bytes as aiohttp's."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import pytest
from aiohttp import ClientError, ClientSession
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.http.fetch import Fetcher
from exporters.http.http_answer import HEAD_BYTES, FetchError, HttpAnswer
from tests.lab.endpoints import serving

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Took(NamedTuple):
    """What became of an answer."""

    body: bytes
    keeps: bool


def take(wire: bytes, cuts: tuple[int, ...] = (), limit: int = 1000, *, ends: bool = False) -> Took:
    """The answer, fed in pieces through one buffer that is overwritten each time, as a connection does."""
    answer, buffer = HttpAnswer(limit), bytearray(len(wire))
    for start, end in zip((0, *cuts), (*cuts, len(wire)), strict=True):
        buffer[: end - start] = wire[start:end]
        answer.feed(buffer, end - start)
        buffer[:] = b"\xff" * len(buffer)
    if ends and not answer.whole:
        answer.ended()

    assert answer.whole
    return Took(answer.body, answer.keeps)


WHOLE = {
    "length": (OK + b"Content-Length: 5\r\n\r\nhello", Took(b"hello", True)),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", Took(b"", True)),
    "chunked": (CHUNKED + b"3\r\nhel\r\n002\r\nlo\r\n0\r\n\r\n", Took(b"hello", True)),
    "extensions": (CHUNKED + b'3;a=b;c="d"\r\nhel\r\n2\r\nlo\r\n0;last\r\n\r\n', Took(b"hello", True)),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nDigest: 1\r\nMore: 2\r\n\r\n", Took(b"hello", True)),
    "body like a chunk": (CHUNKED + b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", Took(b"0\r\n\r\n\r\n", True)),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        + OK
        + b"content-length:5\r\n\r\nhello",
        Took(b"hello", True),
    ),
    "closing": (OK + b"Connection: Close\r\nContent-Length: 5\r\n\r\nhello", Took(b"hello", False)),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Took(b"hello", False)),
    "1.0 kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", Took(b"hello", True)),
    "another answer": (2 * (OK + b"Content-Length: 5\r\n\r\nhello"), Took(b"hello", False)),
    "more than was said": (OK + b"Content-Length: 5\r\n\r\nhello you", Took(b"hello", False)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_is_whole_however_it_is_cut(name: str) -> None:
    wire, expected = WHOLE[name]

    assert expected == take(wire)
    for cut in range(1, len(wire)):
        assert expected == take(wire, (cut,)), cut
    assert expected == take(wire, tuple(range(1, len(wire))))


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    wire = OK + b"Content-Type: text/plain\r\n\r\nhello"

    assert {Took(b"hello", False)} == {take(wire, (cut,), ends=True) for cut in range(1, len(wire))}


REFUSED = {
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP/1.1: Expected HTTP/, RTSP/ or ICE/"),
    "HTTP/2": (b"HTTP/2 200 OK\r\n\r\n", "not HTTP/1.1: Expected dot"),
    "error": (b"HTTP/1.1 503 Busy here\r\nContent-Length: 0\r\n\r\n", "HTTP 503 Busy here"),
    "no words": (b"HTTP/1.1 404 \r\n\r\n", "HTTP 404"),
    "moved": (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", "HTTP 302 Found"),
    "switched": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP 101 Switching Protocols"),
    "packed": (OK + b"Content-Encoding: GZIP\r\nContent-Length: 5\r\n\r\n", "a body in gzip, which was not asked for"),
    "long": (OK + b"Content-Length: 1001\r\n\r\n", "more than 1000 bytes, the limit"),
    "long chunk": (CHUNKED + b"3e9\r\n" + b"x" * 1001, "more than 1000 bytes, the limit"),
    "long chunks": (CHUNKED + b"3E8\r\n" + b"x" * 1000 + b"\r\n1\r\ny", "more than 1000 bytes, the limit"),
    "endless": (OK + b"\r\n" + b"x" * 1001, "more than 1000 bytes, the limit"),
    "bad length": (OK + b"Content-Length: -1\r\n\r\n", "not HTTP/1.1: Invalid character in Content-Length"),
    "two lengths": (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "not HTTP/1.1: Duplicate Content-Length"),
    "both": (
        CHUNKED[:-2] + b"Content-Length: 1\r\n\r\n",
        "not HTTP/1.1: Content-Length can't be present with Transfer-Encoding",
    ),
    "coded twice": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "a transfer in 'gzip, chunked'"),
    "no header": (OK + b"Content Length: 1\r\n\r\n", "not HTTP/1.1: Invalid header token"),
    "bad size": (CHUNKED + b"0x5\r\nhello", "not HTTP/1.1: Invalid character in chunk size"),
    "no size": (CHUNKED + b"\r\n", "not HTTP/1.1: Invalid character in chunk size"),
    "no end of chunk": (CHUNKED + b"5\r\nhello!\r\n", "not HTTP/1.1: Expected LF after chunk data"),
    "many headers": (OK + b"X: more\r\n" * 20_000, f"headers of more than {HEAD_BYTES} bytes"),
    "many trailers": (CHUNKED + b"0\r\n" + b"X: more\r\n" * 20_000, f"trailers of more than {HEAD_BYTES} bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_page_is_refused_with_a_reason(name: str) -> None:
    wire, expected = REFUSED[name]
    step = max(1, len(wire) // 100)

    for cuts in ((), tuple(range(step, len(wire), step))):
        with pytest.raises(FetchError) as error:
            take(wire, cuts)
        assert expected == str(error.value)


@pytest.mark.parametrize("wire", [OK + b"X: ", OK, CHUNKED + b"1;", CHUNKED + b"0\r\nX: "])
def test_what_goes_on_without_saying_anything_is_given_up(wire: bytes) -> None:
    answer, fed = HttpAnswer(1000), 0
    answer.feed(wire, len(wire))
    with suppress(FetchError):
        while fed < 1 << 20:
            answer.feed(b"x" * 1000, 1000)
            fed += 1000

    assert HEAD_BYTES - 2000 < fed <= HEAD_BYTES
    with pytest.raises(FetchError, match="cut short"):
        answer.ended()


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"", "the connection ended without an answer"),
        (OK, "the answer was cut short"),
        (OK + b"Content-Length: 5\r\n\r\nhell", "the answer was cut short"),
        (CHUNKED + b"5\r\nhello\r\n", "the answer was cut short"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", "the answer was cut short"),
    ],
)
def test_a_connection_that_ends_too_early_says_so(wire: bytes, expected: str) -> None:
    answer = HttpAnswer(1000)
    if wire:
        answer.feed(wire, len(wire))

    with pytest.raises(FetchError, match=expected):
        answer.ended()


@pytest.mark.parametrize("wire", [WHOLE["length"][0], CHUNKED + b"zz\r\n", CHUNKED + b"3e8\r\n" + b"x" * 1000])
def test_an_answer_is_gone_with_its_last_owner(wire: bytes) -> None:
    answer = HttpAnswer(1000)
    with suppress(FetchError):
        answer.feed(wire, len(wire))
        answer.ended()
    gone = weakref.ref(answer)
    gc.disable()
    try:
        del answer

        assert gone() is None
    finally:
        gc.enable()


# -- the same bytes as aiohttp's --------------------------------------------------------------------------------------

BODY = st.binary(max_size=300)
NAMES = st.sampled_from(["Date", "Content-Type", "X-Any", "Server"])
HEADERS = st.lists(st.tuples(NAMES, st.text("abc;=/, 019", max_size=12).map(str.strip)), max_size=4)


def by_length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def to_the_end(body: bytes) -> bytes:
    return b"Connection: close\r\n\r\n" + body


@st.composite
def in_chunks(draw: st.DrawFn, body: bytes) -> bytes:
    wire, at = b"Transfer-Encoding: chunked\r\n\r\n", 0
    while at < len(body):
        size = draw(st.integers(1, len(body) - at))
        wire += b"%x%b\r\n%b\r\n" % (size, draw(st.sampled_from([b"", b";a=b"])), body[at : at + size])
        at += size
    return wire + b"0\r\n" + draw(st.sampled_from([b"", b"Digest: 1\r\n"])) + b"\r\n"


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A valid answer of any form."""
    body = draw(BODY)
    framed = draw(st.one_of(st.just(by_length(body)), st.just(to_the_end(body)), in_chunks(body)))
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    return interim + OK + b"".join(f"{n}: {v}\r\n".encode() for n, v in draw(HEADERS)) + framed


async def serve_once(wire: bytes, ask: Callable[[str], object]) -> object:
    """What asking gives, of a server that sends these bytes and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(wire)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        return await asyncio.to_thread(ask, url)
    finally:
        server.close()


def ours(url: str) -> bytes | None:
    fetcher = Fetcher(timeout=5, max_bytes=10_000)
    try:
        return fetcher.fetch([url], lambda _, body: body)[0].value
    finally:
        fetcher.close()


def theirs(url: str) -> bytes | None:
    async def ask() -> bytes | None:
        async with ClientSession() as session:
            try:
                async with session.get(url) as answer:
                    return await answer.read()
            except ClientError:
                return None

    return asyncio.run(ask())


@settings(max_examples=25, deadline=None)
@given(answers())
def test_the_bytes_are_those_that_aiohttp_reads(wire: bytes) -> None:
    expected = asyncio.run(serve_once(wire, theirs))

    assert expected is not None
    assert expected == asyncio.run(serve_once(wire, ours))


@settings(max_examples=150, deadline=None)
@given(answers(), st.data())
def test_an_answer_is_the_same_in_any_pieces(wire: bytes, data: st.DataObject) -> None:
    cuts = tuple(sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=6))))

    assert take(wire, ends=True) == take(wire, cuts, ends=True)


@settings(max_examples=150, deadline=None)
@given(answers(), st.data())
def test_a_broken_answer_is_whole_waits_or_is_refused_and_keeps_little(wire: bytes, data: st.DataObject) -> None:
    at, byte = data.draw(st.integers(0, len(wire) - 1)), data.draw(st.integers(0, 255))
    broken = wire[:at] + bytes([byte]) + wire[at + 1 :]
    answer = HttpAnswer(1000)
    with suppress(FetchError):
        answer.feed(broken, len(broken))
        answer.ended()

    assert len(answer.body) <= 1000


def test_an_endpoint_that_talks_nonsense_is_asked_on_a_new_connection_each_time() -> None:
    async def garbage(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")

    with serving({"/a": garbage}) as web:
        fetcher = Fetcher(concurrency=4)
        try:
            answers = fetcher.fetch([web.at("/a")] * 20, lambda _, body: body)
        finally:
            fetcher.close()

    assert web.connections == 20
    assert {"not HTTP/1.1: Invalid character in Content-Length"} == {answer.error for answer in answers}
