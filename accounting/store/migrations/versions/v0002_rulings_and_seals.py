"""Rulings on disputes, and what a period was closed with."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("periods", sa.Column("closed_with", sa.Text(), server_default="", nullable=False))
    op.add_column("periods", sa.Column("sealed_at", Big, nullable=True))
    op.create_table(
        "rulings",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("dispute", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("job_id", Big, nullable=False),
        sa.Column("other_id", Big, nullable=True),
        sa.Column("ruled_to", Big, nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("ruled_at", Big, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_rulings_job_id"),
        sa.ForeignKeyConstraint(["other_id"], ["jobs.id"], name="fk_rulings_other_id"),
        sa.ForeignKeyConstraint(["ruled_to"], ["jobs.id"], name="fk_rulings_ruled_to"),
        sa.PrimaryKeyConstraint("id", name="pk_rulings"),
    )
    op.create_index("ix_rulings_dispute", "rulings", ["dispute"], unique=False)
