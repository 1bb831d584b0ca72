"""One unary gRPC call over a unix socket: one message there, one back, within a deadline.

gRPC is HTTP/2 with a five-byte prefix before each message and its status in the trailers (the document
"gRPC over HTTP2" of grpc/grpc). HTTP/2 itself is h2's. Each call is a connection of its own: the kubelet is asked a few
times a minute.
"""

from __future__ import annotations

import socket
import struct
import time
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

MAX_ANSWER = 16 << 20
_CHUNK = 65536
_STATUS = {
    "1": "CANCELLED",
    "4": "DEADLINE_EXCEEDED",
    "5": "NOT_FOUND",
    "7": "PERMISSION_DENIED",
    "8": "RESOURCE_EXHAUSTED",
    "12": "UNIMPLEMENTED",
    "13": "INTERNAL",
    "14": "UNAVAILABLE",
    "16": "UNAUTHENTICATED",
}


class CallError(Exception):
    """The call did not succeed. The message says why."""


def call(path: str, method: str, request: bytes = b"", timeout: float = 5.0, max_answer: int = MAX_ANSWER) -> bytes:
    """Call ``/package.Service/Method`` on the unix socket at ``path``; the answer's message.

    ``timeout`` is in seconds for all of it. Raises `CallError`.
    """
    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(timeout)
            connection.connect(path)
            body = _exchange(connection, method, request, timeout, deadline, max_answer)
        except TimeoutError as error:
            raise CallError(f"no answer within {timeout:g} s") from error
        except OSError as error:
            raise CallError(error.strerror or str(error)) from error
        except h2.exceptions.ProtocolError as error:
            raise CallError(f"not HTTP/2: {error}") from error
    return _message(body)


def _exchange(
    connection: socket.socket, method: str, request: bytes, timeout: float, deadline: float, max_answer: int
) -> bytes:
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    http.initiate_connection()
    stream = http.get_next_available_stream_id()
    http.send_headers(
        stream,
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "meterbridge"),
            ("grpc-timeout", f"{max(1, int(timeout * 1000))}m"),
        ],
    )
    http.send_data(stream, struct.pack(">BI", 0, len(request)) + request, end_stream=True)
    answer = _Answer(stream, max_answer)
    while not answer.ended:
        connection.sendall(http.data_to_send())
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        received = connection.recv(_CHUNK)
        if not received:
            raise CallError("the server closed the connection before it answered")
        for event in http.receive_data(received):
            answer.take(http, event)
    http.close_connection()
    connection.sendall(http.data_to_send())
    return answer.finish()


class _Answer:
    """What has come of one stream."""

    def __init__(self, stream: int, max_answer: int) -> None:
        self.ended = False
        self._stream = stream
        self._max = max_answer
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def take(self, http: h2.connection.H2Connection, event: h2.events.Event) -> None:
        """One event of the connection. Raises `CallError`."""
        if isinstance(event, h2.events.ConnectionTerminated):
            raise CallError(f"the server ended the connection: {event.error_code}")
        if getattr(event, "stream_id", None) != self._stream:
            return
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            self._headers |= {str(name): str(value) for name, value in event.headers or ()}
        elif isinstance(event, h2.events.DataReceived):
            self._body += event.data or b""
            if len(self._body) > self._max:
                raise CallError(f"the answer has more than {self._max} bytes, the limit")
            http.acknowledge_received_data(event.flow_controlled_length or 0, self._stream)
        elif isinstance(event, h2.events.StreamReset):
            raise CallError(f"the server broke off: {event.error_code}")
        elif isinstance(event, h2.events.StreamEnded):
            self.ended = True

    def finish(self) -> bytes:
        """The whole body. Raises `CallError` for another status than OK."""
        if self._headers.get(":status") != "200":
            raise CallError(f"HTTP status {self._headers.get(':status')}: not a gRPC server")
        status = self._headers.get("grpc-status")
        if status != "0":
            said = unquote(self._headers.get("grpc-message", ""))[:200]
            raise CallError(f"{_STATUS.get(status or '', f'gRPC status {status}')}: {said}")
        return bytes(self._body)


def _message(body: bytes) -> bytes:
    if len(body) < 5:
        raise CallError("the answer holds no message")
    compressed, length = struct.unpack_from(">BI", body)
    if compressed or len(body) != 5 + length:
        raise CallError("the answer is not one uncompressed message")
    return body[5:]
