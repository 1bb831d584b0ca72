"""The ledger's tables, the same on SQLite and PostgreSQL.

Identities are text (a Slurm DBIndex does not fit a signed 64-bit integer), times BIGINT epoch seconds UTC, quantities
BIGINT milliGPU-seconds; only ``telemetry`` holds floats. Five kinds of tables:

* evidence as read: ``records`` (raw bytes, every version), ``claims`` and the link keys on them (``claim_keys``),
  ``jobs``, ``nodes``, ``node_events``, ``rejects``, and how far each source was read: ``cursors``, ``windows``,
  ``coverage``;
* evidence as seen live: ``capacity``, ``holdings``, ``splits``, ``runs_seen``, ``telemetry``, ``telemetry_days``,
  ``recorders``;
* the books: ``transactions`` and ``postings``, to which rows are only ever added;
* decisions of people, to which rows are only ever added: ``rulings``;
* pointers into the books, which do change: ``node_days`` (the current transaction of each), ``periods``, and
  ``day_marks`` and ``day_changes``, by which a day is known of which nothing has changed, and ``day_evidence``, by
  which it is seen what was taken out by hand.

What is seen live stands in `live_tables`, the books in `book_tables`; here is what was read, and all of them by name.
An ``end_at`` that is NULL means *still so*. `accounting.store.schema` brings a database to these tables.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    literal_column,
    text,
)

from accounting.store.book_tables import (
    closed_jobs,
    day_changes,
    day_evidence,
    day_marks,
    decisions,
    node_days,
    periods,
    postings,
    rulings,
    transactions,
)
from accounting.store.live_tables import (
    LONG_HOLDINGS,
    UNRECORDED,
    capacity,
    holdings,
    leases,
    recorders,
    runs_seen,
    splits,
    telemetry,
    telemetry_days,
)
from accounting.store.table_columns import LONG, Big, metadata
from accounting.store.table_columns import id_column as _id
from accounting.store.table_columns import of_column as _of
from accounting.store.table_columns import ref_column as _ref
from accounting.store.table_columns import text_column as _text
from accounting.store.table_columns import time_column as _time

__all__ = [
    "LAST_SEEN",
    "LONG",
    "LONG_HOLDINGS",
    "OPEN_RECORDS",
    "PODS",
    "UNRECORDED",
    "capacity",
    "claim_keys",
    "claims",
    "closed_jobs",
    "coverage",
    "cursors",
    "day_changes",
    "day_evidence",
    "day_marks",
    "decisions",
    "holdings",
    "jobs",
    "leases",
    "metadata",
    "node_days",
    "node_events",
    "nodes",
    "periods",
    "postings",
    "recorders",
    "records",
    "rejects",
    "rulings",
    "runs_seen",
    "splits",
    "telemetry",
    "telemetry_days",
    "transactions",
    "windows",
]

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
    Column("digest", LargeBinary),  # of all that is told of it, to see what was changed by hand
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
OPEN_RECORDS = text("(current AND outcome = 'pending')")
"""Records of what waits or runs: the index of those is used where a query says so, too."""
Index("ix_records_open", records.c.cluster, postgresql_where=OPEN_RECORDS, sqlite_where=OPEN_RECORDS)

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
LAST_SEEN = text("(claims.current AND claims.end_basis IN ('vanished', 'lost', 'runaway'))")
"""Claims that end when somebody last saw them: nobody saw the end itself."""
_LAST_SEEN = text("(current AND end_basis IN ('vanished', 'lost', 'runaway'))")
Index("ix_claims_last_seen", claims.c.end_at, postgresql_where=_LAST_SEEN, sqlite_where=_LAST_SEEN)
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
    _text("cards"),  # JSON: [[model, milligpu], ...], empty where it names no models
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
