"""Several real processes at work on one ledger at once: nothing is lost, nothing is there twice, all of them end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import httpx2
import pytest

from accounting.intake.rejects import rejects
from accounting.periods.check import check
from accounting.service import site_service
from accounting.site import book
from accounting.store.database import LedgerError, connect, write
from accounting.store.tables import cursors
from tests.accounting import views
from tests.accounting.crashing import forks, live, run
from tests.accounting.lives import EVENTS, FIRST, LATER, SETTLED, Told
from tests.accounting.october import Site
from tests.accounting.posting import balances
from tests.accounting.shelves import PostgresShelf, Shelf, SqliteShelf
from tests.lab.daemons import wait_for


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server("postgresql"))])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    found: Shelf
    if request.param == "sqlite":
        found = SqliteShelf(tmp_path, request.getfixturevalue("empty_sqlite"))
    else:
        found = PostgresShelf(request.getfixturevalue("postgres"))
    yield found
    found.close()


def at_once(*work: tuple[Callable[..., None], *tuple[Any, ...]]) -> list[int | None]:
    """Do all of it side by side; the exit codes."""
    processes = [forks().Process(target=what, args=arguments) for what, *arguments in work]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
    return [process.exitcode for process in processes]


def said(url: str) -> dict[str, Any]:
    """What a ledger says, whatever the order in which it was told."""
    engine = connect(url)
    try:
        aside = sorted((r.kind, r.record, r.reason) for r in rejects(engine))  # not those that were resolved since
        books = balances(engine, FIRST, SETTLED)
        return {**views.everything(engine), "rejects": aside, "books": books, "breaches": check(engine)}
    finally:
        engine.dispose()


def folders(root: Path, number: int) -> list[Path]:
    found = [root / f"process-{n}" for n in range(number)]
    for folder in found:
        folder.mkdir()
    return found


def test_processes_that_read_the_same_and_different_sources_and_reconcile_at_once(shelf: Shelf, tmp_path: Path) -> None:
    alone, together = shelf.new("alone"), shelf.new("together")
    history, other = ["ingest", "ingest on"], ["watch", "watch on"]
    book_all = ["reconcile", "reconcile all"]
    homes = folders(tmp_path, 6)
    expected = run(live, alone, homes[0], [*history, *other, "reconcile all"], None)
    codes = at_once(
        (live, together, homes[1], history, None),
        (live, together, homes[2], history, None),
        (live, together, homes[3], other, None),
        (live, together, homes[4], book_all, None),
        (live, together, homes[5], book_all, None),
    )
    codes.append(run(live, together, homes[4], ["reconcile all"], None))

    assert [0] * 7 == [expected, *codes]
    assert said(alone) == said(together)


def serve(url: str, folder: Path) -> None:
    """Be the accounting service until it has ingested and reconciled."""
    site = Site(connect(url), folder, extra='service: {listen: "127.0.0.1:0"}\n')
    with (
        mock.patch("accounting.site.book.slurm.history", return_value=Told(LATER, EVENTS)),
        mock.patch.object(book, "first_second", return_value=FIRST),
    ):
        service = site_service.service(site.config(), clock=lambda: float(SETTLED))
        service.start()
        for task in ("ingest-lab", "reconcile"):
            done = f'meterbridge_task_success{{task="{task}"}} 1.0'
            wait_for(lambda done=done: done in httpx2.get(f"{service.url}/metrics").text, 60, done)
        service.stop()


def test_two_services_with_one_ledger(shelf: Shelf, tmp_path: Path) -> None:
    alone, together = shelf.new("alone"), shelf.new("together")
    homes = folders(tmp_path, 3)
    for url in (alone, together):
        assert 0 == run(live, url, homes[0], ["watch", "watch on"], None)
    codes = [run(serve, alone, homes[0]), *at_once((serve, together, homes[1]), (serve, together, homes[2]))]

    assert [0] * 3 == codes
    assert said(alone) == said(together)


def test_a_writer_that_waits_too_long_says_for_whom_and_writes_nothing(shelf: Shelf) -> None:
    url = shelf.new("busy")
    with mock.patch("accounting.store.database.BUSY_SECONDS", 0.2):
        engine, other = connect(url), connect(url)
        row = cursors.insert().values(source="sacct", cluster="lab", position=1)
        with write(other) as holder:
            holder.execute(row)
            with (
                pytest.raises(LedgerError, match=r"another process has been writing to the ledger .* for 0\.2 s"),
                write(engine),
            ):
                raise AssertionError("two writers at once")
        with write(engine) as connection:  # the other has ended
            connection.execute(cursors.delete())
    for each in (engine, other):
        each.dispose()
