"""The ledger's tables, the same on SQLite and PostgreSQL.

Identities are text (a Slurm DBIndex does not fit a signed 64-bit integer), times BIGINT epoch seconds UTC, quantities
BIGINT milliGPU-seconds; only ``telemetry`` holds floats. Five kinds of tables:

* evidence as read: ``records`` (raw bytes, every version), ``claims`` and the link keys on them (``claim_keys``),
  ``jobs``, ``nodes``, ``node_events``, ``rejects``, and how far each source was read: ``cursors``, ``windows``,
  ``coverage``;
* evidence as seen live: ``capacity``, ``holdings``, ``splits``, ``telemetry``, ``recorders``;
* the books: ``transactions`` and ``postings``, to which rows are only ever added;
* decisions of people, to which rows are only ever added: ``rulings``;
* pointers into the books, which do change: ``node_days`` (the current transaction of each), ``periods``, and
  ``day_marks`` and ``day_changes``, by which a day is known of which nothing has changed.

An ``end_at`` that is NULL means *still so*. `accounting.store.schema` brings a database to these tables.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    literal_column,
    text,
)

from accounting.store.table_columns import NAMES, Big
from accounting.store.table_columns import id_column as _id
from accounting.store.table_columns import of_column as _of
from accounting.store.table_columns import ref_column as _ref
from accounting.store.table_columns import text_column as _text
from accounting.store.table_columns import time_column as _time

metadata = MetaData(naming_convention=NAMES)

jobs = Table(
    "jobs",
    metadata,
    _id(),
    Column("scheduler", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("run", Text, nullable=False),  # JobKey.id
    Column("origin", SmallInteger, nullable=False),  # 0 only named by a claim, 1 seen live, 2 told by history
    _text("native_id"),
    _text("display_id"),
    _text("name"),
    _text("user_name"),
    _text("account"),
    _text("partition"),
    _text("qos"),
    _text("kind"),
    _text("state"),
    _time("submit_at", nullable=True),
    _time("start_at", nullable=True),
    _time("end_at", nullable=True),
    _text("labels"),  # JSON object, keys sorted; empty when there are none
    _time("seen_at"),
    UniqueConstraint("scheduler", "cluster", "run"),
)

Index(None, jobs.c.native_id)

nodes = Table(
    "nodes",
    metadata,
    _id(),
    Column("scheduler", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("name", Text, nullable=False),
    UniqueConstraint("scheduler", "cluster", "name"),
)

records = Table(
    "records",
    metadata,
    _id(),
    Column("hash", LargeBinary, nullable=False, unique=True),  # SHA-256 of source, cluster and raw
    Column("meaning", LargeBinary, nullable=False),  # digest of what it says: equal when only the wording differs
    Column("subject", Text, nullable=False),  # what it is about; of the records of one subject one is current
    Column("source", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    _of("job_id"),
    Column("raw", LargeBinary, nullable=False),
    Column("outcome", Text, nullable=False),  # charged, excluded, pending
    _text("reason"),  # why it is excluded
    Column("finality", SmallInteger, nullable=False),  # 0 waits, 1 runs, 2 ended
    _time("seen_at"),
    Column("current", Boolean, nullable=False),
)
Index(None, records.c.subject)
Index(None, records.c.job_id)

claims = Table(
    "claims",
    metadata,
    _id(),
    _of("record_id"),
    _of("job_id"),
    _of("node_id"),
    Column("unit", Text, nullable=False),
    Column("milligpu", Big, nullable=False),
    _time("start_at"),
    _time("end_at", nullable=True),
    _text("model"),
    _text("profile"),
    _text("indices"),  # JSON array, empty when not known
    _text("uuids"),  # JSON array
    _text("link_keys"),  # JSON array of [kind, cluster, value, evidence]
    Column("split_assumed", Boolean, nullable=False),
    _text("end_basis"),
    _text("native_id"),
    Column("current", Boolean, nullable=False),
)
Index(None, claims.c.record_id)
Index(None, claims.c.end_at, claims.c.start_at)
PODS = func.replace(claims.c.native_id, literal_column("'/'"), literal_column("''")) != claims.c.native_id
"""Claims whose native id is a pod's name: the index of those is used where a query says so, too."""
Index("ix_claims_native_id", claims.c.native_id, postgresql_where=PODS, sqlite_where=PODS)
LONG = text("(end_at IS NULL OR start_at / 86400 <> (end_at - 1) / 86400)")
"""Claims that go over a midnight or still go on: the index of those is used where a query says so, too."""
Index("ix_claims_long", claims.c.end_at, claims.c.start_at, claims.c.current, postgresql_where=LONG, sqlite_where=LONG)

