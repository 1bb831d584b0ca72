"""The accounting service's HTTP side: statements for those who may see them, its own health, its own metrics.

It knows nothing of the ledger: what it serves comes from `Books`, which the front door wires to one. Every answer
under ``/api/`` needs a token; a project's token sees that project's lines and totals, and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import chain, islice
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, Field

from accounting.service.auth import Principal, Role
from accounting.service.front_page import api_page
from accounting.service.loop import Loop
from accounting.service.metrics import PROJECT_FAMILIES, StandingCollector, Standings
from accounting.service.middleware import Caller, Guard, RequestMetrics, TokenCheck, admin
from accounting.service.web_pages import Period, web_pages
from accounting.statements import Statement, chargeback_csv, summary_csv
from accounting.statements.chargeback import COLUMNS, chargeback_rows
from accounting.statements.csvtext import printable
from accounting.statements.html.statement_page import Pages
from accounting.statements.summary import SUMMARY_COLUMNS, capacity_row, summary_rows

PAGE_LIMIT = 10_000
"""Lines in one JSON answer; the CSV has them all."""


class UnknownPeriodError(LookupError):
    """There is no such billing period in the books."""

    def __init__(self, period: str) -> None:
        super().__init__(f"there is no billing period {period}")


class UnavailableError(Exception):
    """The books cannot be read now. The message names what and where; it is shown to the caller."""


class Books(Protocol):
    """What the service serves. The methods may block: they are called from worker threads, several at once."""

    def periods(self) -> Sequence[str]:
        """Name the billing periods there are, oldest first. Raises `UnavailableError`."""
        ...

    def statement(self, period: str) -> Statement:
        """The statement of one period. Raises `UnknownPeriodError` or `UnavailableError`."""
        ...

    def pages(self, period: str) -> Pages:
        """The same for people. Raises `UnknownPeriodError` or `UnavailableError`."""
        ...

    def check(self, sample: int | None) -> tuple[Sequence[str], str]:
        """Check every invariant, or a sample: one sentence per breach, and what could not be proved."""
        ...

    def ready(self) -> str:
        """Say why the books cannot be served now, or nothing when they can."""
        ...


def _example(columns: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(columns, "")


class Periods(BaseModel):
    """The billing periods there are."""

    periods: list[str]


class Check(BaseModel):
    """Whether the books are sound, and each breach in a sentence."""

    sound: bool
    breaches: list[str]
    waits: str = Field(description="node-days with newer records, which are not proved; mostly empty")


_STATE: Any = Field(description="`closed`, or `open, as of` when something was last booked in it")


class StatementPage(BaseModel):
    """Some lines of a statement, in its order. Quantities and money are text, so that no reader rounds them."""

    billing_period: str
    state: str = _STATE
    total: int = Field(description="lines there are")
    offset: int = Field(description="lines before the first one here")
    lines: list[dict[str, str]] = Field(description="by column of the chargeback CSV", examples=[[_example(COLUMNS)]])


class Summary(BaseModel):
    """The totals of a period. ``capacity`` is what all of them sum to; only an admin sees it."""

    billing_period: str
    state: str = _STATE
    rows: list[dict[str, str]] = Field(
        description="by column of the summary CSV", examples=[[_example(SUMMARY_COLUMNS)]]
    )
    capacity: dict[str, str] | None


OfProject = Annotated[str | None, Query(alias="project", description="only this project's lines and totals")]

api = APIRouter(prefix="/api/v1", tags=["statements"])
health = APIRouter(tags=["health"])


def create_service(
    books: Books,
    tokens: TokenCheck,
    loop: Loop | None = None,
    registry: CollectorRegistry | None = None,
    standings: Standings | None = None,
) -> FastAPI:
    """Build the ASGI application. It starts ``loop`` with the server and stops it with the server.

    ``registry`` is what ``/metrics`` shows: the loop's metrics, and those of the requests, which are added here.
    ``standings`` is where the books stand, by project for those who may see it.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if loop:
            loop.start()
        yield
        if loop:
            loop.stop()

    app = FastAPI(
        title="meterbridge accounting",
        summary="Statements in which every GPU-second of the fleet appears exactly once.",
        version="1",
        docs_url=None,  # its pages load scripts from elsewhere; ours is plain
        redoc_url=None,
        lifespan=lifespan,
    )
    registry = registry or CollectorRegistry()
    app.state.books, app.state.tokens, app.state.loop, app.state.registry = books, tokens, loop, registry
    app.state.standings = standings or Standings()
    app.include_router(api)
    app.include_router(web_pages)
    app.include_router(health)
    app.add_exception_handler(UnknownPeriodError, _failure(404))
    app.add_exception_handler(UnavailableError, _failure(503))
    app.add_middleware(Guard, metrics=RequestMetrics(registry))
    return app


def _failure(status: int) -> Any:
    async def answer(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status)

    return answer


