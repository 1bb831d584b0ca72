"""Proofs about the evidence: the raw records are what was read, and the claims are what the raw records say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, case, func, select

from accounting.records import hash_of
from accounting.rows import CLAIM_COLUMNS, JOB_COLUMNS, claim_of, job_of, meaning_of
from accounting.tables import claim_keys, claims, jobs, nodes, records
from exporters.model import Claim, JobKey, NodeKey, Scheduler

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


def altered_records(connection: Connection) -> Iterator[Breach]:
    """Raw records whose bytes are not those that were read."""
    query = select(_R.id, _R.source, _R.cluster, _R.subject, _R.raw, _R.hash).execution_options(yield_per=_PAGE)
    for number, source, cluster, subject, raw, digest in connection.execute(query):
        if hash_of(source, cluster, bytes(raw)) != bytes(digest):
            yield Breach("a raw record is what was read", f"record {number} ({subject})", "its bytes have another hash")


def doubtful_marks(connection: Connection) -> Iterator[Breach]:
    """Subjects of which not exactly one record is current, and claims that do not follow their record."""
    current = func.sum(case((_R.current, 1), else_=0))
    for subject, times in connection.execute(select(_R.subject, current).group_by(_R.subject).having(current != 1)):
        yield Breach("one record of a subject is current", subject, f"{times} are")
    query = select(_C.id, _C.record_id).join(records, _R.id == _C.record_id).where(_C.current != _R.current)
    for number, record in connection.execute(query):
        yield Breach("a claim is current with its record", f"claim {number}", f"differs from record {record}")


def misread_records(connection: Connection) -> Iterator[Breach]:
    """Current records whose claims and job do not say (any more) what the record said when it was read."""
    job = [jobs.c[name].label(f"job_{name}") for name in JOB_COLUMNS]
    query = (
        select(
            _R.id, _R.subject, _R.meaning, _R.finality, _R.reason, nodes.c.scheduler, nodes.c.cluster, nodes.c.name,
            *job, *(_C[name] for name in CLAIM_COLUMNS),
        )
        .join(jobs, jobs.c.id == _R.job_id)
        .outerjoin(claims, _C.record_id == _R.id)
        .outerjoin(nodes, nodes.c.id == _C.node_id)
        .where(_R.current)
        .order_by(_R.id)
        .execution_options(yield_per=_PAGE)
    )  # fmt: skip
    for (number, subject, meaning, finality, reason), rows in groupby(connection.execute(query), key=lambda r: r[:5]):
        found = list(rows)
        holder = job_of(found[0][8 : 8 + len(JOB_COLUMNS)])
        held = [_claim(holder.key, r) for r in found if r[7] is not None]
        told = holder if subject == str(holder.key) else None
        if meaning_of(told, held, reason, finality) != bytes(meaning):
            yield Breach(
                "claims are what the record said",
                f"record {number} ({subject})",
                "its job or its claims were changed since it was read",
            )


def misfiled_keys(connection: Connection) -> Iterator[Breach]:
    """Claims whose link keys are not filed as the claim tells them."""
    k = claim_keys.c
    filed: dict[int, list[list[str]]] = {}
    for number, kind, cluster, value in connection.execute(select(k.claim_id, k.kind, k.cluster, k.value)):
        filed.setdefault(number, []).append([kind, cluster, value])
    told = {
        number: [key[:3] for key in json.loads(keys)]
        for number, keys in connection.execute(select(_C.id, _C.link_keys).where(_C.link_keys != ""))
    }
    for number in sorted(filed.keys() | told.keys()):
        if sorted(filed.get(number, [])) != sorted(told.get(number, [])):
            yield Breach("link keys are filed as the claim tells them", f"claim {number}", f"filed {filed.get(number)}")


def _claim(key: JobKey, row: Sequence[Any]) -> Claim:
    node = NodeKey(Scheduler(row[5]), row[6], row[7])
    return claim_of(key, node, row[8 + len(JOB_COLUMNS) :])
