"""Claims out of the tables in bulk."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, select

from accounting.bulk.packed import apart, array, digests, list_of, listed, numbers, numbers_of, rows_of, texts
from accounting.bulk.pages import among_ids, every, listed_ids
from accounting.bulk.rows import NAMES, NEVER, Codes, Rows, Said, Texts
from accounting.evidence.claims import splits_of, with_split
from accounting.evidence.fingerprints import claim_digest
from accounting.reconcile.sweep.columns import Flags, Ints
from accounting.store.rows import claim_of, claim_values, compact
from accounting.store.tables import claims, jobs, records, splits
from exporters.join.links import FOREVER
from exporters.model import Claim, JobKey, NodeKey, Scheduler

_C, _J, _R = claims.c, jobs.c, records.c


QUERY: Select[Any] = select(_C.id).join(records, _R.id == _C.record_id).join(jobs, _J.id == _C.job_id).where(_C.current)
"""Current claims, each with its record and its job."""

# in the order of `Rows`
_NUMBERS = (
    _C.id, _C.job_id, _C.node_id, _C.milligpu, _C.start_at, func.coalesce(_C.end_at, FOREVER),
    func.coalesce(_J.start_at, NEVER),
)  # fmt: skip
_SAID = (_J.scheduler, _J.cluster, _J.account, _J.labels, _C.model, _C.profile, _C.split_assumed, _C.end_basis)
_NAMES = (_C.unit, _C.native_id, _J.run)


def _packed(query: Select[Any], dialect: str) -> Select[Any]:
    """All rows of a query that is made from `QUERY` as one, each column as one text."""
    cards = case((and_(_C.indices == "", _C.uuids == ""), ""), else_=array(dialect, (_C.indices, _C.uuids)))
    told: list[ColumnElement[Any]] = [
        *(numbers(dialect, column) for column in _NUMBERS),
        texts(dialect, _SAID),
        digests(dialect, _R.meaning),
        *(listed(dialect, column) for column in _NAMES),
        apart(_C.link_keys),
        apart(cards),
    ]
    return query.with_only_columns(*told, maintain_column_froms=True)


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
        (row,) = every(connection, _packed(query, connection.dialect.name), parameters)
        found: list[Any] = [*map(numbers_of, row[: len(_NUMBERS)])]
        said, meaning, unit, native, run, keys, cards = row[len(_NUMBERS) :]
        found += [self._codes_of(rows_of(said)), np.frombuffer(meaning or b"", dtype=">u8").reshape(-1, 2)]
        found += map(_objects, (*map(list_of, (unit, native, run)), *map(rows_of, (keys, cards))))
        return Rows(*found)

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
        """What holds each of some rows' cards, as `accounting.evidence.known_cards.unit_of` has it."""
        places = [(Scheduler(s.scheduler), s.cluster) for s in self._said.items]
        told = zip(rows.said[which].tolist(), rows.unit[which].tolist(), strict=True)
        return [(*places[code], unit) for code, unit in told]

    def job_texts(self, rows: Rows, which: Ints) -> tuple[list[str], Ints, list[str]]:
        """``str`` of the jobs of some rows: how it may begin, which of that each begins with, and how it goes on."""
        heads = [f"{s.scheduler}/{s.cluster}/" for s in self._said.items]
        return heads, rows.said[which], rows.run[which].tolist()

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

        The rule is that of `accounting.evidence.claims`.
        """
        if connection.execute(select(splits.c.id).limit(1)).first() is None or not len(rows):
            return rows
        seen = splits_of(connection, np.unique(rows.job[self.slurm(rows)]).tolist())
        some = np.flatnonzero(np.isin(rows.job, [*seen]))
        changed: dict[int, Claim] = {}
        for which in _by_record(connection, rows.id[some], some):
            before = [self.claim(rows, n) for n in which]
            told = seen[int(rows.job[which[0]])]
            after = next((s for split in told if (s := with_split(before, split))), before)
            changed |= {n: claim for n, was, claim in zip(which, before, after, strict=True) if claim != was}
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
            found.cards[n] = compact(cards) if any(cards) else ""
        return found


def _objects(values: Sequence[str]) -> Texts:
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
