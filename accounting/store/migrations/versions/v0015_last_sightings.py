"""When a run was no longer shown; claims that end when somebody last saw them are found without going through all."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("runs_seen", sa.Column("gone_at", big, nullable=True))
    last = sa.text("(current AND end_basis IN ('vanished', 'lost', 'runaway'))")
    op.create_index("ix_claims_last_seen", "claims", ["end_at"], sqlite_where=last, postgresql_where=last)
