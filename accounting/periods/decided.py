"""Proofs about decisions: their chain is whole, and every month stands as it was decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from accounting.periods.proofs import Breach, day_named
from accounting.store.calendar import CLOSED, SEALED
from accounting.store.decisions import CLOSE, SEAL, link
from accounting.store.tables import day_evidence, decisions, periods

_STANDS = "a month stands as it was decided"


def chain_holds(connection: Connection) -> Iterator[Breach]:
    """Decisions that were changed, or from which one before was taken out."""
    before = b""
    for number, row in enumerate(connection.execute(select(decisions).order_by(decisions.c.id)), start=1):
        if row.id != number or link(before, row.made_at, row.kind, row.period, row.told) != bytes(row.chain):
            what = "it, or one before it, was changed or taken out"
            yield Breach("decisions are only ever added", f"decision {row.id} ({row.kind} {row.period})", what)
            return  # whatever follows is chained to it
        before = bytes(row.chain)


def head_kept(connection: Connection) -> Iterator[Breach]:
    """Decisions that booked days know, and that are not there (any more), or are others."""
    chains = {row.id: bytes(row.chain) for row in connection.execute(select(decisions.c.id, decisions.c.chain))}
    query = select(day_evidence.c.start_at, day_evidence.c.decided, day_evidence.c.head).distinct()
    missed = {
        number: start
        for start, number, head in connection.execute(query.order_by(day_evidence.c.start_at.desc()))
        if number and chains.get(number) != bytes(head)
    }
    for number, start in sorted(missed.items()):
        what = f"{day_named(start)} was booked when it was the last one, and it is not there, or is another"
        yield Breach("decisions are only ever added", f"decision {number}", what)


def months_stand(connection: Connection) -> Iterator[Breach]:
    """Months that were closed or sealed and do not stand so, or not with what they were closed or sealed with."""
    states = {row.name: row for row in connection.execute(select(periods))}
    found: dict[tuple[str, str], str] = {}
    made: dict[tuple[str, str], int] = {}
    for row in connection.execute(select(decisions).order_by(decisions.c.id)):
        found.setdefault((row.period, row.kind), row.told)
        made.setdefault((row.period, row.kind), row.made_at)
    for (name, kind), told in sorted(found.items()):
        month = states.get(name)
        where = f"period {name}"
        if month is None:
            yield Breach(_STANDS, where, f"a decision to {kind} it is kept, and the month is not there")
        elif kind == CLOSE and month.state not in (CLOSED, SEALED):
            yield Breach(_STANDS, where, f"it was closed, and is {month.state}")
        elif kind == CLOSE and month.closed_with != told:
            yield Breach(_STANDS, where, "it was closed with other prices, terms or sums than it has now")
        elif kind == SEAL and (month.state != SEALED or month.seal is None):
            yield Breach(
                _STANDS, where, f"it was sealed, and is {month.state}{'' if month.seal else ' without a seal'}"
            )
        elif kind == SEAL and bytes(month.seal).hex() != told:
            yield Breach(_STANDS, where, "it was sealed with another seal than it has now")
        elif made[name, kind] != ((month.sealed_at if kind == SEAL else None) or month.closed_at):
            yield Breach(_STANDS, where, f"the time of the decision to {kind} it is another one now")
    for name, month in sorted(states.items()):
        if month.state in (CLOSED, SEALED) and (name, CLOSE) not in found:
            yield Breach(_STANDS, f"period {name}", f"it is {month.state}, and nobody decided to close it")
        elif month.state == SEALED and (name, SEAL) not in found:
            yield Breach(_STANDS, f"period {name}", "it is sealed, and nobody decided to seal it")


def kept_outside(connection: Connection, seals: Sequence[str]) -> Iterator[Breach]:
    """Seals in hexadecimal, kept outside of the ledger, that no month has (any more)."""
    had = {bytes(seal).hex() for seal in connection.scalars(select(periods.c.seal).where(periods.c.seal.is_not(None)))}
    for seal in seals:
        if seal.lower() not in had:
            yield Breach("a seal kept outside is a month's", f"seal {seal}", "no month has it")
