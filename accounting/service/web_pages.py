"""The statement as a page, for a person with a browser: of the site for admins, of a project for whoever may see it.

A browser asks for a name and a password: the password is a token, and the name does not matter. What a closed month
says changes no more, so its pages have an ETag, and a browser keeps them, asking each time whether they still hold.
"""

from __future__ import annotations

import hashlib
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, Response

from accounting.service.auth import Role
from accounting.service.middleware import Caller
from accounting.statements.html.statement_page import Pages

Period = Annotated[str, Path(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="a billing month: 2026-10")]
OfProject = Annotated[str, Path(description="a project of which the statement has a line")]
Known = Annotated[str | None, Header(alias="If-None-Match", description="the ETag of what is known already")]

web_pages = APIRouter(prefix="/statements", tags=["pages"])


@web_pages.get("/{period}", response_class=HTMLResponse)
def read_site_page(request: Request, caller: Caller, period: Period, known: Known = None) -> Response:
    """The site's statement as a page for people. For admins."""
    if caller.role is not Role.ADMIN:
        own = ", ".join(f"/statements/{period}/{quote(name, safe='')}" for name in sorted(caller.projects))
        raise HTTPException(403, f"the site's page needs a token with role admin; this one may see {own}")
    pages: Pages = request.app.state.books.pages(period)
    return _page(pages, pages.site(lambda name: f"{period}/{quote(name, safe='')}"), known)


@web_pages.get("/{period}/{project:path}", response_class=HTMLResponse)
def read_project_page(
    request: Request, caller: Caller, period: Period, project: OfProject, known: Known = None
) -> Response:
    """A project's statement as a page for people."""
    if not caller.may_see(project):
        raise HTTPException(403, "this token may not see that project")
    pages: Pages = request.app.state.books.pages(period)
    if project not in pages.projects:
        raise HTTPException(404, f"the statement of {period} has no line of that project")
    return _page(pages, pages.project(project), known)


def _page(pages: Pages, text: str, known: str | None) -> Response:
    if pages.around.standing.state == "open":
        return HTMLResponse(text)
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if known is not None and any(one.strip().removeprefix("W/") in (tag, "*") for one in known.split(",")):
        return Response(status_code=304, headers=headers)
    return HTMLResponse(text, headers=headers)
