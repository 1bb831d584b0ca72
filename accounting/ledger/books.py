"""Posting: node-days into the books, and what the books say. What they promise, `accounting.ledger` says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, tzinfo

from sqlalchemy import Connection, Engine, func, select

from accounting.evidence.fingerprints import claim_digest, claim_print, inputs_digest, place_text
from accounting.ledger.booking import CAPACITY, Booking, Entry, Head, Posted, heads_of
from accounting.model import NodeDay
from accounting.store.database import LedgerError, read, write
from accounting.store.tables import node_days, postings

__all__ = ["CAPACITY", "Entry", "Head", "Posted", "balances", "heads", "inputs_hash", "post", "post_many"]


def inputs_hash(day: NodeDay) -> bytes:
    """SHA-256 over everything a node-day says, whatever the order in which it says it."""
    place = (day.machine, day.start, day.end)
    text = place_text(place, day.capacity, day.coverage, day.known_until, day.rulings, day.holdings)
    projects = dict(day.projects)
    prints = day.prints or {claim_print(claim_digest(c), c, projects.get(c.job, "")) for c in day.claims}
    return inputs_digest(text, b"".join(sorted(prints)))


def post(engine: Engine, entry: Entry, *, now: int, zone: tzinfo = UTC) -> Posted:
    """Book one node-day. Raises `LedgerError` when it does not balance; then nothing is booked."""
    return post_many(engine, [entry], now=now, zone=zone)[0]


def post_many(engine: Engine, entries: Sequence[Entry], *, now: int, zone: tzinfo = UTC) -> list[Posted]:
    """Book several node-days, all or none, each as a transaction of its own; answers in the order of ``entries``.

    Raises `LedgerError` when one does not balance, or appears twice.
    """
    places = [(e.result.machine, e.result.start) for e in entries]
    if len(set(places)) != len(places):
        raise LedgerError(f"one node-day twice in a batch: {min(p for p in places if places.count(p) > 1)}")
    for entry in entries:
        _refuse_unbalanced(entry)
    with write(engine) as connection:
        return Booking(connection, now, zone).book(entries)


def _refuse_unbalanced(entry: Entry) -> None:
    result = entry.result
    sums: dict[str, int] = defaultdict(int)
    for p in result.postings:
        sums[p.model] += p.quantity
        if p.account != CAPACITY and p.quantity < 0:
            raise LedgerError(f"node-day {result.machine} {result.start}: {p.quantity} on {p.account} is negative")
    wrong = {model: total for model, total in sums.items() if total}
    if wrong:
        raise LedgerError(f"node-day {result.machine} {result.start} does not balance: {wrong} are left over")


def heads(connection: Connection, start: int, end: int) -> dict[tuple[str, int], Head]:
    """Where the books stand with the node-days that begin in ``[start, end)``, by machine and start."""
    c = node_days.c
    return heads_of(connection.execute(select(node_days).where(c.start_at >= start, c.start_at < end)))


def balances(engine: Engine, start: int, end: int) -> dict[tuple[str, str], int]:
    """What stands for the node-days that begin in ``[start, end)``: milliGPU-seconds by account and model.

    Corrections booked elsewhere are not in it. ``capacity`` is negative and balances the others.
    """
    d, p = node_days.c, postings.c
    query = (
        select(p.account, p.model, func.sum(p.quantity))
        .join(node_days, d.transaction_id == p.transaction_id)
        .where(d.start_at >= start, d.start_at < end, p.account != "")
        .group_by(p.account, p.model)
    )
    with read(engine) as connection:
        return {(account, model): int(total) for account, model, total in connection.execute(query)}
