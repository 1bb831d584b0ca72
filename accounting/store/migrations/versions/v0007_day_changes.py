"""Counters of what is written of each day, which marks of days hold instead of sums over claims."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "day_changes",
        sa.Column("day", Big, autoincrement=False, nullable=False),
        sa.Column("changes", Big, nullable=False),
        sa.Column("since", Big, nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_day_changes"),
    )
    op.execute(sa.text("DELETE FROM day_marks"))  # what was written before was not counted
