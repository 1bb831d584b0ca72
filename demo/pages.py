"""The demo's statement served to a browser on this machine: its pages, and no other file of its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from exporters.http.server import Server


def page_server(folder: Path, written: Sequence[Path]) -> Server:
    """A listener on a free port of the loopback for those of the written files that are pages; ``/`` is the site's."""
    pages = {path.relative_to(folder).as_posix(): path for path in written if path.suffix == ".html"}
    first = min(pages, key=lambda name: (name.count("/"), name))

    async def page(request: Request) -> Response:
        found = pages.get(request.path_params["name"])
        return Response(status_code=404) if found is None else HTMLResponse(found.read_bytes())

    async def home(_: Request) -> Response:
        return RedirectResponse(f"/{first}")

    return Server(Starlette(routes=[Route("/", home), Route("/{name:path}", page)]), "127.0.0.1:0")
