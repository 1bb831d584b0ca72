"""What was decided about months is kept, chained. Months that were closed before are taken over as they stand."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    decisions = op.create_table(
        "decisions",
        sa.Column("id", Big, nullable=False),
        sa.Column("made_at", Big, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("told", sa.Text, nullable=False, server_default=""),
        sa.Column("chain", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    connection = op.get_bind()
    months = connection.execute(
        sa.text("SELECT name, closed_at, closed_with, seal, sealed_at FROM periods ORDER BY start_at")
    ).all()
    told = [(m.closed_at, "close", m.name, m.closed_with) for m in months if m.closed_at is not None]
    told += [(m.sealed_at or m.closed_at, "seal", m.name, bytes(m.seal).hex()) for m in months if m.seal is not None]
    chain = b""
    for number, row in enumerate(told, start=1):
        line = json.dumps([*row], separators=(",", ":"))
        chain = hashlib.sha256(chain + line.encode()).digest()
        made_at, kind, period, text = row
        connection.execute(
            decisions.insert().values(id=number, made_at=made_at, kind=kind, period=period, told=text, chain=chain)
        )
