"""The pages of a month for people, out of a site's ledger: this month, the one before, and those of the trend."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine

from accounting.periods.closing import period_states
from accounting.rates.rating import RatingError
from accounting.site import book
from accounting.site.known_months import month_names
from accounting.statements import Statement
from accounting.statements.columnar.focus import Bill, focus_csv, focus_parquet
from accounting.statements.columnar.parquet import chargeback_parquet
from accounting.statements.doubts import doubts
from accounting.statements.html.formats import Formats
from accounting.statements.html.statement_page import TREND, MonthSum, Pages, Standing, Surroundings
from accounting.statements.month import month_sums
from accounting.store.calendar import Period, period_at, period_named
from exporters.config import Config

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def pages_of(config: Config, engine: Engine, period: Period, statement: Statement) -> Pages:
    """The pages of a month. Of an earlier one that cannot be priced now they say so, and leave it out of the trend."""
    zone = book.zone(config)
    state = next((s for s in period_states(engine) if s.name == period.name), None)
    kept = state.closed_with if state else None
    before = period_at(period.start - 1, zone)
    names = [name for name in month_names(engine) if name < period.name][-(TREND - 1) :]
    earlier = _statement(config, engine, before) if before.name in names else None
    around = Surroundings(
        config.site,
        Formats(config.statements.numbers, config.statements.dates, zone),
        Standing(state.state, state.closed_at, state.seal.hex()) if state else Standing(),
        earlier,
        before.name if earlier is None and before.name in names else "",
        [found for name in names if (found := _sum(config, engine, period_named(name, zone)))],
        kept.doubts if kept else doubts(engine, period),
    )
    return Pages.of(statement, around)


def _statement(config: Config, engine: Engine, period: Period) -> Statement | None:
    try:
        return book.served(engine, period, book.prices(config, engine, period))
    except RatingError:
        return None


def _sum(config: Config, engine: Engine, period: Period) -> MonthSum | None:
    try:
        at = book.prices(config, engine, period)
        sums = month_sums(engine, period, at.cards)
    except RatingError:
        return None
    return MonthSum(period.name, at.rates.currency, sums.by_project, sums.amounts)


def every_file(
    config: Config, folder: Path, *, html: bool = False, parquet: bool = False, focus: bool = False
) -> book.More:
    """The files that are asked for besides the chargeback (`accounting.site.book.write_statement`)."""

    def files(engine: Engine, period: Period, statement: Statement) -> Mapping[Path, Iterable[str | bytes]]:
        typed = {folder / f"chargeback-{period.name}.parquet": chargeback_parquet(statement)} if parquet else {}
        costs: Mapping[Path, Iterable[bytes]] = focus_files(config.site, folder, period, statement) if focus else {}
        return {**typed, **costs, **(page_files(pages_of(config, engine, period, statement), folder) if html else {})}

    return files


def focus_files(site: str, folder: Path, period: Period, statement: Statement) -> Mapping[Path, Iterable[bytes]]:
    """The month as a FOCUS dataset, as CSV and as Parquet."""
    name, bill = f"focus-cost-and-usage-{period.name}", Bill(site, period)
    return {
        folder / f"{name}.csv": focus_csv(statement, bill),
        folder / f"{name}.parquet": focus_parquet(statement, bill),
    }


def page_files(pages: Pages, folder: Path) -> Mapping[Path, Iterable[str]]:
    """The files of a month: the site's ``2026-10.html``, and ``2026-10/PROJECT.html``; each is made when it is read."""
    period = pages.statement.billing_period
    names = file_names(pages.projects)

    def project(name: str) -> Iterable[str]:
        yield pages.project(name)

    def site() -> Iterable[str]:
        yield pages.site(lambda name: quote(f"{period}/{names[name]}.html"))

    of_projects = {folder / period / f"{file}.html": project(name) for name, file in names.items()}
    return {**of_projects, folder / f"{period}.html": site()}


_OURS = '<meta name="generator" content="meterbridge">'
"""What is in the first lines of a page of ours (`statement.template.html`)."""

_HEAD = 2000
"""Characters of a page in which that is looked for."""


def take_away(folder: Path, period: str, written: Collection[Path]) -> Iterator[Path]:
    """Take away the pages of projects that the statement of a month does not have any more; nothing that is not ours.

    They were written before, and would be read as that project's statement.
    """
    for path in sorted((folder / period).glob("*.html")):
        if path not in written and path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                ours = _OURS in file.read(_HEAD)
            if ours:
                path.unlink()
                yield path


def file_names(projects: Sequence[str]) -> Mapping[str, str]:
    """A file's name for each project, without its ending: itself where it is a plain one, else what is plain of it and
    a digest, so that no two projects share a file, whatever their letter case.

    >>> file_names(["vision", "Vision/../x"])
    {'vision': 'vision', 'Vision/../x': 'vision-x-d54cc214'}
    """
    return {
        name: name if _PLAIN.fullmatch(name) else f"{_plain(name)}-{_digest(name)}".lstrip("-") for name in projects
    }


def _plain(name: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", name.casefold()))[:48].strip("-")


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
