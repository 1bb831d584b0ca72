"""Node-days booked from postings as nouns: what tests of the books are told with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, func, select

from accounting.intake.identities import job_ids
from accounting.ledger.booking import Done, Draft, Posted, book_day, heads
from accounting.model import NodeDayResult, Posting
from accounting.reconcile.posting_columns import JOBS, NUMBERS, TEXTS, Postings, Words
from accounting.store.calendar import OPEN, open_period
from accounting.store.database import read, storable, write
from accounting.store.tables import node_days, postings


@dataclass(frozen=True)
class Entry:
    """A reconciled node-day."""

    result: NodeDayResult
    end: int
    inputs_hash: bytes
    rules_hash: bytes


def post(engine: Engine, entry: Entry, *, now: int, zone: tzinfo = UTC) -> Posted:
    """Book one node-day, if its inputs or rules are others than those it is booked with."""
    return post_many(engine, [entry], now=now, zone=zone)[0]


def post_many(engine: Engine, entries: Sequence[Entry], *, now: int, zone: tzinfo = UTC) -> list[Posted]:
    """Book several, all or none."""
    with write(engine) as connection:
        return [answer for some in _by_day(entries) for answer in _book(connection, some, now, zone)]


def _by_day(entries: Sequence[Entry]) -> list[list[Entry]]:
    return [[*some] for _, some in groupby(entries, key=lambda e: (e.result.start, e.end, e.rules_hash))]


def _book(connection: Connection, entries: Sequence[Entry], now: int, zone: tzinfo) -> list[Posted]:
    start, end = entries[0].result.start, entries[0].end
    had = heads(connection, start, end)
    known = [had.get((e.result.machine, start)) for e in entries]
    news = [
        e
        for e, head in zip(entries, known, strict=True)
        if head is None or (head.inputs_hash, head.rules_hash) != (e.inputs_hash, e.rules_hash)
    ]
    drafts = [Draft(e.result.machine, e.end, e.inputs_hash, unplaced=e.result.unplaced) for e in news]
    _, state = open_period(connection, start, zone)
    answers = []
    # one by one, to tell what became of each
    for entry, draft in zip(news, drafts, strict=True):
        made = as_columns(connection, [entry.result.postings])
        now_had = heads(connection, start, end)
        done = Done(start, end, entry.rules_hash, (), now_had, state == OPEN, [draft], made)
        [(answer, _)] = book_day(connection, done, now=now, zone=zone).items()
        answers.append(Posted(answer))
    told = iter(answers)
    return [next(told) if e in news else Posted.UNCHANGED for e in entries]


def as_columns(connection: Connection, days: Sequence[Sequence[Posting]]) -> Postings:
    """Node-days' postings as they go into the books."""
    every = [p for day in days for p in day]
    ids = job_ids(connection, {k for p in every for k in (p.job, p.linked) if k is not None})
    values: list[dict[str, Any]] = [
        {
            "quantity": p.quantity, "held": p.held, "start_at": p.start, "end_at": p.end,
            "job_id": ids[p.job] if p.job else -1, "linked_id": ids[p.linked] if p.linked else -1,
            "account": p.account, "model": storable(p.model), "project": storable(p.project),
            "link": p.link.value if p.link else "", "reason": storable(p.reason), "unit": storable(p.unit),
        }
        for p in every
    ]  # fmt: skip
    numbers = [np.array([v[name] for v in values], dtype=np.int64) for name in (*NUMBERS, *JOBS)]
    texts = [_words([v[name] for v in values]) for name in TEXTS]
    return Postings(np.cumsum([0, *map(len, days)]), numbers, texts)


def _words(told: Sequence[str]) -> Words:
    known = sorted({*told})
    return Words(known, np.array([known.index(text) for text in told], dtype=np.int64))


def balances(engine: Engine, start: int, end: int) -> dict[tuple[str, str], int]:
    """What stands for the node-days that begin in ``[start, end)``: milliGPU-seconds by account and model."""
    d, p = node_days.c, postings.c
    query = (
        select(p.account, p.model, func.sum(p.quantity))
        .join(node_days, d.transaction_id == p.transaction_id)
        .where(d.start_at >= start, d.start_at < end, p.account != "")
        .group_by(p.account, p.model)
    )
    with read(engine) as connection:
        return {(account, model): int(total) for account, model, total in connection.execute(query)}
