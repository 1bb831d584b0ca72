"""The exporter's listener: /metrics, /-/healthy, /-/ready and a page for people.

A scrape gets what the last round wrote. It calls no source, waits for no join, and is answered from a thread of its own
while one runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from exporters.errors import EXIT_USAGE, OperatorError
from exporters.exposition.negotiate import accepts_gzip, choose_form
from exporters.exposition.page import Page
from exporters.http.accepting import Accepting
from exporters.http.bounded import bounded_protocol
from exporters.http.bounds import Bounds, share_of_descriptors
from exporters.http.in_flight import InFlight
from exporters.http.landing_page import landing_page
from exporters.http.targets_page import targets_page
from exporters.http.web_guard import WebGuard

if TYPE_CHECKING:  # a listener of another page (the node agent's) loads nothing of the joins
    from exporters.status import SourceStatus, Target

log = logging.getLogger(__name__)

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_STARTUP_SECONDS = 30.0
_KEEP_ALIVE_SECONDS = 75  # longer than a usual scrape interval, so that scrapers need no new handshake


class ListenError(OperatorError):
    """The listener cannot start. The message says where and why."""

    exit_code = EXIT_USAGE


def create_app(
    page: Callable[[], Page | None],
    ready: Callable[[], bool],
    statuses: Callable[[], Sequence[SourceStatus]] = tuple,
    clock: Callable[[], float] = time.time,
    files: Mapping[str, str] | None = None,
    targets: Callable[[], Sequence[tuple[str, Sequence[Target]]]] = tuple,
) -> ASGIApp:
    """The ASGI application.

    ``page`` gives the last round's page (None before the first), ``ready`` whether it may be believed, ``statuses`` how
    the sources do: all three answer at once from memory. ``files`` are paths on this machine that the page for people
    names, with what they are. ``targets`` are the endpoints of each source that reads many.
    """

    async def metrics(request: Request) -> Response:
        current = page()
        if current is None:
            return PlainTextResponse("no round has ended yet\n", 503, {"Retry-After": "5"})
        form = choose_form(request.headers.get("accept"))
        compressed = accepts_gzip(request.headers.get("accept-encoding"))
        body = current.ready(form, compressed)
        if body is None:
            body = await asyncio.to_thread(current.body, form, compressed)
        headers = {"Content-Type": form.value, "Vary": "Accept, Accept-Encoding"}
        if compressed:
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("healthy\n")

    async def is_ready(_: Request) -> Response:
        if ready():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready: some source was not read and joined yet\n", 503)

    async def landing(_: Request) -> Response:
        return HTMLResponse(landing_page(statuses(), ready(), clock(), files=files), headers=_PAGE_HEADERS)

    async def every_target(_: Request) -> Response:
        return HTMLResponse(targets_page(targets(), clock()), headers=_PAGE_HEADERS)

    return Starlette(
        routes=[
            Route("/", landing),
            Route("/targets", every_target),
            Route("/metrics", metrics),
            Route("/-/healthy", healthy),
            Route("/-/ready", is_ready),
        ]
    )


class Server:
    """Runs an ASGI application on a thread of its own, behind its web-config file.

    ``listen`` is ``HOST:PORT``; an empty host is every interface, port 0 a free one. Nothing is bound before `start`.
    ``lifespan`` tells the application when it starts and ends, for those that want to know. ``bounds`` is how much of
    this process it may take.
    Raises `exporters.http.web_config.WebConfigError` for a web-config file that cannot be used.
    """

    def __init__(
        self,
        app: ASGIApp,
        listen: str = "127.0.0.1:9810",
        config_file: Path | None = None,
        lifespan: bool = False,
        bounds: Bounds | None = None,
    ) -> None:
        self._bounds = bounds or Bounds()
        self._host, self._port = split_listen(listen)
        self._guard = WebGuard(config_file)
        self._config = uvicorn.Config(
            InFlight(self._guard.wrap(app), self._bounds),
            http=bounded_protocol(self._bounds, lambda: self._socket),
            lifespan="on" if lifespan else "off",
            ws="none",
            proxy_headers=False,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=3,
        )
        self._server = _Announcing(self._config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._socket: Accepting | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash. The port is known once started."""
        host = self._host or "localhost"
        return f"http{'s' if self._guard.tls else ''}://{f'[{host}]' if ':' in host else host}:{self._port}"

    def start(self) -> None:
        """Listen; returns once requests are answered. Raises `ListenError`."""
        try:
            self._socket = Accepting(_bind(self._host, self._port), share_of_descriptors(self._bounds))
        except OSError as error:
            raise ListenError(f"cannot listen on {self._host}:{self._port}: {error.strerror or error}") from error
        self._port = self._socket.getsockname()[1]
        self._config.load()
        self._config.ssl = self._guard.context()
        self._thread.start()
        if not self._server.listening.wait(_STARTUP_SECONDS) or not self._server.started:
            self.stop()
            raise ListenError(f"the server on {self.url} did not come up; the log says why")
        log.info("serving %s", self.url)

    def stop(self) -> None:
        """Answer what was asked, then end. Safe to call twice, and without `start`."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        if self._socket is not None:
            self._socket.close()

    def _run(self) -> None:
        try:
            with contextlib.suppress(SystemExit):  # uvicorn's way to say that the application refused to start
                self._server.run(sockets=[self._socket] if self._socket else None)
        finally:
            self._server.listening.set()


class _Announcing(uvicorn.Server):
    """A uvicorn server that says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


def split_listen(listen: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[v6]:PORT`` or ``:PORT`` to its parts. Raises `ListenError` for anything else.

    >>> split_listen("[::1]:9810")
    ('::1', 9810)
    """
    host, colon, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or int(port) > 65535 or (":" in bare and bare == host):
        raise ListenError(f"{listen!r} is not HOST:PORT, as in 127.0.0.1:9810 or [::1]:9810")
    return bare, int(port)


def _bind(host: str, port: int) -> socket.socket:
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=1024)