@api.get("/periods")
def list_periods(request: Request, _: Caller) -> Periods:
    """The billing periods there are, oldest first."""
    return Periods(periods=list(request.app.state.books.periods()))


@api.get("/statements/{period}")
def read_statement(
    request: Request,
    caller: Caller,
    period: Period,
    project: OfProject = None,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = 1_000,
) -> StatementPage:
    """The lines of a statement, page by page."""
    statement = _visible(request, caller, period, project)
    lines = [*chargeback_rows(statement, printable, offset, limit)]
    total = statement.lines.height
    return StatementPage(billing_period=period, state=statement.state, total=total, offset=offset, lines=lines)


@api.get("/statements/{period}/chargeback.csv", response_class=StreamingResponse)
def read_chargeback(request: Request, caller: Caller, period: Period, project: OfProject = None) -> Response:
    """The statement as the CSV file that `meterbridge statement` writes."""
    lines = chargeback_csv(_visible(request, caller, period, project))
    begun = [*islice(lines, 2)]  # what cannot be read at all is told before anything is sent
    return _csv(f"chargeback-{period}.csv", chain(begun, lines))


@api.get("/statements/{period}/summary")
def read_summary(request: Request, caller: Caller, period: Period, project: OfProject = None) -> Summary:
    """The totals per disposition, project and scheduler."""
    statement = _visible(request, caller, period, project)
    rows = [dict(zip(SUMMARY_COLUMNS, row, strict=True)) for row in summary_rows(statement, printable)]
    capacity = dict(zip(SUMMARY_COLUMNS, capacity_row(statement), strict=True))
    shown = capacity if _whole(caller, project) else None
    return Summary(billing_period=period, state=statement.state, rows=rows, capacity=shown)


@api.get("/statements/{period}/summary.csv", response_class=StreamingResponse)
def read_summary_csv(request: Request, caller: Caller, period: Period, project: OfProject = None) -> Response:
    """The summary as a CSV file; its last row is capacity, which only an admin sees."""
    statement = _visible(request, caller, period, project)
    rows = summary_csv(statement, capacity=_whole(caller, project))
    return _csv(f"chargeback-{period}-summary.csv", ["".join(rows)])


@api.get("/check", dependencies=[Depends(admin)])
def check_books(
    request: Request,
    sample: Annotated[int | None, Query(ge=1, description="reconcile only so many booked days again")] = None,
) -> Check:
    """Whether every invariant of the ledger holds. For admins."""
    breaches, waits = request.app.state.books.check(sample)
    return Check(sound=not breaches, breaches=list(breaches), waits=waits)


@api.get("/metrics", response_class=PlainTextResponse)
def read_project_metrics(request: Request, caller: Caller) -> Response:
    """What each project's months come to so far, for Prometheus: of all projects for admins, else of one's own."""
    registry = CollectorRegistry()
    standings: Standings = request.app.state.standings
    registry.register(StandingCollector(PROJECT_FAMILIES, lambda: standings.of_projects(caller.may_see)))
    return _exposition(request, registry)


@health.get("/-/healthy", response_class=PlainTextResponse)
def healthy(request: Request) -> PlainTextResponse:
    """Whether the process is worth keeping: its loop runs."""
    loop: Loop | None = request.app.state.loop
    if loop and not loop.alive:
        return PlainTextResponse("the loop has ended\n", 503)
    return PlainTextResponse("healthy\n")


@health.get("/-/ready", response_class=PlainTextResponse)
def ready(request: Request) -> PlainTextResponse:
    """Whether the books can be served now; if not, why not."""
    why_not = request.app.state.books.ready()
    return PlainTextResponse(f"{why_not}\n", 503) if why_not else PlainTextResponse("ready\n")


@health.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """The service's own metrics, for Prometheus. They name no project."""
    return _exposition(request, request.app.state.registry)


def _exposition(request: Request, registry: CollectorRegistry) -> Response:
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=content_type)


@health.get("/", response_class=HTMLResponse, include_in_schema=False)
def front_page(request: Request) -> HTMLResponse:
    """What there is, on one page that loads nothing from elsewhere."""
    return HTMLResponse(api_page(request.app.openapi()))


def _visible(request: Request, caller: Principal, period: str, project: str | None) -> Statement:
    """The statement as this caller may see it: lines, their hours, and totals."""
    if project is not None and not caller.may_see(project):
        raise HTTPException(403, f"this token may not see project {project}")
    statement: Statement = request.app.state.books.statement(period)
    if _whole(caller, project):
        return statement
    viewer = caller if project is None else Principal(caller.name, Role.PROJECT, frozenset({project}))
    return statement.of_projects(viewer.may_see)


def _whole(caller: Principal, project: str | None) -> bool:
    return caller.role is Role.ADMIN and project is None


def _csv(name: str, parts: Iterable[str | bytes]) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(parts, media_type="text/csv; charset=utf-8; header=present", headers=headers)
