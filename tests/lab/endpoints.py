"""HTTP endpoints that misbehave in a chosen way, byte by byte, on one loopback port."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Endpoints:
    """Each path has an answer that writes raw bytes; ``hits`` counts requests and ``connections`` accepted sockets."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.answers = answers
        self.hits: list[str] = []
        self.connections = 0
        self.url = ""
        self._serving: set[asyncio.Task[None] | None] = set()  # one that hangs is referred to by nobody else

    def at(self, path: str) -> str:
        """The URL of one path."""
        return self.url + path

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._serving.add(asyncio.current_task())
        try:
            while line := await reader.readline():
                path = line.split()[1].decode()
                while (await reader.readline()).strip():
                    pass
                self.hits.append(path)
                await self.answers[path](writer)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client hung up, as it should on some of these, or the test is over
        finally:
            self._serving.discard(asyncio.current_task())
            writer.close()


@contextmanager
def serving(answers: dict[str, Answer], tls: ssl.SSLContext | None = None) -> Iterator[Endpoints]:
    """Serve while the block runs."""
    endpoints = Endpoints(answers)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def stop() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    starting = asyncio.start_server(endpoints.serve, "127.0.0.1", 0, ssl=tls)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result()
    endpoints.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield endpoints
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def says(body: bytes, status: str = "200 OK", headers: str = "") -> Answer:
    """A well-behaved answer with any body."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    return answer


def drips(body: bytes) -> Answer:
    """One byte at a time, a twentieth of a second apart, for as long as anybody listens."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        for byte in body * 100:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    return answer


def floods(chunk: bytes) -> Answer:
    """The same chunk without end."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()

    return answer


def breaks_off(body: bytes, promised: int) -> Answer:
    """Promises more bytes than it sends, and hangs up."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    return answer


async def hangs(_: asyncio.StreamWriter) -> None:
    """Takes the request and says nothing."""
    await asyncio.Event().wait()
