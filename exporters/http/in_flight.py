"""What stands before every whole request of a listener: how many are answered at once, and how long they are."""

from __future__ import annotations

import logging

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporters.http.bounds import Bounds

log = logging.getLogger(__name__)

_ALWAYS = ("/-/healthy", "/-/ready")
"""Answered from memory: who restarts a process that does not answer must not find it full."""


class InFlight:
    """ASGI middleware: refuses the request that is one too many (503), and the one that is too long (413)."""

    def __init__(self, app: ASGIApp, bounds: Bounds) -> None:
        self._app, self._bounds = app, bounds
        self._now = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request through the application behind."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced[:20]) > self._bounds.body_bytes:
            await self._too_long()(scope, receive, send)
            return
        if self._now >= self._bounds.requests and scope["path"] not in _ALWAYS:
            log.warning("a request was refused: %d are answered now", self._now)
            busy = PlainTextResponse("too many requests at once\n", 503, {"Retry-After": "1"})
            await busy(scope, receive, send)
            return
        self._now += 1
        try:
            await self._counted(scope, receive, send)
        finally:
            self._now -= 1

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0

        async def receive_some() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._bounds.body_bytes:
                raise HTTPException(413, self._limit())
            return message

        await self._app(scope, receive_some, send)

    def _too_long(self) -> PlainTextResponse:
        return PlainTextResponse(self._limit() + "\n", 413, {"Connection": "close"})

    def _limit(self) -> str:
        return f"a request has {self._bounds.body_bytes} bytes at most"
