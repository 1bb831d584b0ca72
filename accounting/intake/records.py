"""Keeps records: every version of what a source said about a subject, exactly one of which is current.

Of the versions of one subject (a Slurm run, a pod's claim on a node) the current one is the most final (ended before
running before waiting), among equals the one seen last, among those the one with the larger hash: so neither the order
nor the batching of what is kept matters. Nothing is ever deleted or rewritten; only the marks of what is current move.

A record that ended and is later told differently is a *changed* record: the later version counts, and the earlier one
is set aside in ``rejects`` with what changed, for an operator to see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select, update

from accounting.intake.identities import HISTORY, job_ids, place_ids, put_job_rows
from accounting.intake.late_changes import report_changes
from accounting.intake.versions import Version
from accounting.store.database import chunks, insert_many, listed, next_id, of_each, storable
from accounting.store.day_changes import touch, touch_records
from accounting.store.rows import (
    CLAIM_COLUMNS,
    ENDED,
    Identity,
    claim_values,
    digest,
    identity_of,
    job_values,
    place_of,
)
from accounting.store.tables import claim_keys as keys_table
from accounting.store.tables import claims as claims_table
from accounting.store.tables import records as records_table

BATCH = 5000
"""Most records that are decided on together: bounds memory."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a batch: subjects ``new`` to the ledger, ``later`` versions of known ones, ``unchanged`` records;
    ``changed`` counts the later ones that contradict a record that had ended.
    """

    new: int = 0
    later: int = 0
    unchanged: int = 0
    changed: int = 0

    def __add__(self, other: Kept) -> Kept:
        return Kept(
            self.new + other.new,
            self.later + other.later,
            self.unchanged + other.unchanged,
            self.changed + other.changed,
        )


def keep(connection: Connection, versions: Sequence[Version], seen_at: int) -> Kept:
    """Keep records in the caller's transaction. Keeping the same again changes nothing."""
    kept = Kept()
    for part in chunks(versions, BATCH):
        kept += _Batch(connection, part, seen_at).keep()
    return kept


class _Known(NamedTuple):
    """A version that the ledger already has."""

    rank: tuple[int, int, bytes]
    meaning: bytes
    id: int
    current: bool


class _Fresh(NamedTuple):
    """A version that the ledger does not have yet, as rows: whose it is, its job, and each claim's place and values."""

    version: Version
    holder: Identity
    job: tuple[Any, ...] | None
    places: list[Identity]
    values: list[tuple[Any, ...]]
    meaning: bytes


def _fresh(version: Version) -> _Fresh:
    key, claims = version.key, version.claims
    job = job_values(version.job) if version.job else None
    holder: Identity = job[:3] if job else identity_of(key)
    places = [place_of(c.node) for c in claims]
    values = [claim_values(c) for c in claims]
    held = [
        ((*(holder if c.job == key else identity_of(c.job)), *place), row)
        for c, place, row in zip(claims, places, values, strict=True)
    ]
    return _Fresh(version, holder, job, places, values, digest(job, held, version.reason, version.finality))


