"""The text that a seal is taken over, for many transactions at once: the database itself writes out nearly all of it.

It is the text that `accounting.store.rows.compact` would make of each row, as `accounting.periods.sealing` tells it.
"""

from __future__ import annotations

import json

from sqlalchemy import ColumnElement, Connection, Text, cast, func, literal, select

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
    booked = select(_P.transaction_id).join(transactions, _P.transaction_id == _T.id).where(*here)
    counts = booked.add_columns(func.count()).group_by(_P.transaction_id)
    below = {row[0]: row[1] for row in connection.execute(counts)}
    lines = (
        booked.with_only_columns(_line(connection.dialect.name).label("line"), maintain_column_froms=True)
        .outerjoin(_OWN, _OWN.c.id == _P.job_id)
        .outerjoin(_OTHER, _OTHER.c.id == _P.linked_id)
        .order_by(_T.id, _P.id)
        .subquery()
    )
    text = connection.execute(select(func.aggregate_strings(lines.c.line, "\n"))).scalar_one()  # in their order
    told = _spelt(text or "").split("\n")
    found, first = [], 0
    for t in connection.execute(select(transactions).where(*here).order_by(_T.id)):
        hashes = [bytes(t.inputs_hash).hex(), bytes(t.rules_hash).hex()]
        head = ["transaction", t.id, t.kind, t.machine, t.start_at, t.end_at, t.amends]
        found.append(compact([*head, *hashes, t.posted_at, t.author, t.reason]))
        last = first + below.get(t.id, 0)
        found += told[first:last]
        first = last
    return "\n".join([*found, ""]).encode()


def _line(dialect: str) -> ColumnElement[str]:
    """A posting and whose it is, as JSON without spaces."""
    if dialect == "sqlite":
        return func.json_array(*_VALUES, type_=Text)
    told = (func.coalesce(cast(func.to_json(value), Text), "null") for value in _VALUES)
    return literal("[").concat(func.concat_ws(",", *told)).concat("]")


def _spelt(lines: str) -> str:
    """The same lines with escapes as `compact` has them; nearly always there are none."""
    if lines.isascii() and "\\" not in lines and "\x7f" not in lines:
        return lines
    return "\n".join(compact(json.loads(line)) for line in lines.split("\n"))
