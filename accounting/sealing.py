"""Seals: a digest over everything that was booked in a closed month, chained to the seal of the month before.

The digest is SHA-256 over the seal before it (nothing for the first) and the month's canonical text: one line of JSON
for the month and what it was closed with, then one per transaction and, below it, per posting, in the order in which
they were booked. Jobs are named by their keys. Whoever holds a seal can prove that neither that month nor any sealed
month before it has changed since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from functools import cache, partial
from itertools import groupby
from operator import itemgetter

import numpy as np
from sqlalchemy import ColumnElement, Connection, Engine, func, select, update

from accounting.bulk.pages import every
from accounting.bulk.readers import Given, Readers, readers
from accounting.bulk.texts import job_names
from accounting.database import LedgerError, chunks, read, write
from accounting.periods import CLOSED, OPEN, SEALED, period_named
from accounting.proofs import Breach
from accounting.rows import compact
from accounting.tables import periods, postings, transactions

_T, _P, _N = transactions.c, postings.c, periods.c
_PART = 400
"""Transactions that are read at once."""

_MUCH = 4000
"""Transactions for which it pays to start processes."""

_text = json.encoder.encode_basestring_ascii
_POSTING = ("account", "model", "quantity", "held", "project", "unit", "start_at", "end_at", "link", "reason")


def canonical_parts(readers: Readers, connection: Connection, name: str) -> Iterator[str]:
    """The text that a month's seal is taken over, some lines at a time; the same books give the same text anywhere.

    ``readers`` read the postings side by side, and see what ``connection`` sees.
    """
    month = connection.execute(select(periods).where(_N.name == name)).one()
    head = ["period", month.name, month.start_at, month.end_at, month.zone, month.closed_at, month.closed_with]
    yield compact(head) + "\n"
    numbers = connection.scalars(select(_T.id).where(_T.period == name).order_by(_T.id))
    spans = ((some[0], some[-1]) for some in chunks(numbers, _PART))
    yield from readers.map(partial(_booked, name=name), spans)


def _booked(connection: Connection, span: tuple[int, int], name: str) -> str:
    """The lines of a month's transactions between two numbers, each with those of its postings below it."""
    here = (_T.period == name, _T.id >= span[0], _T.id <= span[1])
    below = groupby(_postings(connection, here), key=itemgetter(0))
    number, lines = next(below, (0, iter(())))
    found = []
    for t in connection.execute(select(transactions).where(*here).order_by(_T.id)):
        hashes = [bytes(t.inputs_hash).hex(), bytes(t.rules_hash).hex()]
        head = ["transaction", t.id, t.kind, t.machine, t.start_at, t.end_at, t.amends]
        found.append(compact([*head, *hashes, t.posted_at, t.author, t.reason]))
        if number == t.id:
            found += [line for _, line in lines]
            number, lines = next(below, (0, iter(())))
    return "\n".join([*found, ""])


def _postings(connection: Connection, here: Sequence[ColumnElement[bool]]) -> Iterator[tuple[int, str]]:
    """Each posting's transaction and line, written out by hand: that is several times as fast as a JSON writer."""
    columns = (_P.transaction_id, *(_P[column] for column in _POSTING), _P.job_id, _P.linked_id)
    query = select(*columns).join(transactions, _T.id == _P.transaction_id).where(*here)
    rows = every(connection, query.order_by(_P.transaction_id, _P.id))
    ids = {n for row in rows for n in row[-2:] if n is not None}
    keys = job_names(connection, np.array([*ids], dtype=np.int64))
    names: dict[int | None, str] = {None: "null,null,null"}
    names |= {n: f"{_text(scheduler)},{_text(cluster)},{_text(run)}" for n, (scheduler, cluster, run) in keys.items()}
    often = cache(_text)
    for owner, account, model, quantity, held, project, unit, start, end, link, reason, job, linked in rows:
        first = f'["posting",{often(account)},{often(model)},{quantity},{held},{often(project)},{_text(unit)},'
        yield owner, f"{first}{start},{end},{often(link)},{often(reason)},{names[job]},{names[linked]}]"


def digest(readers: Readers, connection: Connection, name: str, before: bytes) -> bytes:
    """The seal of a month, given the seal of the month before it."""
    found = hashlib.sha256(before)
    for part in canonical_parts(readers, connection, name):
        found.update(part.encode())
    return found.digest()


def seal(engine: Engine, name: str, *, now: int, zone: tzinfo) -> bytes:
    """Seal a closed month and return its seal. Sealing it again changes nothing.

    Raises `LedgerError` when it is still open, or an earlier month is not sealed: the chain is in order of time.
    """
    wanted = period_named(name, zone)
    with write(engine) as connection:
        row = connection.execute(select(periods).where(_N.name == name)).first()
        if row is None or row.state == OPEN:
            raise LedgerError(f"period {name} is still open: close it before it is sealed")
        if row.state == SEALED:
            return bytes(row.seal)
        earlier = connection.execute(
            select(_N.name, _N.state, _N.seal).where(_N.start_at < wanted.start).order_by(_N.start_at)
        ).all()
        if unsealed := [e.name for e in earlier if e.state != SEALED]:
            raise LedgerError(f"seal {', '.join(unsealed)} before {name}: each seal is chained to the one before")
        before = bytes(earlier[-1].seal) if earlier else b""
        booked = connection.execute(
            select(func.count()).select_from(transactions).where(_T.period == name)
        ).scalar_one()
        with readers(engine, much=booked >= _MUCH) as some:  # they see what this one sees: nobody else can write
            made = digest(some, connection, name, before)
        news = {"state": SEALED, "seal": made, "sealed_at": now}
        connection.execute(update(periods).where(_N.name == name).values(news))
    return made


def seals_hold(connection: Connection) -> Iterator[Breach]:
    """Sealed months whose books have another digest than their seal, and months sealed out of order."""
    before, gap = b"", ""
    for month in connection.execute(select(periods).order_by(_N.start_at)).all():
        if month.state == SEALED:
            if gap:
                yield Breach(
                    "months are sealed in order", f"period {month.name}", f"sealed, but {gap} before it is not"
                )
            if month.seal is None or digest(Given(connection), connection, month.name, before) != bytes(month.seal):
                yield Breach(
                    "a sealed period is what was sealed", f"period {month.name}", "its books have another seal"
                )
            before = bytes(month.seal or b"")
        else:
            gap = gap or month.name
            if month.seal is not None:
                yield Breach("months are sealed in order", f"period {month.name}", f"{month.state}, but has a seal")


def closed_in_order(connection: Connection) -> Iterator[Breach]:
    """Open months before closed ones."""
    still_open = ""
    for month in connection.execute(select(_N.name, _N.state).order_by(_N.start_at)).all():
        if month.state in (CLOSED, SEALED) and still_open:
            yield Breach("months are closed in order", f"period {month.name}", f"closed, but {still_open} is open")
        still_open = still_open or (month.name if month.state == OPEN else "")


def chain(engine: Engine) -> list[tuple[str, str]]:
    """Every seal, oldest first: the month and the seal in hexadecimal."""
    query = select(_N.name, _N.seal).where(_N.seal.is_not(None)).order_by(_N.start_at)
    with read(engine) as connection:
        return [(name, bytes(made).hex()) for name, made in connection.execute(query)]
