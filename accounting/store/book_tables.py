"""The tables of the books, of what people decided, and of what points into the books (`accounting.store.tables`)."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table, Text

from accounting.store.table_columns import Big, metadata
from accounting.store.table_columns import id_column as _id
from accounting.store.table_columns import of_column as _of
from accounting.store.table_columns import ref_column as _ref
from accounting.store.table_columns import text_column as _text
from accounting.store.table_columns import time_column as _time

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

closed_jobs = Table(
    "closed_jobs",
    metadata,
    Column("period", Text, primary_key=True),  # a closed month whose prices look at what is said of jobs
    Column("job_id", Big, primary_key=True, autoincrement=False),
    Column("facts", Text, nullable=False),  # JSON object: what prices depend on, as it was said then
)

decisions = Table(
    "decisions",
    metadata,
    _id(),
    _time("made_at"),
    Column("kind", Text, nullable=False),  # close, seal
    Column("period", Text, nullable=False),
    _text("told"),  # what was decided: the text that a month was closed with, its seal in hexadecimal
    Column("chain", LargeBinary, nullable=False),  # hash over the row before and this one
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

day_evidence = Table(
    "day_evidence",
    metadata,
    Column("start_at", Big, primary_key=True, autoincrement=False),  # of its node-days
    _time("end_at"),
    Column("covered", Text, nullable=False),  # JSON: [[source, cluster, kind, start, end], ...] as it was booked from
    Column("samples", Big, nullable=False),  # expected of its cards, by telemetry
    Column("decided", Big, nullable=False),  # the last decision about a month by then, 0 before the first
    Column("head", LargeBinary, nullable=False),  # and its chain
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
