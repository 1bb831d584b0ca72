"""Keeps records: every version of what a source said about a subject, exactly one of which is current.

Of the versions of one subject (a Slurm run, a pod's claim on a node) the current one is the most final (ended before
running before waiting), among equals the one seen last, among those the one with the larger hash: so neither the order
nor the batching of what is kept matters. Nothing is ever deleted or rewritten; only the marks of what is current move.

A record that ended and is later told differently is a *changed* record: the later version counts, and the earlier one
is set aside in ``rejects`` with what changed, for an operator to see.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from accounting.database import chunks, insert_many, next_id, raw_bytes, storable
from accounting.identities import HISTORY, job_ids, node_ids, put_jobs
from accounting.rejects import CHANGED, Aside, set_aside
from accounting.rows import CLAIM_COLUMNS, claim_text, claim_values, meaning_of
from accounting.tables import claim_keys as keys_table
from accounting.tables import claims as claims_table
from accounting.tables import nodes as nodes_table
from accounting.tables import records as records_table
from exporters.model import MILLI_PER_GPU, Claim, Job, JobKey, Record

WAITS, RUNS, ENDED = 0, 1, 2
"""How final a record is."""


@dataclass(frozen=True)
class Version:
    """One record about to be kept. ``job`` is None where the record names its job without describing it."""

    subject: str
    source: str
    cluster: str
    raw: bytes
    key: JobKey
    job: Job | None
    claims: tuple[Claim, ...]
    outcome: str
    reason: str
    finality: int

    @cached_property
    def hash(self) -> bytes:
        """Its identity."""
        return hash_of(self.source, self.cluster, self.raw)

    @cached_property
    def meaning(self) -> bytes:
        """What it says, whatever the words."""
        return meaning_of(self.job, self.claims, self.reason, self.finality)


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


def version_of_record(record: Record, cluster: str) -> Version:
    """A history source's record as a version of its run."""
    finality = ENDED if not record.pending else RUNS if record.claims else WAITS
    return Version(
        subject=storable(str(record.job.key)),
        source=storable(record.source),
        cluster=storable(cluster),
        raw=raw_bytes(record.raw),
        key=record.job.key,
        job=record.job,
        claims=record.claims,
        outcome="pending" if record.pending else "excluded" if record.excluded else "charged",
        reason=storable(record.excluded),
        finality=finality,
    )


def version_of_claim(claim: Claim, source: str, cluster: str) -> Version:
    """A claim that only the live side saw, as a version of itself: its canonical text is the record.

    The subject is the unit on its node, not its job: a pod whose root owner becomes known only later stays one pod.
    """
    finality = RUNS if claim.end is None else ENDED
    return Version(
        subject=storable(f"{claim.node}/{claim.unit}"),
        source=storable(source),
        cluster=storable(cluster),
        raw=claim_text(claim).encode(),
        key=claim.job,
        job=None,
        claims=(claim,),
        outcome="pending" if claim.end is None else "charged",
        reason="",
        finality=finality,
    )


def hash_of(source: str, cluster: str, raw: bytes) -> bytes:
    """The identity of a record: SHA-256 over where it was read (as stored) and its very bytes."""
    where = f"{len(source)}:{source}{len(cluster)}:{cluster}"
    return hashlib.sha256(where.encode() + raw).digest()


def keep(connection: Connection, versions: Sequence[Version], seen_at: int) -> Kept:
    """Keep records in the caller's transaction. Keeping the same again changes nothing."""
    kept = Kept()
    for part in chunks(versions):
        kept += _Batch(connection, part, seen_at).keep()
    return kept


class _Known(NamedTuple):
    """A version that the ledger already has."""

    rank: tuple[int, int, bytes]
    meaning: bytes
    id: int
    current: bool


