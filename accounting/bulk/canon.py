"""The text that a seal is taken over, for many transactions at once: the database itself writes out nearly all of it.

It is the text that `accounting.rows.compact` would make of each row, as `accounting.sealing` tells it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

import numpy as np
from sqlalchemy import ColumnElement, Connection, FromClause, func, literal, select

from accounting.bulk.pages import every
from accounting.bulk.texts import job_names
from accounting.rows import compact
from accounting.tables import jobs, postings, transactions

_T, _P = transactions.c, postings.c
_POSTING = ("account", "model", "quantity", "held", "project", "unit", "start_at", "end_at", "link", "reason")
_NUMBERS = ("quantity", "held", "start_at", "end_at")
_FORM = ",".join(['["posting"', *("%s" if name in _NUMBERS else '"%s"' for name in _POSTING), "%s", "%s]"])
_NOBODY = "null,null,null"
_QUOTES = 2 * (1 + len(_POSTING) - len(_NUMBERS))
"""Quotation marks in the line of a posting without jobs; each job has three texts more."""

_ASCII = bytes(range(32, 127))
_text = json.encoder.encode_basestring_ascii


def booked_text(connection: Connection, span: tuple[int, int], name: str) -> bytes:
    """The lines of a month's transactions between two numbers, each with those of its postings below it."""
    here = (_T.period == name, _T.id >= span[0], _T.id <= span[1])
    owners, lines = _written(connection, here)
    if not _is_json(lines):
        owners, lines = _spelt(connection, here)
    found = []
    booked = connection.execute(select(transactions).where(*here).order_by(_T.id)).all()
    ends = np.searchsorted(np.array(owners, dtype=np.int64), [t.id for t in booked], side="right").tolist()
    begin = 0
    for t, end in zip(booked, ends, strict=True):
        hashes = [bytes(t.inputs_hash).hex(), bytes(t.rules_hash).hex()]
        head = ["transaction", t.id, t.kind, t.machine, t.start_at, t.end_at, t.amends]
        found.append(compact([*head, *hashes, t.posted_at, t.author, t.reason]))
        found += lines[begin:end]
        begin = end
    return "\n".join([*found, ""]).encode()


Lines = tuple[Sequence[int], Sequence[str]]
"""Each posting's transaction and line."""


def _written(connection: Connection, here: Sequence[ColumnElement[bool]]) -> Lines:
    """The lines as the database writes them: as long as no text in them needs an escape."""
    own, other = jobs.alias("own"), jobs.alias("other")
    form = func.format if connection.dialect.name == "postgresql" else func.printf
    line = form(_FORM, *(_P[name] for name in _POSTING), _named(own), _named(other))
    rows = every(
        connection,
        select(_P.transaction_id, line)
        .select_from(transactions.join(postings, _P.transaction_id == _T.id))
        .outerjoin(own, own.c.id == _P.job_id)
        .outerjoin(other, other.c.id == _P.linked_id)
        .where(*here)
        .order_by(_T.id, _P.id),
    )
    owners, lines = zip(*rows, strict=True) if rows else ((), ())
    return owners, lines


def _named(job: FromClause) -> ColumnElement[str]:
    quoted = literal('"') + job.c.scheduler + '","' + job.c.cluster + '","' + job.c.run + '"'
    return func.coalesce(quoted, _NOBODY)


def _is_json(lines: Sequence[str]) -> bool:
    """Whether every text in some lines is one that JSON has as it is.

    One more quotation mark in a text, or a text that says what nobody's name is, makes the sum wrong in one direction.
    """
    text = "".join(lines)
    return (
        "\\" not in text
        and text.count('"') == (_QUOTES + 12) * len(lines) - 6 * text.count(_NOBODY)
        and not text.encode().translate(None, _ASCII)
    )


def _spelt(connection: Connection, here: Sequence[ColumnElement[bool]]) -> Lines:
    """The lines whatever is in them."""
    columns = (_P.transaction_id, *(_P[column] for column in _POSTING), _P.job_id, _P.linked_id)
    query = select(*columns).select_from(transactions.join(postings, _P.transaction_id == _T.id)).where(*here)
    rows = every(connection, query.order_by(_T.id, _P.id))
    ids = {n for row in rows for n in row[-2:] if n is not None}
    keys = job_names(connection, np.array([*ids], dtype=np.int64))
    names: dict[int | None, str] = {None: _NOBODY}
    names |= {n: f"{_text(scheduler)},{_text(cluster)},{_text(run)}" for n, (scheduler, cluster, run) in keys.items()}
    often = cache(_text)
    lines = []
    for _, account, model, quantity, held, project, unit, start, end, link, reason, job, linked in rows:
        first = f'["posting",{often(account)},{often(model)},{quantity},{held},{often(project)},{_text(unit)},'
        lines.append(f"{first}{start},{end},{often(link)},{often(reason)},{names[job]},{names[linked]}]")
    return [row[0] for row in rows], lines
