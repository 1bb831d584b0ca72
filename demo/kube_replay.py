"""A loopback API server that serves recorded Kubernetes objects as site time passes: list, watch, and their owners.

It speaks as much of the API as a reader needs, in the API's own form: lists with a resourceVersion, watches that
resume from one, ``Status`` objects for refusals, discovery of the owners' kinds. `KubeReplay.advance` moves it on:
what happened until then is sent down every open watch, which then ends, as a server may end a watch at any time. The
reader's next watch begins where it has read to, and so tells that it has: `KubeReplay.settle` waits for that. While
``readable`` is off it is an API server that is down: open watches are cut and every request gets a 503.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KINDS = {"pods": "Pod", "nodes": "Node"}
COLLECTIONS = {"/api/v1/pods": ("pods", "PodList"), "/api/v1/nodes": ("nodes", "NodeList")}
FIRST_VERSION = 1000


@dataclass(frozen=True)
class Event:
    """At epoch second ``at`` an object of ``collection`` was ``ADDED``, ``MODIFIED`` or ``DELETED``."""

    at: int
    collection: str
    type: str
    object: Mapping[str, Any]


class KubeReplay:
    """The server. ``static`` maps API paths to what else is served there: discovery, and the owners of pods."""

    def __init__(self, events: Sequence[Event], static: Mapping[str, Mapping[str, Any]]) -> None:
        self._events = sorted(events, key=lambda e: e.at)
        self._lines = [self._line(n, e) for n, e in enumerate(self._events)]
        self._static = static
        self._done = 0
        self._objects: dict[str, dict[str, bytes]] = {name: {} for name, _ in COLLECTIONS.values()}
        self._changed = threading.Condition()
        self._closing = False
        self._readable = True
        self._last: dict[str, int] = dict.fromkeys(self._objects, FIRST_VERSION)  # of what has happened
        self._read: dict[str, int] = {}  # where the readers' latest watches began
        self._refused: dict[str, int] = {}  # how often each collection was refused since we are down
        self._owed: dict[str, int] = {}  # watches that each reader has yet to open since we are up again
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="kube-replay", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def version(self) -> int:
        """The resourceVersion that has been reached."""
        return FIRST_VERSION + self._done

    @property
    def read_to(self) -> dict[str, int]:
        """Collection -> the resourceVersion up to which its reader has read, once it has watched."""
        with self._changed:
            return dict(self._read)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut the open watches."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def advance(self, to: float, *, readable: bool = True) -> None:
        """Let everything happen until ``to`` (epoch seconds); ``readable`` False: be an API server that is down."""
        with self._changed:
            if self._readable and not readable:
                self._refused = dict.fromkeys(self._read, 0)
            if readable and not self._readable:
                self._owed = dict.fromkeys(self._read, 2)
            while self._done < len(self._events) and self._events[self._done].at <= to:
                event, line = self._events[self._done], self._lines[self._done]
                meta = event.object["metadata"]
                name = f"{meta.get('namespace', '')}/{meta['name']}"
                if event.type == "DELETED":
                    del self._objects[event.collection][name]
                else:
                    self._objects[event.collection][name] = line[line.index(b'"object":') + 9 : -2]
                self._done += 1
                self._last[event.collection] = self.version
            self._readable = readable
            self._changed.notify_all()

    def settle(self, timeout: float = 30.0) -> None:
        """Wait until every reader knows what has happened, or knows that we are down. TimeoutError when it does not.

        Down, a reader is sure to have noticed when it asks for the second time; up again, when it has been told so by
        a bookmark and opens its next watch.
        """
        with self._changed:
            if not self._changed.wait_for(self._settled, timeout):
                raise TimeoutError(f"the readers of {self.url} have not followed in {timeout:g} s: {self._read}")

    def _settled(self) -> bool:
        if not self._readable:
            return all(times >= 2 for times in self._refused.values())
        return all(v >= self._last[name] and self._owed.get(name, 0) <= 0 for name, v in self._read.items())

    @staticmethod
    def _line(n: int, event: Event) -> bytes:
        meta = {**event.object["metadata"], "resourceVersion": str(FIRST_VERSION + n + 1)}
        whole = {"kind": KINDS[event.collection], "apiVersion": "v1", **event.object, "metadata": meta}
        return json.dumps({"type": event.type, "object": whole}, separators=(",", ":")).encode() + b"\n"

    # -- what the handlers ask -----------------------------------------------------------

    def answer(self, path: str) -> tuple[int, bytes]:
        """HTTP status and body of a GET that is no watch."""
        with self._changed:
            if not self._readable:
                if path in COLLECTIONS:
                    name, _ = COLLECTIONS[path]
                    self._refused[name] = self._refused.get(name, 0) + 1
                    self._changed.notify_all()
                return _status(503, "ServiceUnavailable", "the server is currently unable to handle the request")
            if path in COLLECTIONS:
                name, kind = COLLECTIONS[path]
                head = {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": str(self.version)}}
                body = json.dumps(head, separators=(",", ":")).encode()
                return 200, body[:-1] + b',"items":[' + b",".join(self._objects[name].values()) + b"]}"
        found = self._static.get(path)
        if found is None:
            return _status(404, "NotFound", f"the server could not find the requested resource {path}")
        return 200, json.dumps(found, separators=(",", ":")).encode()

    def watch(self, collection: str, version: int) -> bool:
        """A watch of a collection begins after ``version``; False while we are down."""
        with self._changed:
            if self._readable:
                self._read[collection] = version
                self._owed[collection] = self._owed.get(collection, 0) - 1
                self._changed.notify_all()
            return self._readable

    def events_after(self, collection: str, version: int, deadline: float) -> list[bytes] | None:
        """Lines of a collection after ``version``, waiting for some until ``deadline``; None = cut the watch."""
        with self._changed:
            while True:
                if self._closing or not self._readable:
                    return None
                first = version - FIRST_VERSION
                lines = [self._lines[n] for n in range(first, self._done) if self._events[n].collection == collection]
                if self._owed.get(collection) == 1:
                    meta = {"resourceVersion": str(self.version)}
                    mark = {
                        "type": "BOOKMARK",
                        "object": {"kind": KINDS[collection], "apiVersion": "v1", "metadata": meta},
                    }
                    lines.append(json.dumps(mark, separators=(",", ":")).encode() + b"\n")
                left = deadline - time.monotonic()
                if lines or left <= 0:
                    return lines
                version = self.version
                self._changed.wait(left)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, site: KubeReplay) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site = site


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        site = self.server.site
        if query.get("watch", [""])[0] in ("1", "true") and parts.path in COLLECTIONS:
            collection, _ = COLLECTIONS[parts.path]
            version = int(query.get("resourceVersion", ["0"])[0] or FIRST_VERSION)
            if site.watch(collection, version):
                self._watch(collection, version, float(query.get("timeoutSeconds", ["300"])[0]))
                return
        status, body = site.answer(parts.path)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _watch(self, collection: str, version: int, seconds: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            lines = self.server.site.events_after(collection, version, time.monotonic() + seconds)
            if lines is None:
                self.close_connection = True  # cut, in the middle of a chunked answer
                return
            if lines:
                self._chunk(b"".join(lines))
            self._chunk(b"")
        except ConnectionError:
            self.close_connection = True  # the reader hung up, as readers of watches do

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: what is asked here is the demo's own business."""


def _status(code: int, reason: str, message: str) -> tuple[int, bytes]:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return code, json.dumps(status, separators=(",", ":")).encode()
