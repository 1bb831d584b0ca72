"""The text that a seal is taken over, for many transactions at once: the database itself writes out nearly all of it.

It is the text that `accounting.store.rows.compact` would make of each row, as `accounting.periods.sealing` tells it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from sqlalchemy import ColumnElement, Connection, FromClause, func, literal, select

from accounting.bulk.pages import every
from accounting.bulk.texts import job_names
from accounting.store.rows import compact
from accounting.store.tables import jobs, postings, transactions

_T, _P = transactions.c, postings.c
_POSTING = ("account", "model", "quantity", "held", "project", "unit", "start_at", "end_at", "link", "reason")
_NUMBERS = ("quantity", "held", "start_at", "end_at")
_JOB = ("scheduler", "cluster", "run")
_FORM = ",".join(['["posting"', *("%s" if name in _NUMBERS else '"%s"' for name in _POSTING), "%s", "%s]"])
_NOBODY = "null,null,null"
_QUOTES = 2 * (1 + len(_POSTING) - len(_NUMBERS))
"""Quotation marks in the line of a posting without jobs; each job has three texts more."""

_LETTERS = bytes(range(32, 127)) + b"\n"
_text = json.encoder.encode_basestring_ascii

Here = Sequence[ColumnElement[bool]]
"""Which transactions."""


def booked_text(connection: Connection, span: tuple[int, int], name: str) -> bytes:
    """The lines of a month's transactions between two numbers, each with those of its postings below it."""
    here = (_T.period == name, _T.id >= span[0], _T.id <= span[1])
    own = _below(connection, here)
    text = _written(connection, here)
    data = text.encode()
    if not _is_json(connection.dialect.name, text, data, sum(own.values())):
        data = "".join(_spelt(connection, here)).encode()
    lines = iter(_parts(data, [*own.values()]))
    found = []
    for t in connection.execute(select(transactions).where(*here).order_by(_T.id)).all():
        hashes = [bytes(t.inputs_hash).hex(), bytes(t.rules_hash).hex()]
        head = ["transaction", t.id, t.kind, t.machine, t.start_at, t.end_at, t.amends]
        found.append(compact([*head, *hashes, t.posted_at, t.author, t.reason]).encode() + b"\n")
        if t.id in own:
            found.append(next(lines))
    return b"".join(found)


def _below(connection: Connection, here: Here) -> dict[int, int]:
    """How many postings each transaction has, by number, those that have some; the index alone tells it."""
    owner = _P.transaction_id
    count = select(owner, func.count()).select_from(transactions.join(postings, owner == _T.id)).where(*here)
    rows = every(connection, count.group_by(owner).order_by(owner))
    return {row[0]: row[1] for row in rows}


def _parts(data: bytes, several: Sequence[int]) -> Iterator[bytes]:
    """The text taken apart after so many lines each."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n"))[np.cumsum(several, dtype=np.int64) - 1] + 1
    begin = 0
    for end in ends.tolist():
        yield data[begin:end]
        begin = end


def _written(connection: Connection, here: Here) -> str:
    """The postings' lines, each with its end, as the database writes them: right as long as nothing needs an escape."""
    own, other = jobs.alias("own"), jobs.alias("other")
    values = [_P[name] for name in _POSTING]
    line: ColumnElement[str]
    if connection.dialect.name == "postgresql":
        line = func.format(_FORM, *values, _named(own), _named(other))
    else:
        line = func.json_array("posting", *values, *(job.c[name] for job in (own, other) for name in _JOB))
    lines = (
        select(line.label("line"))
        .select_from(transactions.join(postings, _P.transaction_id == _T.id))
        .outerjoin(own, own.c.id == _P.job_id)
        .outerjoin(other, other.c.id == _P.linked_id)
        .where(*here)
        .order_by(_T.id, _P.id)
        .subquery()
    )
    ((text,),) = every(
        connection, select(func.aggregate_strings(lines.c.line, "\n"))
    )  # in the order of the query in it
    return f"{text}\n" if text else ""


def _named(job: FromClause) -> ColumnElement[str]:
    quoted = literal('"') + job.c.scheduler + '","' + job.c.cluster + '","' + job.c.run + '"'
    return func.coalesce(quoted, _NOBODY)


def _is_json(dialect: str, text: str, data: bytes, lines: int) -> bool:
    """Whether every text in some lines is one that JSON has as it is.

    SQLite has escaped what it must. PostgreSQL has not: one more quotation mark in a text, or a text that says what
    nobody's name is, makes the sum wrong in one direction.
    """
    if dialect != "postgresql":
        return text.isascii() and "\\" not in text and "\x7f" not in text
    return (
        "\\" not in text
        and text.count("\n") == lines
        and text.count('"') == (_QUOTES + 12) * lines - 6 * text.count(_NOBODY)
        and not data.translate(None, _LETTERS)
    )


def _spelt(connection: Connection, here: Here) -> Iterator[str]:
    """The lines whatever is in them."""
    columns = (*(_P[column] for column in _POSTING), _P.job_id, _P.linked_id)
    query = select(*columns).select_from(transactions.join(postings, _P.transaction_id == _T.id)).where(*here)
    rows = every(connection, query.order_by(_T.id, _P.id))
    ids = {n for row in rows for n in row[-2:] if n is not None}
    keys = job_names(connection, np.array([*ids], dtype=np.int64))
    names: dict[int | None, str] = {None: _NOBODY}
    names |= {n: f"{_text(scheduler)},{_text(cluster)},{_text(run)}" for n, (scheduler, cluster, run) in keys.items()}
    often = cache(_text)
    for account, model, quantity, held, project, unit, start, end, link, reason, job, linked in rows:
        first = f'["posting",{often(account)},{often(model)},{quantity},{held},{often(project)},{_text(unit)},'
        yield f"{first}{start},{end},{often(link)},{often(reason)},{names[job]},{names[linked]}]\n"
