"""Which runs slurmctld showed, from when to when; records of what is open are found without going through all."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "runs_seen",
        sa.Column("id", big, autoincrement=False, nullable=False),
        sa.Column("job_id", big, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("start_at", big, nullable=False),
        sa.Column("first_at", big, nullable=False),
        sa.Column("last_at", big, nullable=True),
        sa.Column("held", sa.Text(), nullable=False),
        sa.Column("recorded", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs_seen")),
    )
    op.create_index(op.f("ix_runs_seen_job_id"), "runs_seen", ["job_id"])
    unrecorded = sa.text("NOT recorded")
    op.create_index(
        "ix_runs_seen_unrecorded", "runs_seen", ["cluster"], sqlite_where=unrecorded, postgresql_where=unrecorded
    )
    pending = sa.text("(current AND outcome = 'pending')")
    op.create_index("ix_records_open", "records", ["cluster"], sqlite_where=pending, postgresql_where=pending)
