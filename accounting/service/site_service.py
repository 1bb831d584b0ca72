"""The accounting service of a site: its books behind the HTTP side, and its work on a clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from accounting.periods.closing import period_state
from accounting.rates.rating import RatingError
from accounting.service.app import UnavailableError, UnknownPeriodError, create_service
from accounting.service.auth import TokenFile, Tokens
from accounting.service.last_value import Latest
from accounting.service.loop import Loop, Task
from accounting.service.metrics import OPEN_FAMILIES, Due, Months, Standing, StandingCollector, Standings, stand
from accounting.site import book, proof, recovery, rereading
from accounting.site.known_months import month_names
from accounting.site.statement_pages import pages_of
from accounting.statements import Statement
from accounting.statements.html.statement_page import Pages
from accounting.statements.month import month_sums
from accounting.store.calendar import period_named
from accounting.store.database import LedgerError, next_id, read
from accounting.store.tables import transactions
from exporters.config import Config
from exporters.http.server import Server
from exporters.http.web_guard import WebGuard

READ_AGAIN = 3600.0
"""Seconds between two looks whether last month's history is to be read once more."""


class LedgerBooks:
    """What the HTTP side serves, read from the ledger at each question (`accounting.service.app.Books`)."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self._config, self._engine = config, engine
        self._latest: Latest[Statement] = Latest(config.service.interval)
        self._latest_pages: Latest[Pages] = Latest(config.service.interval)

    def periods(self) -> Sequence[str]:
        """The billing months that have postings, oldest first."""
        try:
            return month_names(self._engine)
        except DBAPIError as e:
            raise self._unreadable(e) from e

    def statement(self, period: str) -> Statement:
        """The statement of one month as the books have it now; what was measured may be ``service.interval`` old."""
        return self._made(period)[1]

    def pages(self, period: str) -> Pages:
        """The same as pages for people."""
        key, month = self._made(period)
        there = period_named(period, book.zone(self._config))
        key = (*key, period_state(self._engine, period))
        with self._told():
            return self._latest_pages.of(key, lambda: pages_of(self._config, self._engine, there, month))

    def _made(self, period: str) -> tuple[tuple[object, ...], Statement]:
        """The statement, and of which month, prices and books it is."""
        if period not in self.periods():
            raise UnknownPeriodError(period)
        month = period_named(period, book.zone(self._config))
        with self._told():
            at = book.prices(self._config, self._engine, month)
            with read(self._engine) as connection:
                booked = next_id(connection, transactions)
            key = (period, at, booked)
            return key, self._latest.of(key, lambda: book.served(self._engine, month, at))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What stands in the way of a statement, as the HTTP side tells it."""
        try:
            yield
        except (RatingError, LedgerError) as e:
            raise UnavailableError(str(e)) from e

    async def unreadable(self, _: Request, error: Exception) -> JSONResponse:
        """What is answered where the database fails while lines are read: what failed, without the statement in SQL."""
        told = str(self._unreadable(error)) if isinstance(error, DBAPIError) else str(error)
        return JSONResponse({"detail": told}, 503)

    def _unreadable(self, error: DBAPIError) -> UnavailableError:
        return UnavailableError(f"the ledger {self._engine.url!r} cannot be read: {error.orig}")

    def check(self, sample: int | None) -> tuple[Sequence[str], str]:
        """Every breach of an invariant, in a sentence, and what could not be proved."""
        found = proof.prove(self._config, self._engine, draw=proof.sample(sample))
        return [str(breach) for breach in found.breaches], found.waits

    def ready(self) -> str:
        """Why the books cannot be served now, or nothing."""
        try:
            self.periods()
        except UnavailableError as e:
            return str(e)
        return ""


class Service(Server):
    """The service's listener; stopping it also releases the ledger's connections."""

    def __init__(self, app: ASGIApp, config: Config, engine: Engine) -> None:
        super().__init__(app, config.service.listen, config.service.config_file, lifespan=True)
        self._engine = engine

    def stop(self) -> None:
        """Answer what was asked, then end. Safe to call twice."""
        super().stop()
        self._engine.dispose()


def usable(config: Config) -> None:
    """Raise `exporters.errors.OperatorError` where these settings cannot be served; the ledger is left alone."""
    if config.service.tokens_file:
        TokenFile(config.service.tokens_file)
    WebGuard(config.service.config_file)
    book.changes(config)


def service(config: Config, clock: Callable[[], float] = time.time) -> Service:
    """The accounting service of these settings, not yet started. ``clock`` tells now in epoch seconds.

    It ingests every Slurm cluster (and a month once more after `ledger.settle`), recovers the gaps of Kubernetes
    clusters, reconciles every ``service.interval``, and checks the ledger every ``service.check_interval``
    (`accounting.site.proof.Rounds`). Without
    ``service.tokens_file`` its API lets nobody in; health and metrics are open.
    """
    engine = book.ledger(config, create=True)
    tokens = TokenFile(config.service.tokens_file) if config.service.tokens_file else Tokens()
    registry = CollectorRegistry()
    tasks = [
        Task(f"ingest-{c.cluster}", c.history.interval, lambda c=c: book.ingest(config, c, int(clock())))  # type: ignore[misc]
        for c in config.slurm
        if c.history.enabled
    ]
    if config.slurm:
        tasks.append(Task("read-again", READ_AGAIN, lambda: rereading.last_month(config, engine, int(clock()))))
    tasks += [
        Task(f"recover-{k.cluster}", k.history.interval, lambda k=k: recovery.recover(config, k, int(clock())))  # type: ignore[misc]
        for k in config.kubernetes
        if k.history is not None
    ]
    tasks.append(
        Task(
            "reconcile",
            config.service.interval,
            lambda: book.reconcile_period(config, None, int(clock()), unfinished=False),
        )
    )
    standings, known, rounds = Standings(), Months(), proof.Rounds(config.service.check_interval)
    registry.register(StandingCollector(OPEN_FAMILIES, standings.overall))
    tasks.append(
        Task("standing", config.service.interval, lambda: standings.stands(standing_of(config, engine, known)))
    )
    tasks.append(
        Task(
            "check",
            config.service.check_interval,
            lambda: standings.checked(rounds.check(config, engine), clock()),
        )
    )
    books = LedgerBooks(config, engine)
    app = create_service(books, tokens, Loop(tasks, registry, wall=clock), registry, standings)
    for failure in (DBAPIError, LedgerError):
        app.add_exception_handler(failure, books.unreadable)
    return Service(app, config, engine)


def standing_of(config: Config, engine: Engine, known: Months) -> Standing:
    """Where the books stand now, each month at its own prices. ``known`` is what was read of months before."""

    def due(month: str) -> Due:
        period = period_named(month, book.zone(config))
        at = book.prices(config, engine, period)
        return Due(at.rates.currency, at, lambda: month_sums(engine, period, at.cards).amounts)

    return stand(engine, due, known)
