"""Claims out of the tables in bulk."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, Text, and_, case, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from accounting.bulk.pages import among_ids, every, listed_ids
from accounting.bulk.rows import NAMES, NEVER, Codes, Rows, Said, Texts
from accounting.held import splits_of, with_split
from accounting.prints import claim_digest
from accounting.rows import claim_of, claim_values, compact
from accounting.sweep.columns import Flags, Ints
from accounting.tables import claims, jobs, records, splits
from exporters.links import FOREVER
from exporters.model import Claim, JobKey, NodeKey, Scheduler

_C, _J, _R = claims.c, jobs.c, records.c


class _Together(FunctionElement[str]):
    """Some columns in one text, a JSON array: few different ones, many times."""

    name = "together"
    inherit_cache = True
    type = Text()


@compiles(_Together)
def _json_array(element: Any, compiler: Any, **rest: Any) -> str:
    return f"json_array({compiler.process(element.clauses, **rest)})"


@compiles(_Together, "postgresql")
def _json_build_array(element: Any, compiler: Any, **rest: Any) -> str:
    return f"CAST(json_build_array({compiler.process(element.clauses, **rest)}) AS TEXT)"


QUERY: Select[Any] = (
    select(
        _C.id,
        _C.job_id,
        _C.node_id,
        _C.milligpu,
        _C.start_at,
        _C.end_at,
        _J.start_at.label("began"),
        _Together(
            _J.scheduler, _J.cluster, _J.account, _J.labels, _C.model, _C.profile, _C.split_assumed, _C.end_basis
        ).label("said"),
        _R.meaning,
        _C.unit,
        _C.native_id,
        _J.run,
        _C.link_keys,
        case((and_(_C.indices == "", _C.uuids == ""), None), else_=_Together(_C.indices, _C.uuids)).label("cards"),
    )
    .join(records, _R.id == _C.record_id)
    .join(jobs, _J.id == _C.job_id)
    .where(_C.current)
)
"""Current claims, each with its record's meaning and with what says who pays for its job."""


