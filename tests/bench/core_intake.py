"""The rival of intake: the same records and claims into the same tables, as one writes it with SQLAlchemy Core.

Idempotent by ``INSERT ... ON CONFLICT``, many rows to an ``execute``, ids given by the database and asked for where the
next table needs them. Of the forms that Core has, this one is the fastest on PostgreSQL: multi-row ``VALUES`` with
``RETURNING`` takes more than twice as long. It does less than intake does: it keeps no versions of a record, chooses
none among them, digests no meaning, and does not look at what it is given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, Table, UniqueConstraint, select
from sqlalchemy.dialects import postgresql, sqlite

from accounting.store.database import chunks
from accounting.store.tables import claim_keys, claims, jobs, nodes, records
from exporters.model import Claim, Record

BATCH = 5000
"""Records per transaction, as intake has."""

_DESCRIBED = (
    "native_id", "display_id", "name", "user_name", "account", "partition", "qos", "kind", "state", "submit_at",
    "start_at", "end_at", "labels", "seen_at", "origin",
)  # fmt: skip


class Core:
    """Keeps records in an empty database, in tables with the columns, keys and indexes of the ledger's."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        own = MetaData()
        self.jobs, self.nodes, self.records, self.claims, self.keys = (
            _like(t, own) for t in (jobs, nodes, records, claims, claim_keys)
        )
        self.tables = (self.jobs, self.nodes, self.records, self.claims, self.keys)
        # what makes a claim and a key the same again: in place of the plain index on their first column
        _unique(self.claims, "record_id", "unit", "node_id")
        _unique(self.keys, "claim_id", "kind", "cluster", "value")
        own.create_all(engine)
        upsert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        put = upsert(self.jobs)
        self.put_jobs = put.on_conflict_do_update(
            index_elements=["scheduler", "cluster", "run"], set_={name: put.excluded[name] for name in _DESCRIBED}
        )
        self.put_nodes = upsert(self.nodes).on_conflict_do_nothing(index_elements=["scheduler", "cluster", "name"])
        self.put_records = upsert(self.records).on_conflict_do_nothing(index_elements=["hash"])
        self.put_claims = upsert(self.claims).on_conflict_do_nothing(index_elements=["record_id", "unit", "node_id"])
        self.put_keys = upsert(self.keys).on_conflict_do_nothing()

    def ingest(self, told: Iterable[Record]) -> None:
        """Keep records, a batch in each transaction."""
        for batch in chunks(told, BATCH):
            with self.engine.begin() as connection:
                self._keep(connection, batch)

    def _keep(self, connection: Connection, batch: list[Record]) -> None:
        job_ids = self._jobs(connection, batch)
        node_ids = self._nodes(connection, batch)
        by_hash = {hashlib.sha256(r.raw.encode()).digest(): r for r in batch}
        rows = [_record_row(digest, r, job_ids[r.job.key.id]) for digest, r in by_hash.items()]
        connection.execute(self.put_records, rows)
        c = self.records.c
        found = connection.execute(select(c.id, c.hash).where(c.hash.in_(list(by_hash)))).all()
        held = [
            _claim_row(claim, number, job_ids[claim.job.id], node_ids[claim.node.name])
            for number, digest in found
            for claim in by_hash[digest].claims
        ]
        connection.execute(self.put_claims, held)
        self._keys(connection, {number: by_hash[digest] for number, digest in found if _keyed(by_hash[digest])})

    def _jobs(self, connection: Connection, batch: list[Record]) -> dict[str, int]:
        rows = {r.job.key.id: _job_row(r) for r in batch}
        connection.execute(self.put_jobs, list(rows.values()))
        c = self.jobs.c
        found = connection.execute(select(c.run, c.id).where(c.cluster == "lab", c.run.in_(list(rows))))
        return dict(found.all())

    def _nodes(self, connection: Connection, batch: list[Record]) -> dict[str, int]:
        keys = {c.node for r in batch for c in r.claims}
        rows = [{"scheduler": k.scheduler.value, "cluster": k.cluster, "name": k.name} for k in keys]
        connection.execute(self.put_nodes, rows)
        return dict(connection.execute(select(self.nodes.c.name, self.nodes.c.id)).all())

    def _keys(self, connection: Connection, keyed: dict[int, Record]) -> None:
        if not keyed:
            return
        c = self.claims.c
        found = connection.execute(select(c.id, c.record_id, c.unit).where(c.record_id.in_(list(keyed))))
        rows = [
            {"claim_id": number, "kind": k.kind.value, "cluster": k.cluster, "value": k.value}
            for number, record, unit in found
            for claim in keyed[record].claims
            if claim.unit == unit
            for k in claim.keys
        ]
        connection.execute(self.put_keys, rows)


def _like(table: Table, into: MetaData) -> Table:
    """A table of the ledger, whose ids the database gives."""
    copy = table.to_metadata(into)
    if "id" in copy.c:
        copy.c.id.autoincrement = True
    return copy


def _unique(table: Table, *columns: str) -> None:
    for index in list(table.indexes):
        if [c.name for c in index.columns] == [columns[0]]:
            table.indexes.remove(index)
    table.append_constraint(UniqueConstraint(*columns))


def _keyed(record: Record) -> bool:
    return any(c.keys for c in record.claims)


def _job_row(record: Record) -> dict[str, Any]:
    job = record.job
    return {
        "scheduler": job.key.scheduler.value, "cluster": job.key.cluster, "run": job.key.id, "origin": 2,
        "native_id": job.native_id, "display_id": job.display_id, "name": job.name, "user_name": job.user,
        "account": job.account, "partition": job.partition, "qos": job.qos, "kind": job.kind, "state": job.state,
        "submit_at": job.submit, "start_at": job.start, "end_at": job.end, "labels": "", "seen_at": 1,
    }  # fmt: skip


def _record_row(digest: bytes, record: Record, job_id: int) -> dict[str, Any]:
    return {
        "hash": digest, "meaning": b"", "subject": str(record.job.key), "source": record.source, "cluster": "lab",
        "job_id": job_id, "raw": record.raw.encode(), "reason": record.excluded, "finality": 2, "seen_at": 1,
        "outcome": "pending" if record.pending else "excluded" if record.excluded else "charged", "current": True,
    }  # fmt: skip


def _claim_row(claim: Claim, record_id: int, job_id: int, node_id: int) -> dict[str, Any]:
    keys = [[k.kind.value, k.cluster, k.value, k.evidence] for k in claim.keys]
    return {
        "record_id": record_id, "job_id": job_id, "node_id": node_id, "unit": claim.unit, "milligpu": claim.milligpu,
        "start_at": claim.start, "end_at": claim.end, "model": claim.model, "profile": claim.profile,
        "indices": json.dumps(claim.indices) if claim.indices else "",
        "uuids": json.dumps(claim.uuids) if claim.uuids else "", "link_keys": json.dumps(keys) if keys else "",
        "split_assumed": claim.split_assumed, "end_basis": claim.end_basis, "native_id": claim.native_id,
        "current": True,
    }  # fmt: skip
