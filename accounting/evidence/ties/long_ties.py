"""What keys tie to claims that go over a midnight: a day depends on it, of whichever day it is."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Select, and_, func, select

from accounting.arrays import Flags, Ints
from accounting.evidence.ties.tying import TIES
from accounting.store.columns import Columns, among
from accounting.store.tables import LONG, PODS, claim_keys, claims, jobs, records, splits
from exporters.join.links import FOREVER
from exporters.model import Scheduler

_C, _J, _K, _R, _S = claims.c, jobs.c, claim_keys.c, records.c, splits.c
_OWN = claims.alias("own")


@dataclass(frozen=True, slots=True)
class Tied:
    """Claims that go over a midnight and are tied to others: their span, and a digest of those others."""

    start: Ints
    end: Ints
    others: list[int]

    def there(self, a: int, b: int) -> Flags:
        """Which of them overlap ``[a, b)``."""
        found: Flags = (self.start < b) & (self.end > a)
        return found

    def digest(self, a: int, b: int) -> int:
        """All that is tied to those that overlap ``[a, b)``."""
        found = 0
        for n in np.flatnonzero(self.there(a, b)).tolist():
            found ^= self.others[n]
        return found


def tied_beyond(tables: Columns, a: int, b: int) -> Tied:
    """The claims that go over a midnight, of those that overlap ``[a, b)``, to which something is tied."""
    number, start, end = _long(tables, a, b)
    pairs = _pairs(tables, number)
    exact = _exact(tables, [job for _, _, job, *_ in pairs])
    others: dict[int, int] = defaultdict(int)
    for pair in sorted(pairs, key=repr):
        said = repr((pair, exact.get(pair[2]))).encode("utf-8", "surrogatepass")
        others[pair[0]] ^= int.from_bytes(hashlib.blake2b(said, digest_size=16).digest())
    which = np.isin(number, np.array([*others], dtype=np.int64))
    return Tied(start[which], end[which], [others[n] for n in number[which].tolist()])


def _long(tables: Columns, a: int, b: int) -> tuple[Ints, Ints, Ints]:
    """The claims that go over a midnight, of those that overlap ``[a, b)``: id, start and end."""
    end = func.coalesce(_C.end_at, FOREVER)
    query = select(_C.id, _C.start_at, end.label("end")).where(_C.current, LONG, _C.start_at < b, end > a)
    number, start, finish = (column.to_numpy() for column in tables.table(query).columns)
    return number, start, finish


def _pairs(tables: Columns, numbers: Ints) -> set[tuple[Any, ...]]:
    """Each of some claims with each one that a key may tie to it, and with what says who pays for that one.

    Of the rule (`accounting.evidence.ties.tying`) only kinds and names are asked: that is too much, never too little.
    """
    dialect = tables.connection.dialect.name
    told = (_C.id, _C.job_id, _J.account, _J.labels, _J.start_at)
    named = select(_K.claim_id.label("long"), *told).select_from(claim_keys)
    slurm = named.join(jobs, and_(_J.native_id == _K.value, _J.scheduler.concat("") == Scheduler.SLURM.value))
    slurm = slurm.join(records, _R.job_id == _J.id).join(claims, _C.record_id == _R.id)
    pods = named.join(claims, and_(_C.native_id == _K.value, PODS)).join(jobs, _J.id == _C.job_id)
    naming = select(_OWN.c.id.label("long"), *told).select_from(_OWN).join(claim_keys, _K.value == _OWN.c.native_id)
    naming = naming.join(claims, _C.id == _K.claim_id).join(jobs, _J.id == _C.job_id)
    wanted = numbers.tolist()
    queries: list[Select[Any]] = [
        slurm.where(among(_K.claim_id, wanted, dialect)),
        pods.where(among(_K.claim_id, wanted, dialect)),
        naming.where(among(_OWN.c.id, wanted, dialect)),
    ]
    found = (tables.table(query.where(_K.kind.in_(TIES), _C.current)) for query in queries)
    return {pair for some in found for pair in zip(*(column.to_pylist() for column in some.columns), strict=True)}


def _exact(tables: Columns, numbers: list[int]) -> dict[int, tuple[int, int]]:
    """How often these jobs were seen to be split otherwise, and when that was, added up."""
    sums = select(_S.job_id, func.count(), func.sum(_S.seen_at)).group_by(_S.job_id)
    wanted = among(_S.job_id, sorted({*numbers}), tables.connection.dialect.name)
    rows = tables.connection.execute(sums.where(wanted))
    return {job: (int(number), int(seen)) for job, number, seen in rows}
