"""Proofs about the evidence: the raw records are what was read, and the claims are what the raw records say.

Rows come a few thousand at a time, however many there are, and are digested as they are: no job or claim is made of
them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from accounting.intake.versions import hash_of
from accounting.periods.draws import Draw
from accounting.store.pages import every
from accounting.store.rows import CLAIM_COLUMNS, JOB_COLUMNS, digest
from accounting.store.tables import claim_keys, claims, jobs, nodes, records

_R, _C = records.c, claims.c
_PAGE = 5000


@dataclass(frozen=True, slots=True, order=True)
class Breach:
    """One invariant that does not hold: which, where, and what was found instead."""

    invariant: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.where}: {self.what}"


def node_day_named(machine: str, start: int) -> str:
    """Where a breach of a node-day is, in words."""
    return f"node-day {machine} {datetime.fromtimestamp(start, UTC):%Y-%m-%dT%H:%MZ}"


def day_named(start: int) -> str:
    """Where a breach of all node-days that begin then is, in words."""
    return f"day {datetime.fromtimestamp(start, UTC):%Y-%m-%dT%H:%MZ}"


def drawn_rows(connection: Connection, query: Select[Any], column: Any, draw: Draw) -> Iterator[Sequence[Any]]:
    """The rows of a query by ``column``, which is a number, some thousand numbers at a time: those that are drawn."""
    last = connection.execute(select(func.coalesce(func.max(column), 0))).scalar_one()
    for first in draw.of(range(1, last + 1, _PAGE)):
        yield from every(connection, query.where(column.between(first, first + _PAGE - 1)).order_by(column))


def altered_records(connection: Connection, draw: Draw) -> Iterator[Breach]:
    """Raw records whose bytes are not those that were read."""
    query = select(_R.id, _R.source, _R.cluster, _R.subject, _R.raw, _R.hash)
    for number, source, cluster, subject, raw, kept in drawn_rows(connection, query, _R.id, draw):
        if hash_of(source, cluster, bytes(raw)) != bytes(kept):
            yield Breach("a raw record is what was read", f"record {number} ({subject})", "its bytes have another hash")


def doubtful_marks(connection: Connection) -> Iterator[Breach]:
    """Subjects of which not exactly one record is current, and claims that do not follow their record."""
    current = func.sum(case((_R.current, 1), else_=0))
    for subject, times in connection.execute(select(_R.subject, current).group_by(_R.subject).having(current != 1)):
        yield Breach("one record of a subject is current", subject, f"{times} are")
    query = select(_C.id, _C.record_id).join(records, _R.id == _C.record_id).where(_C.current != _R.current)
    for number, record in connection.execute(query):
        yield Breach("a claim is current with its record", f"claim {number}", f"differs from record {record}")


def misread_records(connection: Connection, draw: Draw) -> Iterator[Breach]:
    """Current records whose claims and job do not say (any more) what the record said when it was read."""
    query = (
        select(
            _R.id, _R.subject, _R.meaning, _R.finality, _R.reason, nodes.c.scheduler, nodes.c.cluster, nodes.c.name,
            *(jobs.c[name] for name in JOB_COLUMNS), *(_C[name] for name in CLAIM_COLUMNS),
        )
        .join(jobs, jobs.c.id == _R.job_id)
        .outerjoin(claims, _C.record_id == _R.id)
        .outerjoin(nodes, nodes.c.id == _C.node_id)
        .where(_R.current)
    )  # fmt: skip
    for number, found in groupby(drawn_rows(connection, query, _R.id, draw), key=itemgetter(0)):
        several = [*found]
        subject, meaning, finality, reason = several[0][1:5]
        job = tuple(several[0][_JOB])
        held = [((*job[:3], *row[5:8]), _claim(row[_CLAIM])) for row in several if row[7] is not None]
        told = job if subject == "/".join(job[:3]) else None
        if digest(told, held, reason, finality) != bytes(meaning):
            yield Breach(
                "claims are what the record said",
                f"record {number} ({subject})",
                "its job or its claims were changed since it was read",
            )


_JOB = slice(8, 8 + len(JOB_COLUMNS))
_CLAIM = slice(_JOB.stop, None)
_ASSUMED = CLAIM_COLUMNS.index("split_assumed")


def _claim(values: Sequence[Any]) -> tuple[Any, ...]:
    """A claim's columns as they were digested: SQLite knows no truths, only numbers."""
    return (*values[:_ASSUMED], bool(values[_ASSUMED]), *values[_ASSUMED + 1 :])


def misfiled_keys(connection: Connection, draw: Draw) -> Iterator[Breach]:
    """Claims whose link keys are not filed as the claim tells them."""
    k = claim_keys.c
    last = max(connection.execute(select(func.coalesce(func.max(n), 0))).scalar_one() for n in (_C.id, k.claim_id))
    filed_keys = select(k.claim_id, k.kind, k.cluster, k.value)
    told_keys = select(_C.id, _C.link_keys).where(_C.link_keys != "")
    for first in draw.of(range(1, last + 1, _PAGE)):
        filed: dict[int, list[list[str]]] = {}
        for number, *key in every(connection, filed_keys.where(k.claim_id.between(first, first + _PAGE - 1))):
            filed.setdefault(number, []).append(key)
        texts = every(connection, told_keys.where(_C.id.between(first, first + _PAGE - 1)))
        told = {number: [key[:3] for key in json.loads(keys)] for number, keys in texts}
        for number in sorted(filed.keys() | told.keys()):
            if sorted(filed.get(number, [])) != sorted(told.get(number, [])):
                what = f"filed {filed.get(number)}"
                yield Breach("link keys are filed as the claim tells them", f"claim {number}", what)
