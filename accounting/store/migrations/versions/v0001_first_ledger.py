"""The first ledger: evidence, what was seen live, and the books."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "coverage",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("scheduler", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("start_at", Big, nullable=False),
        sa.Column("end_at", Big, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_coverage"),
    )
    op.create_index("ix_coverage_source_cluster_end_at", "coverage", ["source", "cluster", "end_at"], unique=False)
    op.create_table(
        "cursors",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("position", Big, nullable=False),
        sa.PrimaryKeyConstraint("source", "cluster", name="pk_cursors"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("scheduler", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("origin", sa.SmallInteger(), nullable=False),
        sa.Column("native_id", sa.Text(), server_default="", nullable=False),
        sa.Column("display_id", sa.Text(), server_default="", nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("user_name", sa.Text(), server_default="", nullable=False),
        sa.Column("account", sa.Text(), server_default="", nullable=False),
        sa.Column("partition", sa.Text(), server_default="", nullable=False),
        sa.Column("qos", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="", nullable=False),
        sa.Column("submit_at", Big, nullable=True),
        sa.Column("start_at", Big, nullable=True),
        sa.Column("end_at", Big, nullable=True),
        sa.Column("labels", sa.Text(), server_default="", nullable=False),
        sa.Column("seen_at", Big, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("scheduler", "cluster", "run", name="uq_jobs_scheduler_cluster_run"),
    )
    op.create_index("ix_jobs_native_id", "jobs", ["native_id"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("scheduler", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
        sa.UniqueConstraint("scheduler", "cluster", "name", name="uq_nodes_scheduler_cluster_name"),
    )
    op.create_table(
        "periods",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("start_at", Big, nullable=False),
        sa.Column("end_at", Big, nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("closed_at", Big, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_periods"),
    )
    op.create_table(
        "recorders",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last_at_ms", Big, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_recorders"),
    )
    op.create_table(
        "rejects",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), server_default="", nullable=False),
        sa.Column("seen_at", Big, nullable=False),
        sa.Column("resolved_at", Big, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_rejects"),
        sa.UniqueConstraint("hash", name="uq_rejects_hash"),
    )
    op.create_index("ix_rejects_about", "rejects", ["about"], unique=False)
    op.create_index("ix_rejects_seen_at", "rejects", ["seen_at"], unique=False)
    op.create_table(
        "windows",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("start_at", Big, nullable=False),
        sa.Column("end_at", Big, nullable=False),
        sa.Column("read_at", Big, nullable=False),
        sa.Column("read", Big, nullable=False),
        sa.Column("charged", Big, nullable=False),
        sa.Column("excluded", Big, nullable=False),
        sa.Column("pending", Big, nullable=False),
        sa.Column("rejected", Big, nullable=False),
        sa.Column("reasons", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_windows"),
    )
    op.create_table(
        "capacity",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("node_id", Big, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("milligpu", Big, nullable=False),
        sa.Column("up", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("hostnames", sa.Text(), server_default="", nullable=False),
        sa.Column("start_at", Big, nullable=False),
        sa.Column("end_at", Big, nullable=True),
        sa.Column("end_basis", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_capacity_node_id"),
        sa.PrimaryKeyConstraint("id", name="pk_capacity"),
    )
    op.create_index("ix_capacity_end_at", "capacity", ["end_at"], unique=False)
    op.create_index("ix_capacity_node_id_start_at", "capacity", ["node_id", "start_at"], unique=False)
    op.create_table(
        "holdings",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("recorder", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("card", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("job_id", Big, nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("milligpu", Big, nullable=False),
        sa.Column("start_at", Big, nullable=False),
        sa.Column("end_at", Big, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_holdings_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_holdings"),
    )
    op.create_index("ix_holdings_end_at", "holdings", ["end_at"], unique=False)
    op.create_table(
        "node_events",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("node_id", Big, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("start_at", Big, nullable=False),
        sa.Column("end_at", Big, nullable=True),
        sa.Column("up", sa.Boolean(), nullable=False),
        sa.Column("milligpu", Big, nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("seen_at", Big, nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_node_events_node_id"),
        sa.PrimaryKeyConstraint("id", name="pk_node_events"),
    )
    op.create_index("ix_node_events_node_id_start_at", "node_events", ["node_id", "start_at"], unique=False)
    op.create_table(
        "records",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("meaning", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("job_id", Big, nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("finality", sa.SmallInteger(), nullable=False),
        sa.Column("seen_at", Big, nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_records_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_records"),
        sa.UniqueConstraint("hash", name="uq_records_hash"),
    )
    op.create_index("ix_records_job_id", "records", ["job_id"], unique=False)
    op.create_index("ix_records_subject", "records", ["subject"], unique=False)
    op.create_table(
        "splits",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("job_id", Big, nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("seen_at", Big, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_splits_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_splits"),
        sa.UniqueConstraint("job_id", "split", name="uq_splits_job_id_split"),
    )
    op.create_table(
        "telemetry",
        sa.Column("job_id", Big, autoincrement=False, nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("start_at", Big, autoincrement=False, nullable=False),
        sa.Column("gpu_seconds", sa.Float(), nullable=False),
        sa.Column("active_seconds", sa.Float(), nullable=False),
        sa.Column("tensor_seconds", sa.Float(), nullable=False),
        sa.Column("energy_joules", sa.Float(), nullable=False),
        sa.Column("nvlink_transmit_bytes", sa.Float(), nullable=False),
        sa.Column("nvlink_receive_bytes", sa.Float(), nullable=False),
        sa.Column("samples_seen", Big, nullable=False),
        sa.Column("samples_expected", Big, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_telemetry_job_id"),
        sa.PrimaryKeyConstraint("job_id", "unit", "machine", "start_at", name="pk_telemetry"),
    )
    op.create_index("ix_telemetry_start_at", "telemetry", ["start_at"], unique=False)
    op.create_table(
        "transactions",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("start_at", Big, nullable=False),
        sa.Column("end_at", Big, nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("amends", Big, nullable=True),
        sa.Column("inputs_hash", sa.LargeBinary(), nullable=False),
        sa.Column("rules_hash", sa.LargeBinary(), nullable=False),
        sa.Column("posted_at", Big, nullable=False),
        sa.Column("author", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["amends"], ["transactions.id"], name="fk_transactions_amends"),
        sa.ForeignKeyConstraint(["period"], ["periods.name"], name="fk_transactions_period"),
        sa.PrimaryKeyConstraint("id", name="pk_transactions"),
    )
    op.create_index("ix_transactions_machine_start_at", "transactions", ["machine", "start_at"], unique=False)
    op.create_index("ix_transactions_period", "transactions", ["period"], unique=False)
    op.create_table(
        "claims",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("record_id", Big, nullable=False),
        sa.Column("job_id", Big, nullable=False),
        sa.Column("node_id", Big, nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("milligpu", Big, nullable=False),
        sa.Column("start_at", Big, nullable=False),
        sa.Column("end_at", Big, nullable=True),
        sa.Column("model", sa.Text(), server_default="", nullable=False),
        sa.Column("profile", sa.Text(), server_default="", nullable=False),
        sa.Column("indices", sa.Text(), server_default="", nullable=False),
        sa.Column("uuids", sa.Text(), server_default="", nullable=False),
        sa.Column("link_keys", sa.Text(), server_default="", nullable=False),
        sa.Column("split_assumed", sa.Boolean(), nullable=False),
        sa.Column("end_basis", sa.Text(), server_default="", nullable=False),
        sa.Column("native_id", sa.Text(), server_default="", nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_claims_job_id"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_claims_node_id"),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name="fk_claims_record_id"),
        sa.PrimaryKeyConstraint("id", name="pk_claims"),
    )
    op.create_index("ix_claims_end_at", "claims", ["end_at"], unique=False)
    op.create_index("ix_claims_record_id", "claims", ["record_id"], unique=False)
    op.create_table(
        "node_days",
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("start_at", Big, autoincrement=False, nullable=False),
        sa.Column("end_at", Big, nullable=False),
        sa.Column("inputs_hash", sa.LargeBinary(), nullable=False),
        sa.Column("rules_hash", sa.LargeBinary(), nullable=False),
        sa.Column("transaction_id", Big, nullable=True),
        sa.Column("correction_id", Big, nullable=True),
        sa.ForeignKeyConstraint(["correction_id"], ["transactions.id"], name="fk_node_days_correction_id"),
        sa.ForeignKeyConstraint(["transaction_id"], ["transactions.id"], name="fk_node_days_transaction_id"),
        sa.PrimaryKeyConstraint("machine", "start_at", name="pk_node_days"),
    )
    op.create_index("ix_node_days_start_at", "node_days", ["start_at"], unique=False)
    op.create_table(
        "postings",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("transaction_id", Big, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("quantity", Big, nullable=False),
        sa.Column("project", sa.Text(), server_default="", nullable=False),
        sa.Column("job_id", Big, nullable=True),
        sa.Column("unit", sa.Text(), server_default="", nullable=False),
        sa.Column("start_at", Big, nullable=False),
        sa.Column("end_at", Big, nullable=False),
        sa.Column("held", Big, nullable=False),
        sa.Column("link", sa.Text(), server_default="", nullable=False),
        sa.Column("linked_id", Big, nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_postings_job_id"),
        sa.ForeignKeyConstraint(["linked_id"], ["jobs.id"], name="fk_postings_linked_id"),
        sa.ForeignKeyConstraint(["transaction_id"], ["transactions.id"], name="fk_postings_transaction_id"),
        sa.PrimaryKeyConstraint("id", name="pk_postings"),
    )
    op.create_index(
        "ix_postings_job_id",
        "postings",
        ["job_id"],
        unique=False,
        postgresql_where=sa.text("job_id IS NOT NULL"),
        sqlite_where=sa.text("job_id IS NOT NULL"),
    )
    op.create_index("ix_postings_transaction_id", "postings", ["transaction_id"], unique=False)
    op.create_table(
        "claim_keys",
        sa.Column("claim_id", Big, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["claim_id"], ["claims.id"], name="fk_claim_keys_claim_id"),
    )
    op.create_index("ix_claim_keys_claim_id", "claim_keys", ["claim_id"], unique=False)
    op.create_index("ix_claim_keys_value_cluster", "claim_keys", ["value", "cluster"], unique=False)
