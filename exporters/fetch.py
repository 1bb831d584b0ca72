"""Many small HTTP endpoints, read in one round: keep-alive, bounded, and no endpoint can hold up another.

What an endpoint can cost is limited on every side: seconds, bytes, and connections. Bodies are handed to the caller's
function one by one as they arrive, so that a round never holds them all.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import aiohttp
from yarl import URL

from exporters.stages import Stages

T = TypeVar("T")

_HEADERS = {
    "Accept": "text/plain;version=0.0.4",
    "Accept-Encoding": "identity",  # dcgm-exporter does not compress, and what is not unpacked cannot be a bomb
    "User-Agent": "meterbridge",
}


_BUFFER = 1 << 20
"""Bytes of one answer that may lie unread: most pages arrive whole, without stopping the sender in between."""
_ADDRESSES = 100_000
"""URLs that are remembered taken apart."""


class FetchError(Exception):
    """One endpoint could not be read. The message is the reason alone, so that equal reasons can be counted."""


class ClosedError(Exception):
    """The fetcher was closed while a round was under way."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What came of one endpoint: ``value``, or ``error`` when that is not empty.

    ``seconds`` is from its turn to its value, ``size`` the bytes of its body.
    """

    url: str
    value: T | None = None
    error: str = ""
    seconds: float = 0.0
    size: int = 0


class Fetcher:
    """Fetches rounds of URLs on a thread and an event loop of its own, which keep connections alive between rounds.

    ``timeout`` is seconds for one endpoint from connecting to its last byte; ``max_bytes`` the most its body may have;
    ``concurrency`` how many are read at once. Endpoints that failed in the last round come last in the next, so that
    dead ones never stand in the way of live ones. ``headers`` may hold a secret and are never shown.
    """

    def __init__(
        self,
        *,
        timeout: float = 5.0,
        concurrency: int = 64,
        max_bytes: int = 16 << 20,
        keep_alive: float = 75.0,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout = timeout
        self._concurrency = concurrency
        self._max_bytes = max_bytes
        self._keep_alive = keep_alive
        self._headers = {**_HEADERS, **(headers or {})}
        self._tls = tls
        self._failed: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self.stages = Stages()
        self._addresses: dict[str, URL] = {}

    def fetch(
        self,
        urls: Sequence[str],
        handle: Callable[[str, bytes], T],
        within: float | None = None,
        spread: float = 0.0,
    ) -> list[Answer[T]]:
        """One round: an answer per URL, in the order given.

        Each endpoint has a moment of its own within ``spread`` seconds from the round's beginning, the same in every
        round: many endpoints never burst, and each is read at a steady interval.

        ``handle`` turns a body into a value, on the fetcher's thread; a FetchError or ValueError of it becomes the
        answer's error. ``within`` is seconds for the whole round: what was not reached by then is an error too.
        Raises `ClosedError` after or during `close`.
        """
        try:
            with self._lock:
                if self._closed:
                    raise ClosedError
                future = self._submit(self._fetch_all(urls, handle, within, spread))
            answers = future.result()
        except CancelledError:
            raise ClosedError from None
        self._failed = frozenset(answer.url for answer in answers if answer.error)
        return answers

    def close(self) -> None:
        """Break off a round under way, close the connections, end the thread. Safe to call twice, from any thread."""
        with self._lock:
            self._closed = True
            loop, thread, self._loop = self._loop, self._thread, None
            if loop is None or thread is None:
                return
            asyncio.run_coroutine_threadsafe(self._shut_down(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="fetch", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _fetch_all(
        self, urls: Sequence[str], handle: Callable[[str, bytes], T], within: float | None, spread: float
    ) -> list[Answer[T]]:
        session = self._session = self._session or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=self._keep_alive),  # a semaphore limits
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers=self._headers,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_BUFFER,
        )
        free = asyncio.Semaphore(self._concurrency)
        clock = asyncio.get_running_loop().time
        end = None if within is None else clock() + within
        order = sorted(range(len(urls)), key=lambda i: urls[i] in self._failed)
        answers: list[Answer[T]] = [Answer(url) for url in urls]
        cpu, before = time.thread_time(), self.stages.seconds["read"]

        async def one(i: int) -> None:
            began = clock()
            try:
                async with asyncio.timeout_at(end):
                    if spread:
                        await asyncio.sleep(spread * phase(urls[i]))
                    async with free:
                        began = clock()
                        body = await self._get(session, urls[i])
                    with self.stages.timed("read"):
                        value = handle(urls[i], body)
                    answers[i] = Answer(urls[i], value, "", clock() - began, len(body))
            except (FetchError, ValueError) as error:
                answers[i] = Answer(urls[i], error=str(error) or type(error).__name__, seconds=clock() - began)
            except TimeoutError:
                answers[i] = Answer(urls[i], error="not reached before the round's time was over")

        async with asyncio.TaskGroup() as tasks:
            for i in order:
                tasks.create_task(one(i))
        size = sum(answer.size for answer in answers)
        self.stages.add("fetch", time.thread_time() - cpu - (self.stages.seconds["read"] - before), size)
        self.stages.add("read", 0.0, size)
        return answers

    async def _get(self, session: aiohttp.ClientSession, url: str) -> bytes:
        try:
            async with session.get(self._address(url), allow_redirects=False, ssl=self._tls or True) as response:
                if response.status != 200:
                    raise FetchError(f"HTTP {response.status} {response.reason or ''}".strip())
                encoding = response.headers.get("Content-Encoding", "identity")
                if encoding != "identity":
                    raise FetchError(f"a body in {encoding}, which was not asked for")
                return await self._body(response)
        except TimeoutError as error:
            raise FetchError(f"no whole answer within {self._timeout:g} s") from error
        except aiohttp.ClientPayloadError as error:
            raise FetchError("the answer was cut short") from error
        except aiohttp.InvalidURL as error:
            raise FetchError("not a URL") from error
        except aiohttp.ClientConnectorError as error:
            raise FetchError(f"cannot connect ({error.os_error.strerror or error.os_error})") from error
        except aiohttp.ClientError as error:
            raise FetchError(f"{type(error).__name__}: {error}".removesuffix(": ")) from error

    def _address(self, url: str) -> URL:
        """A URL, taken apart once. Raises `aiohttp.InvalidURL`."""
        found = self._addresses.get(url)
        if found is None:
            try:
                found = URL(url)
            except ValueError as error:
                raise aiohttp.InvalidURL(url) from error
            if len(self._addresses) > _ADDRESSES:
                self._addresses.clear()
            self._addresses[url] = found
        return found

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        chunks = []
        size = response.content_length or 0
        if size <= self._max_bytes:
            size = 0
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                size += len(chunk)
                if size > self._max_bytes:
                    break
        if size > self._max_bytes:
            response.close()
            raise FetchError(f"more than {self._max_bytes} bytes, the limit")
        return b"".join(chunks)

    async def _shut_down(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


def phase(url: str) -> float:
    """Where in a round an endpoint has its turn, 0 to 1: spread evenly, and the same in every round and process.

    >>> 0 <= phase("http://gn01:9400/metrics") < 1
    True
    """
    return int.from_bytes(blake2b(url.encode(), digest_size=4).digest()) / 2**32
