"""Claims out of the tables in bulk: rows as the database gives them, and the numbers in them as arrays.

No object is made of a claim here; `Reader.claim` makes one when somebody asks.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, select

from accounting.bulk.pages import every
from accounting.database import chunks
from accounting.held import with_split
from accounting.prints import claim_digest
from accounting.rows import CLAIM_COLUMNS, claim_of, claim_values
from accounting.sweep.columns import Flags, Ints
from accounting.tables import claims, jobs, records, splits
from exporters.links import FOREVER
from exporters.model import Claim, JobKey, NodeKey, Scheduler

_C, _J, _R = claims.c, jobs.c, records.c
_COLUMNS = (
    _C.id,
    _C.record_id,
    _C.job_id,
    _C.node_id,
    _R.meaning,
    _J.scheduler,
    _J.cluster,
    _J.run,
    _J.account,
    _J.labels,
    _J.start_at.label("began"),
    *(_C[name] for name in CLAIM_COLUMNS),
)
ID, RECORD, JOB, NODE, MEANING, SCHEDULER, CLUSTER, RUN, ACCOUNT, LABELS, BEGAN, CLAIM = range(12)
UNIT, MILLIGPU, START, END, MODEL, PROFILE, INDICES, UUIDS, KEYS, ASSUMED, BASIS, NATIVE = range(CLAIM, len(_COLUMNS))

QUERY: Select[Any] = (
    select(*_COLUMNS).join(records, _R.id == _C.record_id).join(jobs, _J.id == _C.job_id).where(_C.current)
)
"""Current claims, each with its record's meaning and with what says who pays for its job."""

NEVER = -1
"""What stands for the start of a job that is not known."""


