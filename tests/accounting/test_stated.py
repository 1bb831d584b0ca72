"""The service's statements are the command's, and those of a large month are read without making all of its lines."""

from __future__ import annotations

import threading
from dataclasses import replace
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, select

from accounting.rates.rating import Rates, RatingError
from accounting.service.last_value import Latest
from accounting.site import book
from accounting.statements import Statement, chargeback_csv
from accounting.statements.chargeback import chargeback_rows
from accounting.statements.csvtext import printable
from accounting.statements.known.jobs import Asked, Words
from accounting.statements.lines import Cards
from accounting.statements.month import month_statement, month_sums
from accounting.store.calendar import period_named
from accounting.store.database import LedgerError, insert_many, write
from accounting.store.tables import jobs, telemetry
from exporters.model import Disposition
from tests.accounting import plain_statement
from tests.accounting.october import HOUR, Site, october, run_1, told
from tests.accounting.plain_rating import rate, rate_corrections
from tests.accounting.plain_usage import corrections, usage
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


def month(site: Site, name: str) -> Statement:
    period = period_named(name)
    return book.served(site.engine, period, book.prices(site.config(), site.engine, period))


def whole(site: Site, name: str) -> plain_statement.Statement:
    """A month line by line."""
    period, rates = period_named(name), Rates({"h100": Decimal("2.10")})
    own = rate(usage(site.engine, period.start, period.end), rates, name)
    later = rate_corrections(corrections(site.engine, name), {"2026-10": rates}, rates, name)
    return plain_statement.compose(own + later, rates, name)


def cells(statement: plain_statement.Statement) -> list[tuple[str, ...]]:
    return [*plain_statement.chargeback_rows(statement, printable)]


def page(statement: Statement, offset: int, limit: int) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in chargeback_rows(statement, printable, offset, limit)]


def test_any_page_has_the_lines_that_the_whole_statement_has_there(site: Site) -> None:
    for name in NAMES:
        made, plain = month(site, name), whole(site, name)
        expected = cells(plain)
        number = len(expected)

        assert {"2026-10": 1, "2026-11": 0}[name] == sum(line.usage.energy_joules > 0 for line in plain.lines)

        assert (number, plain.totals) == (made.lines.height, made.totals)
        for offset in range(number + 2):
            for limit in (1, 3, number):
                assert expected[offset : offset + limit] == page(made, offset, limit)


def test_of_some_projects_there_are_their_lines_and_totals_and_no_others(site: Site) -> None:
    projects: list[set[str]] = [set(), {"vision"}, {"vision", ""}, {"nobody"}]
    for name, seen in product(NAMES, projects):
        made, every = month(site, name).of_projects(seen.__contains__), whole(site, name)
        expected = part(every, seen)

        assert (len(expected.lines), "vision" in seen) == (made.lines.height, made.lines.height > 0)
        assert expected.totals == made.totals
        assert cells(expected) == page(made, 0, 1000)
        final = replace(made, as_of=None)  # the oracle knows nothing of months that are open
        assert "".join(plain_statement.chargeback_csv(expected)).encode() == b"".join(chargeback_csv(final))


def part(every: plain_statement.Statement, seen: set[str]) -> plain_statement.Statement:
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
        assert site.month(name)[0] == b"".join(chargeback_csv(month(site, name)))


def test_a_page_reads_of_no_jobs_but_its_own(site: Site) -> None:
    asked: list[int] = []
    made = month(site, "2026-10")

    class Counting(Asked):
        def at_once(self, ids: pl.Series) -> Words:
            asked.extend(ids)
            return super().at_once(ids)

    rows = page(replace(made, words=Counting(site.engine)), 2, 3)

    assert 3 == len(rows)
    assert set(asked) == {*made.lines["job"][2:5], *made.lines["linked"][2:5]}
    assert made.lines.height > len(set(asked))


def test_a_job_that_is_not_there_is_told_in_one_sentence(site: Site) -> None:
    with pytest.raises(LedgerError, match="no job 77, of which something is booked: see meterbridge check"):
        Asked(site.engine)(pl.Series([1, 77]))


def test_a_model_without_a_price_is_named_with_its_job(site: Site) -> None:
    with pytest.raises(RatingError, match=r"no price for GPU model 'h100' \(job \w+/"):
        month_statement(site.engine, period_named("2026-10"), Cards(Rates({}), {}))


def test_what_a_month_comes_to_is_what_its_statement_comes_to(site: Site) -> None:
    rates = Rates({"h100": Decimal("2.10")})
    for name in NAMES:
        cards = Cards(rates, {"2026-10": rates})
        sums, made = month_sums(site.engine, period_named(name), cards), whole(site, name)

        assert (made.capacity, made.amount) == (sums.capacity, sums.amount)
        assert sums.charged == sum(t.quantity for t in made.totals if t.disposition is Disposition.CHARGED)


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
