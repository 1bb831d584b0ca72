"""Marks of days of which nothing has changed since they were booked."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "day_marks",
        sa.Column("start_at", Big, autoincrement=False, nullable=False),
        sa.Column("end_at", Big, nullable=False),
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("start_at", name="pk_day_marks"),
    )
