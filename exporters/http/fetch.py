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
from dataclasses import replace
from hashlib import blake2b
from operator import itemgetter
from typing import Any, TypeVar

from exporters.http.connections import Address, Connections, address
from exporters.http.fetch_round import Answer, Asked, Bounds, FetchRound
from exporters.http.http_answer import FetchError
from exporters.stages import Stages

__all__ = ["Answer", "ClosedError", "FetchError", "Fetcher", "phase"]

T = TypeVar("T")

_HEADERS = {
    "Accept": "text/plain;version=0.0.4",
    "Accept-Encoding": "identity",  # dcgm-exporter does not compress, and what is not unpacked cannot be a bomb
    "User-Agent": "meterbridge",
}

_ADDRESSES = 100_000
"""URLs that are remembered taken apart."""


class ClosedError(Exception):
    """The fetcher was closed while a round was under way."""


class Fetcher:
    """Fetches rounds of URLs on a thread and an event loop of its own, which keep connections alive between rounds.

    ``timeout`` is seconds for one endpoint from connecting to its last byte; ``max_bytes`` the most its body may have;
    ``concurrency`` how many are read at once. Endpoints that failed in the last round come last in the next, so that
    dead ones never stand in the way of live ones. ``headers`` may hold a secret and are never shown; raises ValueError
    for one that breaks its line.
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
        self._bounds = Bounds(timeout, None, concurrency, max_bytes)
        self._headers = {**_HEADERS, **(headers or {})}
        for name, value in self._headers.items():
            if not {"\r", "\n", "\0"}.isdisjoint(name + value):
                raise ValueError(f"the header {name} has a line break in it")
        self._connections = Connections(keep_alive, tls)
        self._failed: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self.stages = Stages()
        self._addresses: dict[str, Address] = {}

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

        ``handle`` turns a body into a value, on the fetcher's thread; what it raises becomes the answer's
        error. ``within`` is seconds for the whole round: what was not reached by then is an error too.
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
        cpu = time.thread_time()
        self._connections.sweep(asyncio.get_running_loop().time())
        dues = [spread * phase(url) if spread else 0.0 for url in urls]
        order = sorted(range(len(urls)), key=lambda n: (dues[n], urls[n] in self._failed))
        asked = [Asked(urls[n], self._address(urls[n]), dues[n]) for n in order]
        round_ = FetchRound(self._connections, asked, handle, replace(self._bounds, within=within))
        found = await round_.run()
        size = sum(answer.size for answer in found)
        self.stages.add("fetch", time.thread_time() - cpu - round_.read_seconds, size)
        self.stages.add("read", round_.read_seconds, size)
        return [answer for _, answer in sorted(zip(order, found, strict=True), key=itemgetter(0))]

    def _address(self, url: str) -> Address | FetchError:
        """A URL, taken apart once."""
        found = self._addresses.get(url)
        if found is None:
            try:
                found = address(url, self._headers)
            except FetchError as error:
                return error
            if len(self._addresses) > _ADDRESSES:
                self._addresses.clear()
            self._addresses[url] = found
        return found

    async def _shut_down(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._connections.close()


def phase(url: str) -> float:
    """Where in a round an endpoint has its turn, 0 to 1: spread evenly, and the same in every round and process.

    >>> 0 <= phase("http://gn01:9400/metrics") < 1
    True
    """
    return int.from_bytes(blake2b(url.encode(), digest_size=4).digest()) / 2**32
