"""The service's statements are the command's, and those of a large month are read without making all of its lines."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from accounting.model import Line
from accounting.service.last_value import Latest
from accounting.site import book
from accounting.statements import Statement, chargeback_csv, statement_pages
from accounting.statements.statement_pages import StatedMonth
from accounting.store.calendar import period_named
from accounting.store.database import insert_many, write
from accounting.store.tables import jobs, telemetry
from tests.accounting.october import HOUR, Site, october, run_1, told
from tests.accounting.site import T0, ended
from tests.lab.daemons import wait_for

RUNS = 12
NAMES = ("2026-10", "2026-11")


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Site:
    """October with runs of three accounts, one after the other; closed, and a late record that corrects it."""
    site = october(engine, tmp_path)
    runs = [_of(n, ended(n, T0 + n * HOUR, T0 + (n + 1) * HOUR)) for n in range(5, 5 + RUNS)]
    told(engine, run_1(), *runs)
    site.run("reconcile", "--period", "2026-10")
    measured(engine, "7")
    site.run("close", "2026-10")
    told(engine, run_1(end=T0 + 4 * HOUR, note="late"), ended(2, T0 + 100, T0 + 200))
    site.run("reconcile", "--period", "2026-10")
    return site


def measured(engine: Engine, run: str) -> None:
    """A card of a run was half busy for an hour."""
    with write(engine) as connection:
        job = connection.execute(select(jobs.c.id).where(jobs.c.native_id == run)).scalar_one()
        row = (job, "7", "gn01", T0, 3600.0, 1800.0, 0.0, 7.2e6, 0.0, 0.0, 60, 120)
        insert_many(connection, telemetry, [c.name for c in telemetry.columns], [row])


def _of(number: int, record: Any) -> Any:
    """A run of one of three accounts; the third one belongs to no project."""
    account = ("vision", "nlp", "other")[number % 3]
    return replace(record, job=replace(record.job, account=account))


def month(site: Site, name: str) -> StatedMonth:
    period = period_named(name)
    return book.stated(site.engine, period, book.prices(site.config(), site.engine, period))


def whole(site: Site, name: str) -> Statement:
    return book.statement(site.config(), site.engine, period_named(name))


def without_reasons(lines: Sequence[Line]) -> list[Line]:
    """What a chargeback shows of lines: of usages, no reasons."""
    return [replace(line, usage=replace(line.usage, reason="")) for line in lines]


def test_any_page_has_the_lines_that_the_whole_statement_has_there(site: Site) -> None:
    for name in NAMES:
        made, expected = month(site, name), whole(site, name)
        number = len(expected.lines)

        assert {"2026-10": 1, "2026-11": 0}[name] == sum(line.usage.energy_joules > 0 for line in expected.lines)

        assert number == len(made)
        for offset in range(number + 2):
            for limit in (1, 3, number):
                page = made.page(offset, limit)

                assert without_reasons(expected.lines[offset : offset + limit]) == without_reasons(page.lines)
                assert expected.micro_hours[offset : offset + limit] == page.micro_hours
                assert expected.totals == page.totals


def test_of_some_projects_there_are_their_lines_and_totals_and_no_others(site: Site) -> None:
    projects: list[set[str]] = [set(), {"vision"}, {"vision", ""}, {"nobody"}]
    for name, seen in product(NAMES, projects):
        made, every = month(site, name).of_projects(seen.__contains__), whole(site, name)
        expected = part(every, seen)
        page = made.page(0, 1000)

        assert (len(expected.lines), "vision" in seen) == (len(made), len(made) > 0)
        assert (expected.totals, expected.micro_hours) == (made.totals().totals, page.micro_hours)
        assert without_reasons(expected.lines) == without_reasons(page.lines)
        assert "".join(chargeback_csv(expected)).encode() == text(made.chargeback())


def part(every: Statement, seen: set[str]) -> Statement:
    """Of a statement what is of some projects."""
    kept = [n for n, line in enumerate(every.lines) if line.usage.project in seen]
    return replace(
        every,
        lines=tuple(every.lines[n] for n in kept),
        micro_hours=tuple(every.micro_hours[n] for n in kept),
        totals=tuple(total for total in every.totals if total.project in seen),
    )


def test_the_chargeback_is_the_file_that_the_command_writes(site: Site) -> None:
    for name in NAMES:
        assert site.month(name)[0] == text(month(site, name).chargeback())


def text(parts: Iterator[str | bytes]) -> bytes:
    return b"".join(part.encode() if isinstance(part, str) else part for part in parts)


def test_a_page_makes_no_lines_but_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made = month(site, "2026-10")
    counted: list[int] = []
    monkeypatch.setattr(statement_pages, "rate", counting(statement_pages.rate, counted))
    page = made.page(2, 3)
    rows = [*csv.reader(io.StringIO(text(made.chargeback()).decode(), newline=""))]

    assert (3, [3]) == (len(page.lines), counted)
    assert len(made) + 1 == len(rows)


def counting(function: Callable[..., list[Line]], counted: list[int]) -> Callable[..., list[Line]]:
    def rate(usages: Sequence[Any], *more: Any) -> list[Line]:
        counted.append(len(usages))
        return function(usages, *more)

    return rate


class Large:
    """Something that it takes long to make."""


def test_what_was_made_is_kept_for_who_asks_for_the_same() -> None:
    now = [0.0]
    latest: Latest[Large] = Latest(60, lambda: now[0])
    first = latest.of("a", Large)
    again, other = latest.of("a", Large), latest.of("b", Large)
    back = latest.of("a", Large)
    now[0] = 61.0
    later = latest.of("a", Large)
    latest.forget()

    assert again is first
    assert 4 == len({first, other, back, later})


def test_what_nobody_asks_for_any_more_is_let_go_of() -> None:
    gone: list[str] = []

    class Noted(Large):
        def __del__(self) -> None:
            gone.append("gone")

    latest: Latest[Large] = Latest(0.05)
    latest.of("a", Noted)
    wait_for(lambda: gone, 10, "what was kept to be let go of")

    assert ["gone"] == gone


def test_several_who_ask_at_once_wait_for_one_that_makes_it() -> None:
    made: list[Large] = []
    begun, go_on = threading.Event(), threading.Event()

    def make() -> Large:
        begun.set()
        go_on.wait(10)
        made.append(Large())
        return made[-1]

    latest: Latest[Large] = Latest(60)
    found: list[Large] = []
    threads = [threading.Thread(target=lambda: found.append(latest.of("a", make))) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    latest.forget()

    assert (1, made * 3) == (len(made), found)


def test_one_that_cannot_be_made_is_tried_again() -> None:
    latest: Latest[Large] = Latest(60)

    def fails() -> Large:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        latest.of("a", fails)

    assert isinstance(latest.of("a", Large), Large)
    latest.forget()
