"""One connection of a listener, with deadlines: a request comes whole and soon, an answer is taken, or it is over."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from exporters.http.accepting import Accepting
from exporters.http.bounds import Bounds


def bounded_protocol(bounds: Bounds, accepting: Callable[[], Accepting | None]) -> type[HttpToolsProtocol]:
    """Uvicorn's protocol within ``bounds``; ``accepting`` is the socket that its connections come from."""

    class Bounded(_Bounded):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            listener, connection = accepting(), transport.get_extra_info("socket")
            if listener is not None and connection is not None:
                listener.opened(connection.fileno(), self)

    Bounded.bounds = bounds
    return Bounded


class _Bounded(HttpToolsProtocol):
    bounds: Bounds

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._head: int | None = None  # bytes of the headers that are being read; None: none are
        self._receiving = False  # a body

    @property
    def busy(self) -> bool:
        """Whether a whole request is there and its answer is on its way."""
        return self._answering and not self._receiving and self._stalled is None

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # What the transport says

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._within(self.bounds.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        self._stall_is_over()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and not self._answering:
            self._within(self.bounds.head_seconds, self._too_slow)
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > self.bounds.head_bytes:
                self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_begins()

    def resume_writing(self) -> None:
        self._stall_is_over()
        super().resume_writing()

    # What the parser says

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head, self._receiving = None, True
        self._within(self.bounds.body_seconds, self.abort)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._receiving = False
        self._in_time()
        super().on_message_complete()

    # What the answer says

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._head is not None:  # the next request began while this one was answered
            self._within(self.bounds.head_seconds, self._too_slow)
        if self.transport.get_write_buffer_size():  # what is left of it may be less than makes writing pause
            self._stall_begins()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size():  # closing waits for the reader, for as long as he likes
            self.transport.abort()

    # Deadlines

    def _within(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self._in_time()
        self._deadline = self.loop.call_later(seconds, otherwise)

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stall_begins(self) -> None:
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.bounds.stall_seconds, self._stall)

    def _stall(self) -> None:
        self._stalled = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _stall_is_over(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _too_slow(self) -> None:
        if self._head is None:
            self.transport.close()  # nobody asked anything
        else:
            self._refuse(http.HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: http.HTTPStatus) -> None:
        self._head = None
        if self.transport.is_closing():
            return
        said = f"{status.phrase}\n".encode()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        self.transport.write(f"{head}Content-Length: {len(said)}\r\nConnection: close\r\n\r\n".encode() + said)
        self.transport.close()
        self._stall_begins()
