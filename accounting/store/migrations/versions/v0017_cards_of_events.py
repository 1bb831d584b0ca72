"""What events say of their cards' models, and what Slurm's slots share, is kept, too. What is told again says it."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("capacity", sa.Column("slots", sa.Text, nullable=False, server_default=""))
    op.add_column("node_events", sa.Column("cards", sa.Text, nullable=False, server_default=""))
