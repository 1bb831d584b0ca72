"""What stands before every request of a listener: TLS, basic auth and headers, as its web-config file says now.

The file, its certificates and its users may change while the listener runs: the next request, or the next handshake,
finds them. A change that cannot be used is logged once and the last good state stays, so that a half-written file does
not take the meter down.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import ssl
import threading
from pathlib import Path
from typing import Any

import bcrypt
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporters.http.web_config import WebConfig, WebConfigError, read_web_config
from exporters.http.wrong_tries import PER_SECOND, WrongTries

log = logging.getLogger(__name__)

_REMEMBERED = 256
_NOBODY = b"$2b$10$" + b"." * 22 + b"u" * 31  # checked for unknown users: how long an answer takes tells nothing

Signature = tuple[tuple[str, int, int, int], ...]


class WebGuard:
    """Guards one listener. ``path`` None guards nothing. Raises `WebConfigError` when the file is bad at the start."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._config = WebConfig()
        self._context: ssl.SSLContext | None = None
        self._seen: Signature = ()
        if path is not None:
            self._load(path)
            self._seen = self._signature(path)

    @property
    def tls(self) -> bool:
        """Whether the listener speaks TLS. Decided at the start."""
        return self._context is not None

    def config(self) -> WebConfig:
        """What the file says now."""
        self._refresh()
        return self._config

    def context(self) -> ssl.SSLContext | None:
        """A context that hands every new connection the certificates of that moment; None without TLS."""
        return _Reloading(self) if self.tls else None

    def context_now(self) -> ssl.SSLContext:
        """The context of this moment. Only with TLS."""
        self._refresh()
        if self._context is None:
            raise WebConfigError("this listener has no TLS")
        return self._context

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """The application behind the guard."""
        return _Guarded(app, self) if self._path is not None else app

    def _refresh(self) -> None:
        if self._path is None:
            return
        with self._lock:
            signature = self._signature(self._path)
            if signature == self._seen:
                return
            self._seen = signature
            try:
                self._load(self._path)
            except WebConfigError as error:
                log.error("keeping the last good web config: %s", error)  # noqa: TRY400 - the sentence says it all
            else:
                log.info("web config %s was read again", self._path)

    def _load(self, path: Path) -> None:
        config = read_web_config(path)
        try:
            context = config.tls.context() if config.tls else None
        except OSError as error:
            raise WebConfigError(f"web config {path}: tls_server_config: {error}") from error
        if self._seen and (context is None) != (self._context is None):
            raise WebConfigError(f"web config {path}: TLS can only be switched on or off by a restart")
        if self._config.users and not config.users:
            # an emptied file, or one that is being written, must not open the door
            raise WebConfigError(f"web config {path}: basic_auth_users can only be switched off by a restart")
        self._config, self._context = config, context

    def _signature(self, path: Path) -> Signature:
        files = (path, *(self._config.tls.files() if self._config.tls else ()))
        found = []
        for file in files:
            try:
                stat = file.stat()
            except OSError:
                found.append((str(file), 0, 0, 0))
            else:
                found.append((str(file), stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(found)


class _Reloading(ssl.SSLContext):
    """Stands for the guard's context of the moment, in the one call that a server makes per connection."""

    _guard: WebGuard

    def __new__(cls, guard: WebGuard) -> _Reloading:
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self._guard = guard
        return self

    def wrap_bio(self, *arguments: Any, **keywords: Any) -> ssl.SSLObject:
        return self._guard.context_now().wrap_bio(*arguments, **keywords)


class _Guarded:
    """The middleware: refuses who is nobody, and puts the configured headers on every answer."""

    def __init__(self, app: ASGIApp, guard: WebGuard) -> None:
        self._app = app
        self._guard = guard
        self._right: dict[bytes, None] = {}
        self._wrong: dict[bytes, None] = {}  # apart: who guesses must not make us forget who knows
        self._tries = WrongTries()
        self._checking = asyncio.Lock()  # one bcrypt at a time: it is made to be slow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        config = self._guard.config()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(config.headers)
            await send(message)

        if config.users:
            peer = (scope.get("client") or ("",))[0]
            refusal = await self._refusal(config, Headers(scope=scope).get("authorization", ""), peer)
            if refusal is not None:
                await refusal(scope, receive, send_with_headers)
                return
        await self._app(scope, receive, send_with_headers)

    async def _refusal(self, config: WebConfig, authorization: str, peer: str) -> Response | None:
        """What to answer to whoever may not ask; None for who may."""
        credentials = _credentials(authorization)
        if credentials is None:
            return _unauthorized()
        user, password = credentials
        hash_ = config.users.get(user)
        key = hashlib.sha256(b"\0".join((user.encode(), (hash_ or "").encode(), password))).digest()
        if key in self._right:
            return None
        if key in self._wrong:
            return _unauthorized()
        if not self._tries.take(peer):
            log.warning("%s tried too many wrong passwords: refused without a look", peer)
            return PlainTextResponse("Too many wrong passwords\n", 429, {"Retry-After": str(round(1 / PER_SECOND))})
        async with self._checking:
            matches = await asyncio.to_thread(_matches, password, hash_.encode() if hash_ else _NOBODY)
        if matches and hash_ is not None:
            self._tries.give_back(peer)
            _remember(self._right, key)
            return None
        log.warning("%s gave a wrong user or password", peer)
        _remember(self._wrong, key)
        return _unauthorized()


def _unauthorized() -> Response:
    return PlainTextResponse("Unauthorized\n", 401, {"WWW-Authenticate": 'Basic realm="meterbridge"'})


def _remember(keys: dict[bytes, None], key: bytes) -> None:
    if len(keys) >= _REMEMBERED:
        del keys[next(iter(keys))]
    keys[key] = None


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _matches(password: bytes, hash_: bytes) -> bool:
    # bcrypt reads 72 bytes and no more; what is longer is cut as other implementations cut it.
    return bcrypt.checkpw(password[:72], hash_)