claim_keys = Table(
    "claim_keys",
    metadata,
    _of("claim_id"),
    Column("kind", Text, nullable=False),  # LinkKind
    Column("cluster", Text, nullable=False),
    Column("value", Text, nullable=False),
)
Index(None, claim_keys.c.value, claim_keys.c.cluster)
Index(None, claim_keys.c.claim_id)

node_events = Table(
    "node_events",
    metadata,
    _id(),
    _ref("node_id", "nodes.id"),
    Column("source", Text, nullable=False),
    _time("start_at"),
    _time("end_at", nullable=True),
    Column("up", Boolean, nullable=False),
    Column("milligpu", Big, nullable=True),
    _text("reason"),
    _time("seen_at"),
    Column("current", Boolean, nullable=False),
)
Index(None, node_events.c.node_id, node_events.c.start_at)

rejects = Table(
    "rejects",
    metadata,
    _id(),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # unreadable, changed, unplaced
    Column("source", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    _text("about"),  # the node-day of an unplaced claim, the subject of a changed record
    _time("seen_at"),
    _time("resolved_at", nullable=True),
)
Index(None, rejects.c.seen_at)
Index(None, rejects.c.about)

cursors = Table(
    "cursors",
    metadata,
    Column("source", Text, primary_key=True),
    Column("cluster", Text, primary_key=True),
    _time("position"),
)

windows = Table(
    "windows",
    metadata,
    _id(),
    Column("source", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    _time("start_at"),
    _time("end_at"),
    _time("read_at"),
    Column("read", Big, nullable=False),
    Column("charged", Big, nullable=False),
    Column("excluded", Big, nullable=False),
    Column("pending", Big, nullable=False),
    Column("rejected", Big, nullable=False),
    _text("reasons"),  # JSON object: reason of exclusion -> count
)

coverage = Table(
    "coverage",
    metadata,
    _id(),
    Column("source", Text, nullable=False),
    Column("scheduler", Text, nullable=False),  # empty for devices and for rounds
    Column("cluster", Text, nullable=False),
    Column("kind", Text, nullable=False),  # history, live, round
    _time("start_at"),
    _time("end_at"),
)
Index(None, coverage.c.source, coverage.c.cluster, coverage.c.end_at)

capacity = Table(
    "capacity",
    metadata,
    _id(),
    _ref("node_id", "nodes.id"),
    Column("source", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("milligpu", Big, nullable=False),
    Column("up", Boolean, nullable=False),
    _text("reason"),
    _text("hostnames"),  # JSON array, best first
    _time("start_at"),
    _time("end_at", nullable=True),
    _text("end_basis"),  # changed, left (a reading no longer had it), silent (no reading)
)
Index(None, capacity.c.node_id, capacity.c.start_at)
Index(None, capacity.c.end_at)

holdings = Table(
    "holdings",
    metadata,
    _id(),
    Column("recorder", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("card", Integer, nullable=False),  # GPU index on the machine
    Column("uuid", Text, nullable=False),
    _ref("job_id", "jobs.id"),
    Column("unit", Text, nullable=False),
    Column("milligpu", Big, nullable=False),
    _time("start_at"),
    _time("end_at", nullable=True),
)
Index(None, holdings.c.end_at)
LONG_HOLDINGS = text("(holdings.end_at IS NULL OR holdings.start_at / 86400 <> (holdings.end_at - 1) / 86400)")
"""Holdings that go over a midnight or still go on, as `LONG` are such claims."""
Index("ix_holdings_long", holdings.c.end_at, holdings.c.start_at, postgresql_where=LONG, sqlite_where=LONG)

splits = Table(
    "splits",
    metadata,
    _id(),
    _ref("job_id", "jobs.id"),
    Column("split", Text, nullable=False),  # JSON: [[node, model, profile, milligpu, [indices], [uuids]], ...]
    _time("seen_at"),
    UniqueConstraint("job_id", "split"),
)

telemetry = Table(
    "telemetry",
    metadata,
    Column("job_id", Big, ForeignKey("jobs.id"), primary_key=True, autoincrement=False),
    Column("unit", Text, primary_key=True),
    Column("machine", Text, primary_key=True),
    Column("start_at", Big, primary_key=True, autoincrement=False),  # of the node-day it falls in
    Column("gpu_seconds", Float, nullable=False),
    Column("active_seconds", Float, nullable=False),
    Column("tensor_seconds", Float, nullable=False),
    Column("energy_joules", Float, nullable=False),
    Column("nvlink_transmit_bytes", Float, nullable=False),
    Column("nvlink_receive_bytes", Float, nullable=False),
    Column("samples_seen", Big, nullable=False),
    Column("samples_expected", Big, nullable=False),
)
Index(None, telemetry.c.start_at)

recorders = Table(
    "recorders",
    metadata,
    Column("name", Text, primary_key=True),
    Column("last_at_ms", Big, nullable=False),  # epoch milliseconds of the last round kept
)

periods = Table(
    "periods",
    metadata,
    Column("name", Text, primary_key=True),  # 2026-10
    _time("start_at"),
    _time("end_at"),
    Column("zone", Text, nullable=False),
    Column("state", Text, nullable=False),  # open, closed, sealed
    _time("closed_at", nullable=True),
    Column("seal", LargeBinary, nullable=True),  # chained hash over the period's postings
    _text("closed_with"),  # JSON: the prices and terms it was closed with, and what it came to
    _time("sealed_at", nullable=True),
)

transactions = Table(
    "transactions",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),  # post, reversal, correction
    Column("machine", Text, nullable=False),
    _time("start_at"),
    _time("end_at"),
    Column("period", Text, ForeignKey("periods.name"), nullable=False),  # the period it is booked in
    _ref("amends", "transactions.id", nullable=True),  # what a reversal reverses, what a correction corrects
    Column("inputs_hash", LargeBinary, nullable=False),
    Column("rules_hash", LargeBinary, nullable=False),
    _time("posted_at"),
    _text("author"),
    _text("reason"),
)
Index(None, transactions.c.machine, transactions.c.start_at)
Index(None, transactions.c.period)

postings = Table(
    "postings",
    metadata,
    _id(),
    _of("transaction_id"),
    Column("account", Text, nullable=False),  # a disposition, capacity, or empty for a record shown but not counted
    Column("model", Text, nullable=False),
    Column("quantity", Big, nullable=False),
    _text("project"),
    _of("job_id", nullable=True),
    _text("unit"),
    _time("start_at"),
    _time("end_at"),
    Column("held", Big, nullable=False),
    _text("link"),
    _of("linked_id", nullable=True),
    _text("reason"),
)
Index(None, postings.c.transaction_id)
_BY_JOB = postings.c.job_id.is_not(None)
Index("ix_postings_job_id", postings.c.job_id, postgresql_where=_BY_JOB, sqlite_where=_BY_JOB)

node_days = Table(
    "node_days",
    metadata,
    Column("machine", Text, primary_key=True),
    Column("start_at", Big, primary_key=True, autoincrement=False),
    _time("end_at"),
    Column("inputs_hash", LargeBinary, nullable=False),
    Column("rules_hash", LargeBinary, nullable=False),
    _ref("transaction_id", "transactions.id", nullable=True),  # what stands in its own period
    _ref("correction_id", "transactions.id", nullable=True),  # the last correction of it, booked elsewhere
)
Index(None, node_days.c.start_at)

day_marks = Table(
    "day_marks",
    metadata,
    Column("start_at", Big, primary_key=True, autoincrement=False),  # of its node-days
    _time("end_at"),
    Column("mark", LargeBinary, nullable=False),  # as long as it is the same, nothing they are made from has changed
)

day_changes = Table(
    "day_changes",
    metadata,
    Column("day", Big, primary_key=True, autoincrement=False),  # UTC days since 1970
    Column("changes", Big, nullable=False),  # how often something was written of it
    Column("since", Big, nullable=False),  # how often something that goes on from it
)

rulings = Table(
    "rulings",
    metadata,
    _id(),
    Column("dispute", Text, nullable=False),  # the dispute's name, a digest of machine and parties
    Column("machine", Text, nullable=False),
    _ref("job_id", "jobs.id"),
    _ref("other_id", "jobs.id", nullable=True),  # the other party; NULL where a key of the job itself is in doubt
    _text("more_ids"),  # JSON array of further parties, empty when there are none
    _ref("ruled_to", "jobs.id", nullable=True),  # NULL revokes what was ruled before
    Column("author", Text, nullable=False),
    Column("why", Text, nullable=False),
    _time("ruled_at"),
)
Index(None, rulings.c.dispute)
