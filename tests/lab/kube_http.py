"""A loopback HTTP server that speaks as a Kubernetes API server does: JSON, chunked watches, Status errors.

What it serves is decided by a subclass (`KubeReplay`, `KubeFake`); what was asked is in ``requests``.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from kubernetes.client import ApiClient, Configuration

Query = dict[str, str]

CUT = object()
"""What a stream yields to break the connection right there."""


class HttpError(Exception):
    """Answer with a Status object."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = status_object(status, message, reason)


def status_object(code: int, message: str, reason: str = "") -> dict[str, Any]:
    """What the API server says when it refuses, and inside an ERROR event."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is its own affair."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class KubeHttp:
    """Start with ``with``; `client` gives the official client, pointed here."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Query, str]] = []
        self.credentials: set[str] = set()
        self.stopping = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def client(self) -> ApiClient:
        return ApiClient(Configuration(host=self.url))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def get(self, path: str, query: Query) -> bytes | dict[str, Any]:
        """One object or list. Raises HttpError."""
        raise HttpError(404, f"{path} {query} not found", "NotFound")

    def watch(self, path: str, query: Query) -> Iterator[Any]:
        """The bytes of a watch, in pieces, and `CUT` to break it. Raises HttpError before the first piece."""
        raise HttpError(404, f"{path} {query} not found", "NotFound")

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = dict(parse_qsl(parts.query))
        self.requests.append((parts.path, query, handler.headers.get("Accept", "")))
        self.credentials.add(handler.headers.get("Authorization", ""))
        try:
            if query.get("watch"):
                self._stream(handler, self.watch(parts.path, query))
            else:
                found = self.get(parts.path, query)
                self._send(handler, 200, found if isinstance(found, bytes) else json.dumps(found).encode())
        except HttpError as e:
            self._send(handler, e.status, json.dumps(e.body).encode())
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    @staticmethod
    def _stream(handler: BaseHTTPRequestHandler, pieces: Iterator[Any]) -> None:
        first = next(pieces, b"")
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        piece = first
        while piece is not None:
            if piece is CUT:
                handler.connection.shutdown(socket.SHUT_RDWR)
                return
            if piece:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                handler.wfile.flush()
            piece = next(pieces, None)
        handler.wfile.write(b"0\r\n\r\n")