class Reader:
    """Reads rows, and numbers what they have in common. ``nodes`` are all nodes by id.

    ``payers`` are scheduler, cluster, account and labels, ``kinds`` model and profile.
    """

    def __init__(self, nodes: Mapping[int, NodeKey]) -> None:
        self.nodes = nodes
        self.payers, self.kinds, self.machines = Codes(), Codes(), Codes()
        self._texts, self._said = Codes(), Codes()
        self._code_of_text: list[int] = []
        self._payer: Ints = np.empty(0, dtype=np.int64)
        self._kind: Ints = np.empty(0, dtype=np.int64)
        self._slurm: Flags = np.empty(0, dtype=bool)

    def read(self, connection: Connection, query: Select[Any], parameters: dict[str, Any] | None = None) -> Rows:
        """The claims of a query that is made from `QUERY`."""
        return self.rows(every(connection, query, parameters))

    def rows(self, raw: Sequence[Sequence[Any]]) -> Rows:
        """Rows as the database has them, by columns."""
        columns = [*zip(*raw, strict=True)] or [()] * len(NAMES)
        number, job, node, milligpu, start, end, began, said, meaning, *texts = columns
        return Rows(
            np.array(number, dtype=np.int64),
            np.array(job, dtype=np.int64),
            np.array(node, dtype=np.int64),
            np.array(milligpu, dtype=np.int64),
            np.array(start, dtype=np.int64),
            _known(end, FOREVER),
            _known(began, NEVER),
            self._codes_of(said),
            np.frombuffer(b"".join(meaning), dtype=">u8").reshape(len(raw), 2),
            *map(_objects, texts),
        )

    def _codes_of(self, texts: Sequence[str]) -> Ints:
        """The numbers in ``_said`` of what some texts say, of which equal ones may be spelt in two ways."""
        found = self._texts.of(texts)
        new = self._texts.items[len(self._code_of_text) :]
        if new:
            told = [Said(*several) for several in json.loads(f"[{','.join(new)}]")]
            self._code_of_text += self._numbers([s._replace(assumed=bool(s.assumed)) for s in told]).tolist()
        return np.array(self._code_of_text, dtype=np.int64)[found]

    def _numbers(self, said: Sequence[Said]) -> Ints:
        found = self._said.of(said)
        new = self._said.items[len(self._payer) :]
        if new:
            self._payer = np.append(self._payer, self.payers.of([s[:4] for s in new]))
            self._kind = np.append(self._kind, self.kinds.of([(s.model, s.profile) for s in new]))
            self._slurm = np.append(self._slurm, [s.scheduler == Scheduler.SLURM.value for s in new])
        return found

    def payer(self, rows: Rows) -> Ints:
        """What says who pays for each, numbers into ``payers``."""
        return self._payer[rows.said]

    def kind(self, rows: Rows) -> Ints:
        """What cards each has, numbers into ``kinds``."""
        return self._kind[rows.said]

    def slurm(self, rows: Rows) -> Flags:
        """Which are of Slurm's jobs."""
        return self._slurm[rows.said]

    def clusters(self, rows: Rows) -> list[str]:
        """The cluster of each one's job."""
        clusters = [s.cluster for s in self._said.items]
        return [clusters[code] for code in rows.said.tolist()]

    def job_key(self, rows: Rows, row: int) -> JobKey:
        """The job of a row."""
        said = self._said.items[rows.said[row]]
        return JobKey(Scheduler(said.scheduler), said.cluster, rows.run[row])

    def units(self, rows: Rows, which: Ints) -> list[tuple[Scheduler, str, str]]:
        """What holds each of some rows' cards, as `accounting.hands.unit_of` has it."""
        places = [(Scheduler(s.scheduler), s.cluster) for s in self._said.items]
        told = zip(rows.said[which].tolist(), rows.unit[which].tolist(), strict=True)
        return [(*places[code], unit) for code, unit in told]

    def job_texts(self, rows: Rows) -> list[str]:
        """``str`` of the job of each row."""
        heads = [f"{s.scheduler}/{s.cluster}/" for s in self._said.items]
        return [heads[code] + run for code, run in zip(rows.said.tolist(), rows.run.tolist(), strict=True)]

    def claim(self, rows: Rows, row: int) -> Claim:
        """The claim of a row."""
        said = self._said.items[rows.said[row]]
        end, cards = int(rows.end[row]), rows.cards[row]
        indices, uuids = json.loads(cards) if cards else ("", "")
        values = (
            rows.unit[row], int(rows.milligpu[row]), int(rows.start[row]), None if end == FOREVER else end,
            said.model, said.profile, indices, uuids, rows.keys[row], said.assumed, said.basis, rows.native[row],
        )  # fmt: skip
        return claim_of(self.job_key(rows, row), self.nodes[int(rows.node[row])], values)

    def exact(self, connection: Connection, rows: Rows) -> Rows:
        """Put what was seen live (share and cards per node) in the place of what history had to assume.

        The rule is that of `accounting.held`.
        """
        if connection.execute(select(splits.c.id).limit(1)).first() is None or not len(rows):
            return rows
        seen = splits_of(connection, np.unique(rows.job[self.slurm(rows)]).tolist())
        some = np.flatnonzero(np.isin(rows.job, [*seen]))
        changed: dict[int, Claim] = {}
        for numbers in _by_record(connection, rows.id[some], some):
            before = [self.claim(rows, n) for n in numbers]
            told = seen[int(rows.job[numbers[0]])]
            after = next((s for split in told if (s := with_split(before, split))), before)
            changed |= {n: claim for n, was, claim in zip(numbers, before, after, strict=True) if claim != was}
        return self._with(rows, changed) if changed else rows

    def _with(self, rows: Rows, changed: Mapping[int, Claim]) -> Rows:
        """Rows of which some are other claims, of the same jobs on the same nodes."""
        found = Rows(*(getattr(rows, name).copy() for name in NAMES))
        for n, claim in changed.items():
            unit, milligpu, start, end, model, profile, *cards, keys, assumed, basis, native = claim_values(claim)
            said = self._said.items[rows.said[n]]._replace(model=model, profile=profile, assumed=assumed, basis=basis)
            found.said[n] = self._numbers([said])[0]
            found.milligpu[n], found.start[n], found.end[n] = milligpu, start, FOREVER if end is None else end
            found.told[n] = np.frombuffer(claim_digest(claim), dtype=">u8")
            found.unit[n], found.native[n], found.keys[n] = unit, native, keys
            found.cards[n] = compact(cards) if any(cards) else None
        return found


def _known(values: Sequence[int | None], otherwise: int) -> Ints:
    return np.array([otherwise if v is None else v for v in values] if None in values else values, np.int64)


def _objects(values: Sequence[Any]) -> Texts:
    return np.fromiter(values, dtype=np.object_, count=len(values))


def _by_record(connection: Connection, ids: Ints, rows: Ints) -> Iterable[list[int]]:
    """Rows (``ids`` are their claims') by the record that they are of."""
    dialect = connection.dialect.name
    query = select(_C.id, _C.record_id).where(among_ids(_C.id, dialect))
    record = dict(tuple(pair) for pair in every(connection, query, listed_ids(ids.tolist(), dialect)))
    found: dict[int, list[int]] = defaultdict(list)
    for number, row in zip(ids.tolist(), rows.tolist(), strict=True):
        found[record[number]].append(row)
    return found.values()
