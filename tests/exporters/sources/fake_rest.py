"""A slurmrestd that answers what a test tells it to, over HTTP or a unix socket."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

Answer = tuple[int, bytes]


class FakeRest:
    """``answers`` is path (without its query) -> (status, body); ``asked`` keeps (path with query, headers)."""

    def __init__(self, answers: dict[str, Answer], socket_path: Path | None = None) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.write: Callable[[Any, bytes], None] = lambda out, body: out.write(body)
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                missing = (404, b"Unable find requested URL. Please view /openapi/v3 for API reference.")
                status, body = fake.answers.get(self.path.partition("?")[0], missing)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    fake.write(self.wfile, body)
                except OSError:
                    self.close_connection = True

            def address_string(self) -> str:
                return "somebody"

            def log_message(self, *_: object) -> None:
                """Quiet."""

        if socket_path is None:
            self._server: socketserver.BaseServer = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
            self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        else:
            self._server = socketserver.ThreadingUnixStreamServer(str(socket_path), Handler)
            self.url = f"unix://{socket_path}"
        self._server.daemon_threads = True
        self._server.block_on_close = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
