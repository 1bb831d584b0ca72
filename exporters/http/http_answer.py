"""One answer of HTTP/1.1, taken apart as its bytes arrive, by llhttp (httptools). No sockets, no clock.

Only what reading a page needs: any status but 200 is an error, a body may come with its length, in chunks, or until the
connection ends. Whatever arrives, no more is kept than ``max_bytes`` of body and some `HEAD_BYTES` of the rest.
"""

from __future__ import annotations

from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

HEAD_BYTES = 64 << 10
"""The most bytes of all headers, of all trailers, and of anything else that is not the body, in one go."""


class FetchError(Exception):
    """One endpoint could not be read. The message is the reason alone, so that equal reasons can be counted."""


class HttpAnswer:
    """An answer on its way. `feed` it what arrives and say `ended` when the connection does; then take its `body`.

    Both raise `FetchError` for an answer that holds no page; it is of no use then, and neither is its connection.
    ``keeps`` says whether the connection may be asked again once the answer is ``whole``, ``begun`` whether anything
    came. The methods named ``on_...`` are the parser's.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_framed",
        "_headed",
        "_max_bytes",
        "_named",
        "_parser",
        "_quiet",
        "_reason",
        "_size",
        "begun",
        "keeps",
        "whole",
    )

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # It holds this answer's methods: it is let go when nothing more is to be parsed, or the body would stay until
        # the next collection of garbage.
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._body: list[bytes] = []
        self._size = 0
        self._reason = ""
        self._headed = False  # the headers of the answer itself have come
        self._framed = False  # they say where the body ends
        self._named = 0  # bytes of headers, then of trailers
        self._quiet = 0  # bytes since the parser last had something to tell
        self.whole = False
        self.begun = False
        self.keeps = False

    @property
    def body(self) -> bytes:
        """The body, once ``whole``."""
        return b"".join(self._body)

    def feed(self, data: bytearray | bytes, size: int) -> None:
        """Take the first ``size`` bytes of ``data``; they may be overwritten afterwards."""
        self.begun = True
        self._quiet += size
        parser = self._parser
        if parser is None:  # what nobody asked for: the next answer would begin in the middle of something
            self.keeps = False
            return
        try:
            with memoryview(data) as view:
                parser.feed_data(view[:size])
        except HttpParserError as error:
            self._parser = None
            if self.whole:  # and so is what follows it
                self.keeps = False
                return
            told = error.__context__ if isinstance(error, HttpParserCallbackError) else None
            raise told if isinstance(told, FetchError) else FetchError(f"not HTTP/1.1: {error}") from error
        if self.whole:
            self._parser = None
        elif self._quiet > HEAD_BYTES:
            self._parser = None
            raise FetchError(f"more than {HEAD_BYTES} bytes of no page")

    def ended(self) -> None:
        """The connection ended. Raises FetchError unless that is how the body ends."""
        self._parser, self.keeps = None, False
        if self._headed and not self._framed:
            self.whole = True
        elif not self.whole:
            raise FetchError("the answer was cut short" if self.begun else "the connection ended without an answer")

    def let_go(self) -> None:
        """Nobody waits for it any more."""
        self._parser = None
        self._body.clear()

    def on_message_begin(self) -> None:
        """An answer begins: this one, one before it, or what nobody asked for."""
        self.keeps = False
        self._reason, self._named = "", 0

    def on_status(self, reason: bytes) -> None:
        """Some of the words behind the status."""
        self._reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._quiet = 0
        self._named += len(name) + len(value)
        if self._named > HEAD_BYTES:
            raise FetchError(f"{'trailers' if self._headed else 'headers'} of more than {HEAD_BYTES} bytes")
        if self._headed or self.whole:
            return
        match name.lower():
            case b"content-encoding" if value.lower() != b"identity":
                raise FetchError(f"a body in {value.decode('latin-1').lower()}, which was not asked for")
            case b"transfer-encoding":
                if value.lower() != b"chunked":
                    raise FetchError(f"a transfer in {value.decode('latin-1')!r}")
                self._framed = True
            case b"content-length":
                self._framed = True
                self._limit(int(value))

    def on_headers_complete(self) -> None:
        """The headers have come: of the answer, or of an interim one (1xx) before it."""
        if self._parser is None:
            return
        status = self._parser.get_status_code()
        if self.whole or (100 <= status < 200 and status != 101):
            return
        if status != 200:
            raise FetchError(f"HTTP {status} {self._reason}".strip())
        self._headed, self._named = True, 0

    def on_body(self, data: bytes) -> None:
        """A piece of the body, or of what nobody asked for."""
        self._quiet = 0
        if self.whole:
            return
        self._limit(len(data))
        self._size += len(data)
        self._body.append(data)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._quiet = 0

    def on_message_complete(self) -> None:
        """The answer is whole, or it was an interim one."""
        if self._headed and not self.whole:
            self.whole = True
            self.keeps = self._parser is not None and self._parser.should_keep_alive()
        else:
            self._framed = False

    def _limit(self, more: int) -> None:
        if self._size + more > self._max_bytes:
            raise FetchError(f"more than {self._max_bytes} bytes, the limit")
