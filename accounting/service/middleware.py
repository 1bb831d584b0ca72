"""What stands before every request of the accounting service: who asks, safe headers, and a count of what was asked."""

from __future__ import annotations

import logging
import time
from typing import Annotated, Protocol

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, HTTPBearer
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accounting.service.auth import Principal, Role

log = logging.getLogger(__name__)

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer that says nothing else: nothing is kept, framed, guessed at or loaded from elsewhere."""


class TokenCheck(Protocol):
    """Knows whose token a token is (`accounting.service.auth.Tokens`, `accounting.service.auth.TokenFile`)."""

    def who(self, token: str) -> Principal | None:
        """Find whose token this is, or None."""
        ...


_bearer = HTTPBearer(auto_error=False, description="a token of the token file")
_key = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    description="the same token, where Authorization already carries the listener's basic auth",
)
_basic = HTTPBasic(
    auto_error=False, description="the same token as the password, with any name: what a browser asks for"
)


def caller(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    key: Annotated[str | None, Depends(_key)],
    basic: Annotated[HTTPBasicCredentials | None, Depends(_basic)],
) -> Principal:
    """Find who asks. Answers 401 to whoever has no valid token; to a browser, so that it asks for one."""
    tokens: TokenCheck = request.app.state.tokens
    principal = tokens.who(bearer.credentials if bearer else key or (basic.password if basic else ""))
    if principal is None:
        peer = request.client.host if request.client else "?"
        log.warning("refused %r from %s: no valid token", request.url.path, peer)
        if request.url.path.startswith("/api/"):
            challenge, how = 'Bearer realm="meterbridge"', "Authorization: Bearer TOKEN"
        else:
            challenge, how = 'Basic realm="meterbridge", charset="UTF-8"', "as the password, with any name"
        raise HTTPException(401, f"a valid token is needed: {how}", {"WWW-Authenticate": challenge})
    return principal


Caller = Annotated[Principal, Depends(caller)]
"""Who asks, as a parameter of an endpoint."""


def admin(principal: Caller) -> Principal:
    """Let only an admin pass; answers 403 to others."""
    if principal.role is not Role.ADMIN:
        raise HTTPException(403, "this needs a token with role admin")
    return principal


class RequestMetrics:
    """How many requests each route answered, with which status, and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "meterbridge_http_requests", "Requests answered, by route and status", ["route", "code"], registry=registry
        )
        self.duration = Histogram(
            "meterbridge_http_request_duration_seconds",
            "Seconds from a request to the end of its answer",
            ["route"],
            buckets=(0.01, 0.05, 0.25, 1, 5, 25),
            registry=registry,
        )


class Guard:
    """ASGI middleware: adds `HEADERS` to every answer, and counts it under its route, never under its raw path."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request through the application behind."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.duration.labels(route).observe(time.perf_counter() - begun)
