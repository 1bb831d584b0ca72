"""Claims out of the tables, as columns."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, Text, and_, case, cast, func, literal, select

from accounting.arrays import Flags, Ints
from accounting.evidence.claim_rows import NEVER, Codes, Rows, Said
from accounting.evidence.fingerprints import claim_digest
from accounting.evidence.hypotheses.exact_splits import seen_split, splits_of
from accounting.store.columns import Columns, among
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
_TEXTS = (_C.unit, _C.native_id, _J.run, _C.link_keys)


def _told(query: Select[Any], dialect: str) -> Select[Any]:
    """What is read of the rows of a query that is made from `QUERY`."""
    none, cards = literal("", Text), _array(dialect, (_C.indices, _C.uuids))
    cards = case((and_(_C.indices == "", _C.uuids == ""), none), else_=cards)
    columns = (*_NUMBERS, *_TEXTS, cards, _array(dialect, _SAID), _R.meaning)
    labelled = (column.label(f"column {n}") for n, column in enumerate(columns))
    return query.with_only_columns(*labelled, maintain_column_froms=True)


def _array(dialect: str, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[str]:
    """Some columns of a row as one text, a JSON array: those of equal rows are equal."""
    if dialect == "sqlite":
        return func.json_array(*columns, type_=Text).concat("")  # a text, and not JSON within JSON
    return cast(func.json_build_array(*columns), Text)


class Reader:
    """Reads rows, and numbers what they have in common. ``nodes`` are all nodes by id.

    ``payers`` are scheduler, cluster, account and labels, ``kinds`` model and profile.
    """

    def __init__(self, nodes: Mapping[int, NodeKey]) -> None:
        self.nodes = nodes
        self.payers, self.kinds, self.machines = Codes(), Codes(), Codes()
        self._said = Codes()
        self._payer: Ints = np.empty(0, dtype=np.int64)
        self._kind: Ints = np.empty(0, dtype=np.int64)
        self._slurm: Flags = np.empty(0, dtype=bool)
        self._assumed: Flags = np.empty(0, dtype=bool)

    def read(self, tables: Columns, query: Select[Any]) -> Rows:
        """The claims of a query that is made from `QUERY`."""
        found = tables.table(_told(query, tables.connection.dialect.name))
        *told, said, meaning = found.columns
        columns: list[Any] = [column.to_numpy(zero_copy_only=False) for column in told]
        columns[len(_NUMBERS) : len(_NUMBERS)] = [self._codes_of(said), _digests(meaning)]
        return Rows(*columns)

    def _codes_of(self, said: pa.ChunkedArray) -> Ints:
        """The numbers in ``_said`` of what some texts say, of which equal ones may be spelt in two ways."""
        alike = said.combine_chunks().dictionary_encode()
        told = [Said(*several) for several in json.loads(f"[{','.join(alike.dictionary.to_pylist())}]")]
        codes = self._numbers([s._replace(assumed=bool(s.assumed)) for s in told])
        return codes[alike.indices.to_numpy()] if len(codes) else codes

    def _numbers(self, said: Sequence[Said]) -> Ints:
        found = self._said.of(said)
        new = self._said.items[len(self._payer) :]
        if new:
            self._payer = np.append(self._payer, self.payers.of([s[:4] for s in new]))
            self._kind = np.append(self._kind, self.kinds.of([(s.model, s.profile) for s in new]))
            self._slurm = np.append(self._slurm, [s.scheduler == Scheduler.SLURM.value for s in new])
            self._assumed = np.append(self._assumed, [s.assumed for s in new])
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

    def assumed(self, rows: Rows) -> Flags:
        """Of which the share of their node was guessed."""
        return self._assumed[rows.said]

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

    def exact(self, tables: Columns, rows: Rows) -> Rows:
        """Put what was seen live (share and cards per node) in the place of what history had to assume.

        The rule is that of `accounting.evidence.hypotheses.exact_splits`.
        """
        connection = tables.connection
        if not len(rows) or connection.execute(select(splits.c.id).limit(1)).first() is None:
            return rows
        seen = splits_of(connection, np.unique(rows.job[self.slurm(rows)]).tolist())
        some = np.flatnonzero(np.isin(rows.job, [*seen]))
        changed: dict[int, Claim] = {}
        more: list[tuple[int, int, Claim]] = []
        gone: list[int] = []
        for which in _by_record(tables, rows.id[some], some):
            before = [self.claim(rows, n) for n in which]
            after = seen_split(before, seen[int(rows.job[which[0]])])
            places = {(c.node, c.unit): n for n, c in zip(which, before, strict=True)}
            number = {c.node: int(rows.node[n]) for n, c in zip(which, before, strict=True)}
            for claim in after:
                n = places.pop((claim.node, claim.unit), None)
                if n is None:
                    more.append((which[0], number[claim.node], claim))
                else:
                    changed[n] = claim
            gone += places.values()
        kept = np.ones(len(rows) + len(more), dtype=bool)
        kept[gone] = False
        changed = {n: claim for n, claim in changed.items() if claim != self.claim(rows, n)}
        return self.replaced(rows, changed, more).keep(kept)

    def replaced(self, rows: Rows, changed: Mapping[int, Claim], more: Sequence[tuple[int, int, Claim]]) -> Rows:
        """Rows of which some are other claims, of the same jobs on the same nodes, and further claims.

        ``more`` are rows of the same runs, the numbers of their nodes, and the claims.
        """
        if not changed and not more:
            return rows
        found = rows.take(np.append(np.arange(len(rows)), np.array([like for like, _, _ in more], dtype=np.int64)))
        news = {len(rows) + n: claim for n, (_, _, claim) in enumerate(more)}
        found.node[len(rows) :] = [node for _, node, _ in more]
        for n, claim in {**changed, **news}.items():
            unit, milligpu, start, end, model, profile, *cards, keys, assumed, basis, native = claim_values(claim)
            said = self._said.items[found.said[n]]._replace(model=model, profile=profile, assumed=assumed, basis=basis)
            found.said[n] = self._numbers([said])[0]
            found.milligpu[n], found.start[n], found.end[n] = milligpu, start, FOREVER if end is None else end
            found.told[n] = np.frombuffer(claim_digest(claim), dtype=">u8")
            found.unit[n], found.native[n], found.keys[n] = unit, native, keys
            found.cards[n] = compact(cards) if any(cards) else ""
        return found


def _digests(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Digests of 16 bytes as two big-endian numbers each."""
    fixed = column.combine_chunks().cast(pa.binary(16))
    return np.frombuffer(fixed.buffers()[1] or b"", dtype=">u8", count=2 * len(fixed)).reshape(-1, 2)


def _by_record(tables: Columns, ids: Ints, rows: Ints) -> Iterable[list[int]]:
    """Rows (``ids`` are their claims') by the record that they are of."""
    dialect = tables.connection.dialect.name
    told = tables.table(select(_C.id, _C.record_id).where(among(_C.id, ids.tolist(), dialect)))
    record = dict(zip(*(column.to_pylist() for column in told.columns), strict=True))
    found: dict[int, list[int]] = defaultdict(list)
    for number, row in zip(ids.tolist(), rows.tolist(), strict=True):
        found[record[number]].append(row)
    return found.values()
