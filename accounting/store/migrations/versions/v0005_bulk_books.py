"""Postings refer to other tables without foreign keys (docs/adr/0014-references.md); claims are found by their span."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("postings") as batch:
        for column in ("transaction_id", "job_id", "linked_id"):
            batch.drop_constraint(f"fk_postings_{column}", type_="foreignkey")
    op.drop_index("ix_claims_end_at", table_name="claims")
    op.create_index("ix_claims_end_at_start_at", "claims", ["end_at", "start_at"], unique=False)
