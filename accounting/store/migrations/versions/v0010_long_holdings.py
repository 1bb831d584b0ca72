"""Holdings that go over a midnight, or still go on, are found without going through all others."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    long = sa.text("end_at IS NULL OR start_at / 86400 <> (end_at - 1) / 86400")
    columns = ["end_at", "start_at"]
    op.create_index("ix_holdings_long", "holdings", columns, sqlite_where=long, postgresql_where=long)
