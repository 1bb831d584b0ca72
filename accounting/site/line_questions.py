"""What is asked of one line: which it is, by which price it came to its amount, and on what evidence it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import Engine

from accounting.site import book
from accounting.site.known_months import month_names
from accounting.statements.lines import NAME_BYTES
from accounting.statements.month import Named, lines_named
from accounting.statements.one_line.evidence_chain import Explanation, explain_usage
from accounting.statements.one_line.line_told import Facts, line_facts, line_lines, price_facts
from accounting.store.calendar import period_named
from accounting.store.database import LedgerError
from exporters.config import Config
from exporters.errors import EXIT_USAGE

_ID = re.compile(rf"L?([0-9a-f]{{1,{2 * NAME_BYTES}}})", re.IGNORECASE)


class LineError(LedgerError):
    """What was given names no line, or more than one."""

    exit_code = EXIT_USAGE


def explain(config: Config, line_id: str, name: str | None, *, evidence: bool = False) -> Iterator[str]:
    """A line for people: hours, price, amount and the sum per node; with ``evidence`` all that it stands on.

    ``line_id`` may be the beginning of one. Raises `LineError` as `line_found` does.
    """
    facts, chain = _explained(config, line_id, name, evidence=evidence)
    yield from line_lines(facts, chain, evidence=evidence)


def explained(config: Config, line_id: str, name: str | None, *, evidence: bool = False) -> Facts:
    """The same as data."""
    return _explained(config, line_id, name, evidence=evidence)[0]


def _explained(config: Config, line_id: str, name: str | None, *, evidence: bool) -> tuple[Facts, Explanation]:
    with book.opened(config) as engine:
        month, at, found = line_found(config, engine, line_id, name)
        span = found.spans[0][0], found.spans[-1][1]
        chain = explain_usage(engine, *span, found.usage, month if found.corrects else "", found.spans)
    return line_facts(month, found, at.rates, chain, evidence=evidence), chain


def price_of(config: Config, line_id: str, name: str | None) -> Facts:
    """By which price and factors a line came to its amount. Raises as `line_found` does."""
    with book.opened(config) as engine:
        month, at, found = line_found(config, engine, line_id, name)
    return price_facts(month, found, at.rates)


def line_found(config: Config, engine: Engine, line_id: str, name: str | None) -> tuple[str, book.Prices, Named]:
    """A line by its id or the beginning of it, in one month or in any: the month, its prices, and what the line is.

    Raises `LineError` when no month (or not that one) has such a line, and when several lines begin so.
    """
    told = _ID.fullmatch(line_id)
    if told is None:
        raise LineError(f"{line_id!r} is no line: one is written L and {2 * NAME_BYTES} digits, as line_id of the CSV")
    beginning = f"L{told[1].lower()}"
    months = [name] if name else list(reversed(month_names(engine)))
    found: list[tuple[str, book.Prices, Named]] = []
    for month in months:
        period = period_named(month, book.zone(config))
        at = book.prices(config, engine, period)
        found += [(month, at, line) for line in lines_named(engine, period, beginning, at.cards)]
        if found and (len(told[1]) == 2 * NAME_BYTES or len(found) > 1):
            break
    if not found:
        raise LineError(
            f"no line {line_id} in {', '.join(months) or 'an empty ledger'}: line_id is a column of the CSV"
        )
    if len(found) > 1:
        both = " and ".join(f"{line.line_id} of {month}" for month, _, line in found[:2])
        raise LineError(f"{line_id} is the beginning of more than one line: {both}; give more of it")
    return found[0]
