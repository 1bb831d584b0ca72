"""The text that a seal is taken over, for many transactions at once: the database itself writes out nearly all of it.

It is the text that `accounting.store.rows.compact` would make of each row, as `accounting.periods.sealing` tells it.
"""

from __future__ import annotations

import json
from collections import defaultdict

from sqlalchemy import ColumnElement, Connection, Text, cast, func, literal, select

from accounting.store.pages import every
from accounting.store.rows import compact
from accounting.store.tables import jobs, postings, transactions

_T, _P = transactions.c, postings.c
_OWN, _OTHER = jobs.alias("own"), jobs.alias("other")
_POSTING = ("account", "model", "quantity", "held", "project", "unit", "start_at", "end_at", "link", "reason")
_VALUES = [
    literal("posting", Text),
    *(_P[name] for name in _POSTING),
    *(job.c[name] for job in (_OWN, _OTHER) for name in ("scheduler", "cluster", "run")),
]


def booked_text(connection: Connection, span: tuple[int, int], name: str) -> bytes:
    """The lines of a month's transactions between two numbers, each with those of its postings below it."""
    here = (_T.period == name, _T.id >= span[0], _T.id <= span[1])
    query = (
        select(_P.transaction_id, _line(connection.dialect.name))
        .join(transactions, _P.transaction_id == _T.id)
        .outerjoin(_OWN, _OWN.c.id == _P.job_id)
        .outerjoin(_OTHER, _OTHER.c.id == _P.linked_id)
        .where(*here)
        .order_by(_T.id, _P.id)
    )
    below: dict[int, list[str]] = defaultdict(list)
    for number, line in every(connection, query):
        below[number].append(line)
    found = []
    for t in connection.execute(select(transactions).where(*here).order_by(_T.id)):
        hashes = [bytes(t.inputs_hash).hex(), bytes(t.rules_hash).hex()]
        head = ["transaction", t.id, t.kind, t.machine, t.start_at, t.end_at, t.amends]
        found.append(compact([*head, *hashes, t.posted_at, t.author, t.reason]))
        found += _spelt(below.get(t.id, []))
    return "".join(f"{line}\n" for line in found).encode()


def _line(dialect: str) -> ColumnElement[str]:
    """A posting and whose it is, as JSON without spaces."""
    if dialect == "sqlite":
        return func.json_array(*_VALUES, type_=Text)
    told = (func.coalesce(cast(func.to_json(value), Text), "null") for value in _VALUES)
    return literal("[").concat(func.concat_ws(",", *told)).concat("]")


def _spelt(lines: list[str]) -> list[str]:
    """The same lines with escapes as `compact` has them; nearly always there are none."""
    together = "".join(lines)
    if together.isascii() and "\\" not in together and "\x7f" not in together:
        return lines
    return [compact(json.loads(line)) for line in lines]
