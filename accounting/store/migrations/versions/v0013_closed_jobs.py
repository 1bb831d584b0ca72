"""What prices depend on of jobs is kept with a closed month: a scheduler may tell it otherwise afterwards."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "closed_jobs",
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("job_id", Big, nullable=False, autoincrement=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("period", "job_id", name="pk_closed_jobs"),
    )
