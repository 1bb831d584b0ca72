"""Rulings on disputes among more than two jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rulings", sa.Column("more_ids", sa.Text(), server_default="", nullable=False))
