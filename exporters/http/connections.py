"""Connections to many HTTP endpoints, kept between rounds: lean, for pages of known form
(`exporters.http.http_answer`).

A general client costs more for a page than taking the page apart does. This one receives every answer through one
buffer, keeps only what is the body's, and knows nothing of cookies, redirects, compression or proxies.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from yarl import URL

from exporters.http.http_answer import FetchError, HttpAnswer

_BUFFER = 1 << 18
"""Bytes that are received at once at most: most pages are smaller."""

Origin = tuple[bool, str, int]
"""Whether by TLS, host, port."""


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart: whom to ask, and the very bytes of the request (they may hold a secret and are not shown)."""

    origin: Origin
    request: bytes

    def __repr__(self) -> str:
        return f"Address({self.origin})"


def address(url: str, headers: Mapping[str, str]) -> Address:
    """What asking for a URL with these headers takes. Raises FetchError for what is no URL of http or https.

    A user and password in the URL are sent as basic authorization, unless ``headers`` has another.
    """
    try:
        parts = URL(url)
        host, port = parts.raw_host, parts.port
    except ValueError as error:
        raise FetchError("not a URL") from error
    if parts.scheme not in {"http", "https"} or not host or not port:
        raise FetchError("not a URL")
    fields = {"Host": parts.host_port_subcomponent or "", **headers}
    if (parts.user or parts.password) and not any(name.lower() == "authorization" for name in headers):
        secret = b64encode(f"{parts.user or ''}:{parts.password or ''}".encode()).decode()
        fields["Authorization"] = f"Basic {secret}"
    lines = [f"GET {parts.raw_path_qs} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return Address((parts.scheme == "https", host, port), "\r\n".join([*lines, "", ""]).encode())


class DroppedError(Exception):
    """A kept connection was closed by its other side before it answered: it was idle for too long for it."""


Told = Callable[[Exception | None], None]
"""Called once when the answer is whole (None), or cannot be had: `FetchError`, `DroppedError` or OSError."""


class Connection(asyncio.BufferedProtocol):
    """One connection; it is asked one thing at a time. ``idle_since`` is its event loop's time."""

    def __init__(self, buffer: bytearray, view: memoryview) -> None:
        self._buffer, self._view = buffer, view
        self._transport: asyncio.Transport | None = None
        self._answer: HttpAnswer | None = None
        self._told: Told | None = None
        self._again = False
        self.idle_since = 0.0

    @property
    def open(self) -> bool:
        """Whether it may be asked."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes, max_bytes: int, told: Told) -> None:
        """Ask, and have ``told`` called later; after an error the connection is closed."""
        self._answer, self._told = HttpAnswer(max_bytes), told
        if self._transport is not None:
            self._transport.write(request)
        else:  # it was closed as soon as it was open
            asyncio.get_running_loop().call_soon(self._end, None)

    def body(self) -> bytes:
        """The body of an answer that is whole: once. Closes a connection that is not to be asked again."""
        answer, self._answer = self._answer, None
        self._again = True
        if answer is None or not answer.keeps:
            self.close()
        return answer.body if answer is not None else b""

    def close(self) -> None:
        """End it at once, and tell nobody. Safe to call twice."""
        if self._answer is not None:
            self._answer.let_go()
        self._answer = self._told = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - one buffer for all: it is emptied at once
        """Where to receive."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have arrived."""
        answer = self._answer
        if answer is None:
            self.close()  # nobody asked
            return
        try:
            answer.feed(self._buffer, nbytes)
        except FetchError as error:
            self._tell(error)
        else:
            if answer.whole:
                self._tell(None)

    def eof_received(self) -> None:
        """The other side sends no more."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._transport = None
        self._end(exc)

    def _end(self, broken: Exception | None) -> None:
        answer = self._answer
        if answer is None or answer.whole:
            return
        try:
            if broken is None:
                answer.ended()
        except FetchError as error:
            broken = error
        self._tell(DroppedError() if broken is not None and self._again and not answer.begun else broken)

    def _tell(self, error: Exception | None) -> None:
        told, self._told = self._told, None
        if error is not None:
            self.close()
        if told is not None:
            told(error)


class Connections:
    """The connections of one event loop. ``keep_alive`` is the seconds that an idle one is kept."""

    def __init__(self, keep_alive: float, tls: ssl.SSLContext | None) -> None:
        self._keep_alive = keep_alive
        self._tls = tls
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._idle: dict[Origin, list[Connection]] = {}

    def kept(self, origin: Origin) -> Connection | None:
        """An idle connection, for the caller alone until it is given back."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.open:
                return connection
        return None

    def give_back(self, origin: Origin, connection: Connection, now: float) -> None:
        """Keep a connection for later, if it may be asked again."""
        if connection.open:
            connection.idle_since = now
            self._idle.setdefault(origin, []).append(connection)

    async def connect(self, origin: Origin) -> Connection:
        """A new connection, for the caller alone. Raises FetchError."""
        by_tls, host, port = origin
        if by_tls and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self._buffer, self._view),
                host,
                port,
                ssl=self._tls if by_tls else None,
                happy_eyeballs_delay=0.25,
            )
        except (OSError, UnicodeError) as error:
            raise FetchError(f"cannot connect ({reason(error)})") from error
        return connection

    def sweep(self, now: float) -> None:
        """Close the connections that were idle for too long, and forget those that the other side closed."""
        kept: dict[Origin, list[Connection]] = {}
        for origin, idle in self._idle.items():
            for connection in idle:
                if connection.open and now - connection.idle_since <= self._keep_alive:
                    kept.setdefault(origin, []).append(connection)
                else:
                    connection.close()
        self._idle = kept

    def close(self) -> None:
        """Close the idle connections."""
        for connection in [one for idle in self._idle.values() for one in idle]:
            connection.close()
        self._idle.clear()


def reason(error: Exception) -> str:
    """Why, without the address: so that equal reasons can be counted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    number = error.errno if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
    if number is not None and number in errno.errorcode:
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