class _Batch:
    """Decides subject by subject, then writes everything in few statements."""

    def __init__(self, connection: Connection, versions: Sequence[Version], seen_at: int) -> None:
        self.connection, self.seen_at, self.count = connection, seen_at, len(versions)
        self.told: dict[str, dict[bytes, Version]] = defaultdict(dict)
        for v in versions:
            self.told[v.subject][v.hash] = v
        self.known = _known(connection, list(self.told))
        self.fresh: list[tuple[Version, bool]] = []
        self.described: list[Job] = []
        self.raised: list[int] = []
        self.lowered: list[int] = []
        self.seen_again: list[int] = []
        self.contradicted: list[str] = []

    def keep(self) -> Kept:
        new = later = changed = 0
        for subject, told in self.told.items():
            added = self._choose(told, self.known.get(subject, {}))
            new += bool(added) and subject not in self.known
            later += added - (bool(added) and subject not in self.known)
            if _contradicts(told, self.known.get(subject, {})):
                self.contradicted.append(subject)
                changed += added
        self._write()
        return Kept(new, later, self.count - new - later, changed)

    def _choose(self, told: dict[bytes, Version], known: dict[bytes, _Known]) -> int:
        """Find the current version of one subject; returns how many of ``told`` are new versions."""
        ranks = {h: k.rank for h, k in known.items()}
        said = {(k.rank[0], k.meaning) for k in known.values() if k.current}
        added: list[Version] = []
        for digest, v in sorted(told.items()):
            if digest in known:
                if not known[digest].current and self.seen_at > known[digest].rank[1]:
                    ranks[digest] = (v.finality, self.seen_at, digest)
                    self.seen_again.append(known[digest].id)
            elif v.finality == ENDED or (v.finality, v.meaning) not in said:  # not just a longer elapsed time
                said.add((v.finality, v.meaning))
                ranks[digest] = (v.finality, self.seen_at, digest)
                added.append(v)
        best = max(ranks, key=lambda h: ranks[h])
        for digest, k in known.items():
            if k.current != (digest == best):
                (self.raised if digest == best else self.lowered).append(k.id)
        self.fresh.extend((v, v.hash == best) for v in added)
        moved = best not in known or not known[best].current
        if moved and (job := told[best].job) is not None:
            self.described.append(job)
        return len(added)

    def _write(self) -> None:
        jobs = put_jobs(self.connection, self.described, HISTORY, self.seen_at)
        if self.fresh:
            self._insert(jobs | job_ids(self.connection, {v.key for v, _ in self.fresh} - jobs.keys()))
        _mark(self.connection, self.lowered, current=False)
        _mark(self.connection, self.raised, current=True)
        for numbers in chunks(self.seen_again):
            again = update(records_table).where(records_table.c.id.in_(numbers))
            self.connection.execute(again.values(seen_at=self.seen_at))
        for subjects in chunks(self.contradicted):
            _report_changes(self.connection, subjects, self.seen_at)

    def _insert(self, jobs: Mapping[JobKey, int]) -> None:
        nodes = node_ids(self.connection, {c.node for v, _ in self.fresh for c in v.claims})
        record_id, claim_id = next_id(self.connection, records_table), next_id(self.connection, claims_table)
        rows: list[tuple[Any, ...]] = []
        held: list[tuple[Any, ...]] = []
        keys: list[tuple[Any, ...]] = []
        for n, (v, current) in enumerate(self.fresh, start=record_id):
            job = jobs[v.key]
            rows.append(
                (
                    n, v.hash, v.meaning, v.subject, v.source, v.cluster, job, v.raw, v.outcome, v.reason, v.finality,
                    self.seen_at, current,
                )
            )  # fmt: skip
            for c in v.claims:
                number = claim_id + len(held)
                held.append((number, n, job, nodes[c.node], *claim_values(c), current))
                keys += [(number, k.kind.value, storable(k.cluster), storable(k.value)) for k in sorted(c.keys)]
        columns = [c.name for c in records_table.columns]
        insert_many(self.connection, records_table, columns, rows)
        columns = ["id", "record_id", "job_id", "node_id", *CLAIM_COLUMNS, "current"]
        insert_many(self.connection, claims_table, columns, held)
        insert_many(self.connection, keys_table, [c.name for c in keys_table.columns], keys)


_KNOWN = select(
    records_table.c.subject,
    records_table.c.hash,
    records_table.c.finality,
    records_table.c.seen_at,
    records_table.c.meaning,
    records_table.c.id,
    records_table.c.current,
).where(records_table.c.subject.in_(bindparam("subjects", expanding=True)))


def _known(connection: Connection, subjects: list[str]) -> dict[str, dict[bytes, _Known]]:
    """Every version of these subjects, by subject and hash."""
    found: dict[str, dict[bytes, _Known]] = {}
    for subject, digest, finality, seen, meaning, number, current in connection.execute(_KNOWN, {"subjects": subjects}):
        version = _Known((finality, seen, bytes(digest)), bytes(meaning), number, bool(current))
        found.setdefault(subject, {})[bytes(digest)] = version
    return found


def _contradicts(told: dict[bytes, Version], known: dict[bytes, _Known]) -> bool:
    """Whether these versions end the subject in more than one way, and one of the ways is news."""
    fresh = {v.meaning for h, v in told.items() if v.finality == ENDED and h not in known}
    ended = {k.meaning for k in known.values() if k.rank[0] == ENDED}
    return bool(fresh) and len(fresh | ended) > 1


def _mark(connection: Connection, record_ids: Sequence[int], *, current: bool) -> None:
    for part in chunks(record_ids):
        connection.execute(update(records_table).where(records_table.c.id.in_(part)).values(current=current))
        connection.execute(update(claims_table).where(claims_table.c.record_id.in_(part)).values(current=current))


def _report_changes(connection: Connection, subjects: Sequence[str], seen_at: int) -> None:
    """Set aside every ended version that another one superseded, with what each of the two says."""
    t = records_table.c
    query = select(t.id, t.subject, t.hash, t.meaning, t.raw, t.source, t.cluster, t.outcome, t.reason, t.current)
    rows = connection.execute(query.where(t.subject.in_(subjects), t.finality == ENDED)).all()
    says = _descriptions(connection, [r.id for r in rows])
    text = {r.id: says.get(r.id) or f"{r.outcome} {r.reason}".strip() for r in rows}
    now = {r.subject: r for r in rows if r.current}
    asides = []
    for r in rows:
        if r.current or bytes(r.meaning) == bytes(now[r.subject].meaning):
            continue
        asides.append(
            Aside(
                CHANGED,
                r.source,
                r.cluster,
                bytes(r.raw),
                f"{r.subject} had ended and was told differently later; not used any more: {text[r.id]}; "
                f"now: {text[now[r.subject].id]}",
                identity=bytes(r.hash),
            )
        )
    set_aside(connection, asides, seen_at)


def _descriptions(connection: Connection, record_ids: Sequence[int]) -> dict[int, str]:
    """What records claim, in words, by record id."""
    c = claims_table.c
    query = (
        select(c.record_id, nodes_table.c.name, c.milligpu, c.start_at, c.end_at)
        .join(nodes_table, nodes_table.c.id == c.node_id)
        .where(c.record_id.in_(record_ids))
        .order_by(c.record_id, c.start_at, nodes_table.c.name, c.id)
    )
    words: dict[int, list[str]] = defaultdict(list)
    for record, node, milligpu, start, end in connection.execute(query):
        words[record].append(f"{milligpu / MILLI_PER_GPU:g} cards of {node} over [{start}, {end})")
    return {record: ", ".join(parts) for record, parts in words.items()}
