"""Seals: a digest over everything that was booked in a closed month, chained to the seal of the month before.

The digest is SHA-256 over the seal before it (nothing for the first) and the month's canonical text: one line of JSON
for the month and what it was closed with, then one per transaction and, below it, per posting, in the order in which
they were booked. Jobs are named by their keys. Whoever holds a seal can prove that neither that month nor any sealed
month before it has changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import tzinfo
from functools import partial

from sqlalchemy import Connection, Engine, func, select, update

from accounting.periods.canonical_text import booked_text
from accounting.periods.draws import Draw
from accounting.periods.proofs import Breach
from accounting.store.calendar import CLOSED, OPEN, SEALED, NotReadyError, period_named
from accounting.store.database import chunks, read, write
from accounting.store.decisions import SEAL, note
from accounting.store.readers import Given, Readers, readers
from accounting.store.rows import compact
from accounting.store.tables import periods, transactions

_T, _N = transactions.c, periods.c
_PART = 400
"""Transactions that are read at once."""

_MUCH = 4000
"""Transactions for which it pays to start processes."""


def canonical_parts(readers: Readers, connection: Connection, name: str) -> Iterator[bytes]:
    """The text that a month's seal is taken over, some lines at a time; the same books give the same text anywhere.

    ``readers`` read the postings side by side, and see what ``connection`` sees.
    """
    month = connection.execute(select(periods).where(_N.name == name)).one()
    head = ["period", month.name, month.start_at, month.end_at, month.zone, month.closed_at, month.closed_with]
    yield (compact(head) + "\n").encode()
    numbers = connection.scalars(select(_T.id).where(_T.period == name).order_by(_T.id))
    spans = ((some[0], some[-1]) for some in chunks(numbers, _PART))
    yield from readers.map(partial(booked_text, name=name), spans)


def digest(readers: Readers, connection: Connection, name: str, before: bytes) -> bytes:
    """The seal of a month, given the seal of the month before it."""
    found = hashlib.sha256(before)
    for part in canonical_parts(readers, connection, name):
        found.update(part)
    return found.digest()


def seal(engine: Engine, name: str, *, now: int, zone: tzinfo) -> bytes:
    """Seal a closed month and return its seal. Sealing it again changes nothing.

    Raises `NotReadyError` when it is still open, or an earlier month is not sealed: the chain is in order of time.
    """
    wanted = period_named(name, zone)
    with write(engine) as connection:
        row = connection.execute(select(periods).where(_N.name == name)).first()
        if row is None or row.state == OPEN:
            raise NotReadyError(f"period {name} is still open: close it first (meterbridge close {name})")
        if row.state == SEALED:
            return bytes(row.seal)
        earlier = connection.execute(
            select(_N.name, _N.state, _N.seal).where(_N.start_at < wanted.start).order_by(_N.start_at)
        ).all()
        if unsealed := [e.name for e in earlier if e.state != SEALED]:
            raise NotReadyError(f"seal {', '.join(unsealed)} before {name}: each seal is chained to the one before")
        before = bytes(earlier[-1].seal) if earlier else b""
        booked = connection.execute(
            select(func.count()).select_from(transactions).where(_T.period == name)
        ).scalar_one()
        # they see what this one sees: nobody else can write
        with readers(engine, much=booked >= _MUCH, loading=[booked_text.__module__]) as some:
            made = digest(some, connection, name, before)
        news = {"state": SEALED, "seal": made, "sealed_at": now}
        connection.execute(update(periods).where(_N.name == name).values(news))
        note(connection, SEAL, name, made.hex(), now)
    return made


def seals_hold(connection: Connection, draw: Draw) -> Iterator[Breach]:
    """Sealed months whose books have another digest than their seal."""
    months = connection.execute(select(periods).where(_N.state == SEALED).order_by(_N.start_at)).all()
    before = dict(zip([month.name for month in months], [b"", *(bytes(m.seal or b"") for m in months)], strict=False))
    for month in draw.months(months):
        made = digest(Given(connection), connection, month.name, before[month.name])
        if month.seal is None or made != bytes(month.seal):
            yield Breach("a sealed period is what was sealed", f"period {month.name}", "its books have another seal")


def sealed_in_order(connection: Connection) -> Iterator[Breach]:
    """Sealed months after ones that are not, and seals of months that are not sealed."""
    gap = ""
    for month in connection.execute(select(periods).order_by(_N.start_at)).all():
        if month.state == SEALED:
            if gap:
                what = f"sealed, but {gap} before it is not"
                yield Breach("months are sealed in order", f"period {month.name}", what)
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
