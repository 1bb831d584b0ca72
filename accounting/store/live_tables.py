"""The tables of what was seen live (`accounting.store.tables`)."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from accounting.store.table_columns import LONG, Big, metadata
from accounting.store.table_columns import id_column as _id
from accounting.store.table_columns import of_column as _of
from accounting.store.table_columns import ref_column as _ref
from accounting.store.table_columns import text_column as _text
from accounting.store.table_columns import time_column as _time

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
    _text("slots"),  # JSON: [[kind, milligpu, how many], ...]
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

runs_seen = Table(
    "runs_seen",
    metadata,
    _id(),
    _of("job_id"),
    Column("source", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    _time("start_at"),  # when it began to hold, as its scheduler tells
    _time("first_at"),  # the first and the last reading that showed it
    _time("last_at", nullable=True),
    _time("gone_at", nullable=True),  # the reading after the last one, which no longer showed it
    Column("held", Text, nullable=False),  # what it held, as in splits
    Column("recorded", Boolean, nullable=False),  # whether the history has told its end
)
Index(None, runs_seen.c.job_id)
UNRECORDED = text("NOT recorded")
"""Runs whose end no history has told yet."""
Index("ix_runs_seen_unrecorded", runs_seen.c.cluster, postgresql_where=UNRECORDED, sqlite_where=UNRECORDED)

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

telemetry_days = Table(
    "telemetry_days",
    metadata,
    Column("machine", Text, primary_key=True),
    Column("start_at", Big, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, nullable=False),  # of the rows of a node-day, to see what was changed by hand
)
Index(None, telemetry_days.c.start_at)

recorders = Table(
    "recorders",
    metadata,
    Column("name", Text, primary_key=True),
    Column("last_at_ms", Big, nullable=False),  # epoch milliseconds of the last round kept
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),  # of the recorder that may write
    Column("holder", Text, nullable=False),  # the process that does; empty when it has ended well
    Column("held_at_ms", Big, nullable=False),  # epoch milliseconds by its clock when it last wrote
)
