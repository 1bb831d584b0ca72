"""The agent's pages: /metrics, /-/healthy, and one for people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from exporters.exposition.negotiate import accepts_gzip, choose_form
from exporters.exposition.page import Page

PATIENCE = 10.0
"""Seconds that a scrape waits for a device that does not answer; the page comes again when it does."""

_LANDING = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>meterbridge node agent</title>"
    "<h1>meterbridge node agent</h1><ul><li><a href=/metrics>/metrics</a>: the series"
    "<li><a href=/-/healthy>/-/healthy</a>: is the process alive</ul></html>\n"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def create_agent_app(page: Callable[[], Page], patience: float = PATIENCE) -> ASGIApp:
    """The ASGI application. ``page`` reads the machine; it runs on a thread, one scrape at a time."""
    reading: list[asyncio.Task[Page]] = []

    async def metrics(request: Request) -> Response:
        if not reading or reading[0].done():
            reading[:] = [asyncio.create_task(asyncio.to_thread(page))]
        try:
            current = await asyncio.wait_for(asyncio.shield(reading[0]), patience)
        except TimeoutError:
            return PlainTextResponse(f"reading the devices takes longer than {patience:g} s\n", 503)
        form = choose_form(request.headers.get("accept"))
        compressed = accepts_gzip(request.headers.get("accept-encoding"))
        headers = {"Content-Type": form.value, "Vary": "Accept, Accept-Encoding"}
        if compressed:
            headers["Content-Encoding"] = "gzip"
        return Response(current.body(form, compressed), headers=headers)

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("healthy\n")

    async def landing(_: Request) -> Response:
        return HTMLResponse(_LANDING, headers=_PAGE_HEADERS)

    return Starlette(
        routes=[Route("/", landing), Route("/metrics", metrics), Route("/-/healthy", healthy)],
    )
