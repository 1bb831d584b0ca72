"""The books of a month as a Beancount ledger, so that an independent double-entry program adds them up again.

Every transaction booked in the month is written, reversals and corrections too, and after them what our own sums say as
`balance` assertions: `bean-check` fails when the two disagree by one milliGPU-second.

    2026-10-01 * "gn01" "post"
      transaction: "1"
      Equity:Capacity             -691200000 MGS.H100
      Expenses:Charged:P-vision    691200000 MGS.H100

Accounts are the dispositions, below them the project (``P-`` and its name, with what Beancount does not take in an
account written as ``-hex-``); a commodity is milliGPU-seconds of one GPU model. Beancount numbers are decimal: exact.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, tzinfo
from itertools import chain

import polars as pl
from sqlalchemy import Connection, Engine, func, select

from accounting.ledger.booking import CORRECTION
from accounting.model import CAPACITY
from accounting.statements.compose import open_as_of
from accounting.statements.month import last_booked
from accounting.statements.usage import corrections, standing
from accounting.store.calendar import Period
from accounting.store.columns import columns
from accounting.store.database import read
from accounting.store.tables import postings, transactions
from exporters.model import Disposition

ROOT = {CAPACITY: "Equity:Capacity", **{d.value: f"Expenses:{d.value.capitalize()}" for d in Disposition}}
_LONGEST_MODEL = 12
"""A Beancount currency has 24 characters at most, of which ours needs some."""

_T, _P = transactions.c, postings.c
_GROUP = (_P.account, _P.project, _P.model)
_Sums = Mapping[tuple[str, str, str], int]


def account(disposition: str, project: str) -> str:
    """The Beancount account of a disposition and a project; different names never share one.

    >>> account("charged", "vision_lab")
    'Expenses:Charged:P-vision-5f-lab'
    """
    root = ROOT[disposition]
    if not project:
        return root
    return f"{root}:P-" + re.sub(
        r"[^A-Za-z0-9]", lambda m: "-" + m[0].encode(errors="backslashreplace").hex() + "-", project
    )


def commodities(models: Iterable[str]) -> dict[str, str]:
    """A Beancount currency for each GPU model; where two would share one, or a name does not fit, it gets a digest.

    >>> commodities(["h100", "NVIDIA L40S"])
    {'NVIDIA L40S': 'MGS.NVIDIA-L40S', 'h100': 'MGS.H100'}
    """
    plain = {m: re.sub(r"[^A-Z0-9]+", "-", m.upper()).strip("-")[:_LONGEST_MODEL].strip("-") for m in models}
    taken = Counter(plain.values())
    return {m: f"MGS.{p}" if p and taken[p] == 1 else f"MGS.{p}.{_digest(m)}" for m, p in sorted(plain.items())}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:6].upper()


def export(engine: Engine, period: Period, zone: tzinfo = UTC) -> Iterator[str]:
    """The lines of a month's Beancount ledger; the first says of an open one that it is. The same books give the same
    text.
    """
    first = datetime.fromtimestamp(period.start, zone).date()
    last = datetime.fromtimestamp(period.end, zone).date()
    with read(engine) as connection:
        if (as_of := last_booked(connection, period)) is not None:
            yield f"; {period.name} is {open_as_of(as_of)}\n"
        sums = _booked_sums(connection, period)
        yield f'option "title" "meterbridge {period.name}, milliGPU-seconds"\n'
        units = commodities({model for _, _, model in sums})
        for model, unit in units.items():
            yield f"{first} commodity {unit}\n  name: {_quoted(model or 'unknown model')}\n"
        for name in sorted({account(d, p) for d, p, _ in sums} | {ROOT[d] for d, _, _ in sums}):
            yield f"{first} open {name}\n"
        yield from _journal(connection, period, first, zone, units)
        yield from _assertions(connection, period, sums, last, units)


def _booked_sums(connection: Connection, period: Period) -> _Sums:
    """What was booked in the period, corrections of earlier ones too, by disposition, project and model."""
    query = (
        select(*_GROUP, func.sum(_P.quantity))
        .join(transactions, _T.id == _P.transaction_id)
        .where(_T.period == period.name, _P.account != "")
        .group_by(*_GROUP)
    )
    return {(d, project, model): int(total) for d, project, model, total in connection.execute(query)}


def _journal(
    connection: Connection, period: Period, first: date, zone: tzinfo, units: Mapping[str, str]
) -> Iterator[str]:
    query = (
        select(_T.id, _T.kind, _T.machine, _T.start_at, _T.amends, *_GROUP, _P.quantity)
        .join(postings, _P.transaction_id == _T.id)
        .where(_T.period == period.name, _P.account != "", _P.quantity != 0)
        .order_by(_T.id, _P.id)
    )
    open_one: int | None = None
    for number, kind, machine, start, amends, disposition, project, model, quantity in connection.execute(query):
        if number != open_one:
            open_one = number
            day = first if kind == CORRECTION else datetime.fromtimestamp(start, zone).date()
            yield f'\n{day} * {_quoted(machine)} "{kind}"\n  transaction: "{number}"\n'
            if amends is not None:
                yield f'  amends: "{amends}"\n'
            if kind == CORRECTION:
                yield f'  corrects-day: "{datetime.fromtimestamp(start, zone).date()}"\n'
        yield f"  {account(disposition, project)}  {quantity} {units[model]}\n"


def _assertions(
    connection: Connection, period: Period, sums: _Sums, on: date, units: Mapping[str, str]
) -> Iterator[str]:
    """Our own balances, asserted: per project and model, and per disposition and model from the month's usages."""
    yield "\n"
    of_project: dict[tuple[str, str], int] = defaultdict(int)
    for (disposition, project, model), total in sums.items():
        if project:
            of_project[account(disposition, project), units[model]] += total
    whole: dict[tuple[str, str], int] = defaultdict(int)
    with columns(connection) as ledger:
        usages = (standing(ledger, period.start, period.end), corrections(ledger, period.name))
    by_word = (found.group_by("disposition", "gpu_model").agg(pl.col("charged").sum()) for found in usages)
    for disposition, model, total in chain.from_iterable(found.iter_rows() for found in by_word):
        if disposition:
            whole[ROOT[disposition], units[model]] += total
            whole[ROOT[CAPACITY], units[model]] -= total
    opened = {(ROOT[disposition], units[model]) for disposition, _, model in sums}
    told = {place: total for place, total in whole.items() if total or place in opened}
    for (name, unit), total in sorted({**of_project, **told}.items()):
        yield f"{on} balance {name}  {total} {unit}\n"


def _quoted(text: str) -> str:
    """A Beancount string: quotes and backslashes escaped, control characters made visible."""
    clean = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'