class Codes:
    """Numbers for things, in the order in which they are met."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._codes: dict[Any, int] = {}

    def of(self, items: Iterable[Any]) -> Ints:
        """The number of each."""
        every, codes = list(items), self._codes
        found = [*map(codes.get, every)]
        if None in found:
            for item in every:
                if codes.setdefault(item, len(self.items)) == len(self.items):
                    self.items.append(item)
            found = [*map(codes.get, every)]
        return np.array(found, dtype=np.int64)

    def known(self, items: Iterable[Any]) -> Ints:
        """The number of each, -1 for what has none."""
        return np.array([self._codes.get(item, -1) for item in items], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Rows:
    """Some claims, one entry each. ``raw`` are the rows of `QUERY`; ``end`` is `FOREVER` for what is still held.

    ``began`` is the job's start, ``named`` whether the claim names cards. ``payer`` numbers what says who pays
    (`Reader.payers`), ``kind`` model and profile (`Reader.kinds`). ``told`` (shape n, 2) is the digest of what is known
    of the claim, as two big-endian numbers.
    """

    raw: NDArray[np.object_]
    id: Ints
    record: Ints
    job: Ints
    node: Ints
    milligpu: Ints
    start: Ints
    end: Ints
    began: Ints
    named: Flags
    payer: Ints
    kind: Ints
    told: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.raw)

    def take(self, which: Any) -> Rows:
        """Some of the rows."""
        return Rows(*(getattr(self, f.name)[which] for f in fields(self)))

    def text(self, column: int) -> list[Any]:
        """One column of the raw rows."""
        return [row[column] for row in self.raw]


def joined(some: Sequence[Rows]) -> Rows:
    """Rows below each other."""
    return Rows(*(np.concatenate([getattr(rows, f.name) for rows in some]) for f in fields(Rows)))


class Reader:
    """Reads rows, and numbers what they have in common. ``nodes`` are all nodes by id."""

    def __init__(self, nodes: Mapping[int, NodeKey]) -> None:
        self.nodes = nodes
        self.payers, self.kinds, self.machines = Codes(), Codes(), Codes()
        self._texts: dict[int, Codes] = defaultdict(Codes)

    def read(self, connection: Connection, query: Select[Any], parameters: dict[str, Any] | None = None) -> Rows:
        """The claims of a query that is made from `QUERY`."""
        return self.rows(every(connection, query, parameters))

    def rows(self, raw: Sequence[Sequence[Any]]) -> Rows:
        """Raw rows with their numbers."""
        number = len(raw)
        columns = [*zip(*raw, strict=True)] or [()] * len(_COLUMNS)

        def ints(column: int) -> Ints:
            return np.array(columns[column], dtype=np.int64)

        def known(column: int, otherwise: int) -> Ints:
            values = columns[column]
            return np.array([otherwise if v is None else v for v in values] if None in values else values, np.int64)

        return Rows(
            np.fromiter(raw, dtype=np.object_, count=number),
            ints(ID),
            ints(RECORD),
            ints(JOB),
            ints(NODE),
            ints(MILLIGPU),
            ints(START),
            known(END, FOREVER),
            known(BEGAN, NEVER),
            _named(columns[INDICES], columns[UUIDS]),
            self._together(self.payers, columns, (SCHEDULER, CLUSTER, ACCOUNT, LABELS)),
            self._together(self.kinds, columns, (MODEL, PROFILE)),
            np.frombuffer(b"".join(columns[MEANING]), dtype=">u8").reshape(number, 2),
        )

    def _together(self, codes: Codes, columns: Sequence[Sequence[Any]], which: Sequence[int]) -> Ints:
        """The number in ``codes`` of what some columns say together: few different things, many times."""
        found = np.zeros(len(columns[0]), dtype=np.int64)
        told: list[tuple[Any, ...]] = [()]
        for n in which:
            texts = self._texts[n]
            pairs, found = np.unique((found << 32) | texts.of(columns[n]), return_inverse=True)
            told = [(*told[pair >> 32], texts.items[pair & 0xFFFFFFFF]) for pair in pairs.tolist()]
        return codes.of(told)[found]

    def claim(self, row: Sequence[Any], start: int, end: int) -> Claim:
        """The claim of a raw row over ``[start, end)``."""
        job = JobKey(Scheduler(row[SCHEDULER]), row[CLUSTER], row[RUN])
        values = list(row[CLAIM:])
        values[START - CLAIM], values[END - CLAIM] = start, None if end == FOREVER else end
        return claim_of(job, self.nodes[row[NODE]], values)

    def exact(self, connection: Connection, rows: Rows) -> Rows:
        """Put what was seen live (share and cards per node) in the place of what history had to assume.

        The rule is that of `accounting.held`.
        """
        if connection.execute(select(splits.c.id).limit(1)).first() is None or not len(rows):
            return rows
        slurm = np.array([p[0] == Scheduler.SLURM.value for p in self.payers.items], dtype=bool)
        seen = _splits(connection, np.unique(rows.job[slurm[rows.payer]]).tolist())
        of: dict[int, list[int]] = defaultdict(list)
        for n in np.flatnonzero(np.isin(rows.job, [*seen])).tolist():
            of[int(rows.record[n])].append(n)
        changed: dict[int, Sequence[Any]] = {}
        for numbers in of.values():
            before = [self.claim(rows.raw[n], int(rows.start[n]), int(rows.end[n])) for n in numbers]
            told = seen[int(rows.job[numbers[0]])]
            after = next((s for split in told if (s := with_split(before, split))), before)
            for n, was, claim in zip(numbers, before, after, strict=True):
                if claim != was:
                    head = list(rows.raw[n][:CLAIM])
                    head[MEANING] = claim_digest(claim)
                    changed[n] = (*head, *claim_values(claim))
        if not changed:
            return rows
        raw = rows.raw.copy()
        for n, row in changed.items():
            raw[n] = row
        return self.rows(raw.tolist())


def _named(indices: Sequence[str], uuids: Sequence[str]) -> Flags:
    """Which claims name cards; mostly none does."""
    if not any(indices) and not any(uuids):
        return np.zeros(len(indices), dtype=bool)
    return np.array([bool(one or other) for one, other in zip(indices, uuids, strict=True)])


def _splits(connection: Connection, jobs_: Sequence[int]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    c = splits.c
    for part in chunks(jobs_):
        query = select(c.job_id, c.split).where(c.job_id.in_(part)).order_by(c.seen_at.desc(), c.split)
        for job, split in connection.execute(query):
            found[job].append(json.loads(split))
    return found
