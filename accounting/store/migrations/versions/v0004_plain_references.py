"""Records, claims and link keys refer to other tables without foreign keys (docs/adr/0014-references.md)."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FOREIGN_KEYS = (  # who is referred to comes last: SQLite writes each table anew
    ("claim_keys", ("claim_id",)),
    ("claims", ("record_id", "job_id", "node_id")),
    ("records", ("job_id",)),
)


def upgrade() -> None:
    for table, columns in FOREIGN_KEYS:
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_constraint(f"fk_{table}_{column}", type_="foreignkey")
