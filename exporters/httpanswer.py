"""One answer of HTTP/1.1, taken apart as its bytes arrive. Pure: no sockets, no clock.

Only what reading a page needs (RFC 9112): any status but 200 is an error, a body may come with its length, in chunks,
or until the connection ends. Whatever arrives, no more is kept than ``max_bytes`` of body and `HEAD_BYTES` of the rest.
"""

from __future__ import annotations

import re
from enum import Enum, auto

HEAD_BYTES = 64 << 10
"""The most bytes of a status line with its headers, and of all trailers."""
_SIZE_LINE = 4096  # a chunk's size with its extensions

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([^\r]*))?")
_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\0]*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r]*)?")


class FetchError(Exception):
    """One endpoint could not be read. The message is the reason alone, so that equal reasons can be counted."""


class _Due(Enum):
    """What is to come next."""

    HEAD = auto()
    BODY = auto()
    TO_END = auto()
    SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    NOTHING = auto()


class HttpAnswer:
    """An answer on its way. `feed` it what arrives and say `ended` when the connection does; then take its `body`.

    Both raise `FetchError` for an answer that holds no page; it is of no use then, and neither is its connection.
    ``keeps`` says whether the connection may be asked again once the answer is `whole`, ``begun`` whether anything
    came.
    """

    __slots__ = ("_body", "_due", "_left", "_line", "_max_bytes", "_trailers", "begun", "keeps")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._due = _Due.HEAD
        self._line = bytearray()  # a line, or a head, of which the end has not come
        self._left = 0
        self._trailers = 0
        self._body = bytearray()
        self.begun = False
        self.keeps = False

    @property
    def whole(self) -> bool:
        """Whether nothing more is to come."""
        return self._due is _Due.NOTHING

    @property
    def body(self) -> bytes:
        """The body, once `whole`."""
        return bytes(self._body)

    def feed(self, data: bytearray | bytes, size: int) -> None:
        """Take the first ``size`` bytes of ``data``; they may be overwritten afterwards."""
        self.begun = True
        at = 0
        while at < size:
            if self._due is _Due.HEAD:
                at = self._head(data, size) if not self._line and not at else self._slow_head(data, at, size)
            elif self._due is _Due.NOTHING:
                self.keeps = False  # what nobody asked for: the next answer would begin in the middle of something
                return
            elif self._due in (_Due.BODY, _Due.CHUNK, _Due.TO_END):
                at = self._take(data, at, size)
            else:
                at = self._read_line(data, at, size)

    def ended(self) -> None:
        """The connection ended. Raises FetchError unless that is how the body ends."""
        self.keeps = False
        if self._due is _Due.TO_END:
            self._due = _Due.NOTHING
        elif self._due is not _Due.NOTHING:
            raise FetchError("the answer was cut short" if self.begun else "the connection ended without an answer")

    def _head(self, data: bytearray | bytes, size: int) -> int:
        """The usual case: an answer's head is there as a whole. Where it ends."""
        found = _HEAD_END.search(data, 0, min(size, HEAD_BYTES))
        if found is None:
            return self._slow_head(data, 0, size)
        self._begin(bytes(data[: found.start()]))
        return found.end()

    def _slow_head(self, data: bytearray | bytes, at: int, size: int) -> int:
        """A head that comes in pieces, or after another one. Where what was used ends."""
        before = len(self._line)
        self._line += data[at : min(size, at + HEAD_BYTES + 1)]
        found = _HEAD_END.search(self._line, max(0, before - 3))
        if found is None:
            if len(self._line) > HEAD_BYTES:
                raise FetchError(f"headers of more than {HEAD_BYTES} bytes")
            return size
        head = bytes(self._line[: found.start()])
        self._line.clear()
        self._begin(head)
        return at + found.end() - before

    def _begin(self, head: bytes) -> None:
        """Take a status line with its headers; after one of an interim answer (1xx) another follows."""
        first, *lines = head.decode("latin-1").split("\n")
        status = _STATUS.fullmatch(first.removesuffix("\r"))
        if status is None:
            raise FetchError(f"not HTTP/1.1: {first[:40]!r}")
        if status[2][0] == "1" and status[2] != "101":
            return
        if status[2] != "200":
            raise FetchError(f"HTTP {status[2]} {status[3] or ''}".strip())
        headers = _headers(lines)
        if (encoding := headers.get("content-encoding", "identity").lower()) != "identity":
            raise FetchError(f"a body in {encoding}, which was not asked for")
        options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
        self.keeps = "close" not in options and (status[1] == "1" or "keep-alive" in options)
        self._frame(headers)

    def _frame(self, headers: dict[str, str]) -> None:
        """How the body's end is told."""
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise FetchError(f"a transfer in {coding!r}{' with a length' if length is not None else ''}")
            self._due = _Due.SIZE
        elif length is None:
            self._due, self.keeps = _Due.TO_END, False
        elif not _LENGTH.fullmatch(length):
            raise FetchError(f"a length of {length[:40]!r}")
        else:
            self._left = int(length)
            self._due = _Due.BODY if self._left else _Due.NOTHING
            self._limit(self._left)

    def _take(self, data: bytearray | bytes, at: int, size: int) -> int:
        """Take bytes of the body. Where they end."""
        end = size if self._due is _Due.TO_END else min(size, at + self._left)
        if self._due is _Due.TO_END:
            self._limit(end - at)
        with memoryview(data) as view:
            self._body += view[at:end]
        if self._due is not _Due.TO_END:
            self._left -= end - at
            if not self._left:
                self._due = _Due.NOTHING if self._due is _Due.BODY else _Due.CHUNK_END
        return end

    def _read_line(self, data: bytearray | bytes, at: int, size: int) -> int:
        """Take a line of the chunked form. Where it ends."""
        cut = data.find(b"\n", at, size)
        end = size if cut < 0 else cut
        if len(self._line) + end - at > _SIZE_LINE:
            raise FetchError("the chunks of the body cannot be told apart")
        self._line += data[at:end]
        if cut < 0:
            return size
        line = bytes(self._line).removesuffix(b"\r")
        self._line.clear()
        self._chunk_line(line)
        return cut + 1

    def _chunk_line(self, line: bytes) -> None:
        if self._due is _Due.TRAILER:
            self._trailers += len(line)
            if self._trailers > HEAD_BYTES:
                raise FetchError(f"trailers of more than {HEAD_BYTES} bytes")
            if not line:
                self._due = _Due.NOTHING
            return
        if self._due is _Due.CHUNK_END and not line:
            self._due = _Due.SIZE
            return
        found = _CHUNK.fullmatch(line) if self._due is _Due.SIZE else None
        if found is None:
            raise FetchError("the chunks of the body cannot be told apart")
        self._left = int(found[1], 16)
        self._due = _Due.CHUNK if self._left else _Due.TRAILER
        self._limit(self._left)

    def _limit(self, more: int) -> None:
        if len(self._body) + more > self._max_bytes:
            raise FetchError(f"more than {self._max_bytes} bytes, the limit")


def _headers(lines: list[str]) -> dict[str, str]:
    """Header fields by their names in lower case; several of one name are one list. Raises FetchError."""
    headers: dict[str, str] = {}
    name = ""
    for raw in lines:
        line = raw.removesuffix("\r")
        if name and line[:1] in {" ", "\t"}:  # an old way to go on in the next line
            headers[name] = f"{headers[name]} {line.strip()}".strip()
            continue
        field = _FIELD.fullmatch(line)
        if field is None:
            raise FetchError(f"not a header: {line[:40]!r}")
        name, value = field[1].lower(), field[2]
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