class _Batch:
    """Decides subject by subject, then writes everything in few statements."""

    def __init__(self, connection: Connection, versions: Sequence[Version], seen_at: int) -> None:
        self.connection, self.seen_at, self.count = connection, seen_at, len(versions)
        self.told: dict[str, dict[bytes, Version]] = {}
        for v in versions:
            self.told.setdefault(v.subject, {})[v.hash] = v
        self.known = _known(connection, self.told)
        self.fresh: list[tuple[_Fresh, bool]] = []
        self.described: list[tuple[Any, ...]] = []
        self.raised: list[int] = []
        self.lowered: list[int] = []
        self.seen_again: list[int] = []
        self.contradicted: list[str] = []

    def keep(self) -> Kept:
        new = later = changed = 0
        for subject, told in self.told.items():
            known = self.known.get(subject)
            if known is None and len(told) == 1:  # so it is for nearly all: nothing to choose from
                [version] = told.values()
                self._begin(_fresh(version))
                new += 1
                continue
            if known is not None and all(h in known and known[h].current for h in told):
                continue
            added, contradicts = self._choose(told, known or {})
            new += known is None
            later += added - (known is None)
            if contradicts:
                self.contradicted.append(subject)
                changed += added
        self._write()
        return Kept(new, later, self.count - new - later, changed)

    def _begin(self, fresh: _Fresh) -> None:
        """The first version of a subject: what `_choose` makes of it, in short."""
        self.fresh.append((fresh, True))
        if fresh.job is not None:
            self.described.append(fresh.job)

    def _choose(self, told: Mapping[bytes, Version], known: Mapping[bytes, _Known]) -> tuple[int, bool]:
        """Find the current version of one subject; how many of ``told`` are new, and whether they contradict an end."""
        fresh = {h: _fresh(v) for h, v in sorted(told.items()) if h not in known}
        ranks = {h: k.rank for h, k in known.items()}
        said = {(k.rank[0], k.meaning) for k in known.values() if k.current}
        added: list[_Fresh] = []
        for digest_, version in told.items():
            if digest_ in known and not known[digest_].current and self.seen_at > known[digest_].rank[1]:
                ranks[digest_] = (version.finality, self.seen_at, digest_)
                self.seen_again.append(known[digest_].id)
        for f in fresh.values():
            v = f.version
            if v.finality == ENDED or (v.finality, f.meaning) not in said:  # not just a longer elapsed time
                said.add((v.finality, f.meaning))
                ranks[v.hash] = (v.finality, self.seen_at, v.hash)
                added.append(f)
        best = max(ranks, key=lambda h: ranks[h])
        for digest_, k in known.items():
            if k.current != (digest_ == best):
                (self.raised if digest_ == best else self.lowered).append(k.id)
        self.fresh.extend((f, f.version.hash == best) for f in added)
        if best in fresh:
            job = fresh[best].job
        else:
            job = None if known[best].current else _fresh(told[best]).job
        if job is not None:
            self.described.append(job)
        return len(added), _contradicts(fresh.values(), known)

    def _write(self) -> None:
        jobs = put_job_rows(self.connection, self.described, HISTORY, self.seen_at) if self.described else {}
        if self.fresh:
            self._insert(jobs)
        _mark(self.connection, self.lowered, current=False)
        _mark(self.connection, self.raised, current=True)
        for numbers in chunks(self.seen_again):
            again = update(records_table).where(records_table.c.id.in_(numbers))
            self.connection.execute(again.values(seen_at=self.seen_at))
        for subjects in chunks(self.contradicted):
            report_changes(self.connection, subjects, self.seen_at)

    def _insert(self, described: Mapping[Identity, int]) -> None:
        missing = {f.version.key for f, _ in self.fresh if f.holder not in described}
        named = job_ids(self.connection, missing) if missing else {}
        jobs = {**described, **{identity_of(key): number for key, number in named.items()}}
        nodes = place_ids(self.connection, list(dict.fromkeys(place for f, _ in self.fresh for place in f.places)))
        record_id, claim_id = next_id(self.connection, records_table), next_id(self.connection, claims_table)
        rows: list[tuple[Any, ...]] = []
        held: list[tuple[Any, ...]] = []
        keys: list[tuple[Any, ...]] = []
        for n, ((v, holder, _, places, values, meaning), current) in enumerate(self.fresh, start=record_id):
            job = jobs[holder]
            rows.append(
                (
                    n, v.hash, meaning, v.subject, v.source, v.cluster, job, v.raw, v.outcome, v.reason, v.finality,
                    self.seen_at, current,
                )
            )  # fmt: skip
            for c, place, row in zip(v.claims, places, values, strict=True):
                if c.keys:
                    keys += [(claim_id, k.kind.value, storable(k.cluster), storable(k.value)) for k in sorted(c.keys)]
                held.append((claim_id, n, job, nodes[place], *row, current))
                claim_id += 1
        insert_many(self.connection, records_table, _RECORD_COLUMNS, rows)
        insert_many(self.connection, claims_table, _CLAIM_COLUMNS, held)
        touch(self.connection, [(row[_START], row[_END]) for row in held])
        insert_many(self.connection, keys_table, _KEY_COLUMNS, keys)


_RECORD_COLUMNS = tuple(c.name for c in records_table.columns)
_CLAIM_COLUMNS = ("id", "record_id", "job_id", "node_id", *CLAIM_COLUMNS, "current")
_KEY_COLUMNS = tuple(c.name for c in keys_table.columns)
_START, _END = _CLAIM_COLUMNS.index("start_at"), _CLAIM_COLUMNS.index("end_at")


@cache
def _known_query(dialect: str) -> Select[Any]:
    r = records_table.c
    columns = (r.subject, r.hash, r.finality, r.seen_at, r.meaning, r.id, r.current)
    return of_each(select(*columns), r.subject, dialect)


def _known(connection: Connection, subjects: Iterable[str]) -> dict[str, dict[bytes, _Known]]:
    """Every version of these subjects, by subject and hash."""
    found: dict[str, dict[bytes, _Known]] = {}
    rows = connection.execute(_known_query(connection.dialect.name), {"values": listed(subjects)}).all()
    for subject, digest_, finality, seen, meaning, number, current in rows:
        found.setdefault(subject, {})[digest_] = _Known((finality, seen, digest_), meaning, number, current)
    return found


def _contradicts(fresh: Iterable[_Fresh], known: Mapping[bytes, _Known]) -> bool:
    """Whether these versions end the subject in more than one way, and one of the ways is news."""
    news = {f.meaning for f in fresh if f.version.finality == ENDED}
    ended = {k.meaning for k in known.values() if k.rank[0] == ENDED}
    return bool(news) and len(news | ended) > 1


def _mark(connection: Connection, record_ids: Sequence[int], *, current: bool) -> None:
    for part in chunks(record_ids):
        connection.execute(update(records_table).where(records_table.c.id.in_(part)).values(current=current))
        connection.execute(update(claims_table).where(claims_table.c.record_id.in_(part)).values(current=current))
    touch_records(connection, record_ids)
