"""Claims of pods are found by the pod's name, which a Slurm run's AdminComment may say."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pods = sa.text("replace(native_id, '/', '') != native_id")
    op.create_index("ix_claims_native_id", "claims", ["native_id"], sqlite_where=pods, postgresql_where=pods)
