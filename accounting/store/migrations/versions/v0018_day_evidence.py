"""Of every booked day it is kept how far the sources had been read, how much was measured and what was decided.

What is there is taken over as it stands.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_DAYS = sa.table("node_days", sa.column("start_at"), sa.column("end_at"))
_COVERAGE = sa.table("coverage", *(sa.column(name) for name in ("source", "cluster", "kind", "start_at", "end_at")))
_TELEMETRY = sa.table("telemetry", sa.column("start_at"), sa.column("samples_expected"))
_DECISIONS = sa.table("decisions", sa.column("id"), sa.column("chain"))


def upgrade() -> None:
    kept = op.create_table(
        "day_evidence",
        sa.Column("start_at", Big, nullable=False, autoincrement=False),
        sa.Column("end_at", Big, nullable=False),
        sa.Column("covered", sa.Text, nullable=False),
        sa.Column("samples", Big, nullable=False),
        sa.Column("decided", Big, nullable=False),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("start_at", name="pk_day_evidence"),
    )
    connection = op.get_bind()
    spans = sorted(tuple(row) for row in connection.execute(sa.select(*_COVERAGE.columns)))
    sums = sa.select(_TELEMETRY.c.start_at, sa.func.sum(_TELEMETRY.c.samples_expected))
    samples = dict(tuple(row) for row in connection.execute(sums.group_by(_TELEMETRY.c.start_at)))
    newest = sa.select(_DECISIONS.c.id, _DECISIONS.c.chain).order_by(_DECISIONS.c.id.desc()).limit(1)
    number, head = connection.execute(newest).first() or (0, b"")
    days = sa.select(_DAYS.c.start_at, sa.func.max(_DAYS.c.end_at)).group_by(_DAYS.c.start_at)
    rows = [
        {
            "start_at": start,
            "end_at": end,
            "covered": json.dumps(
                [[*place, max(a, start), min(b, end)] for *place, a, b in spans if a < end and b > start]
            ),
            "samples": int(samples.get(start, 0)),
            "decided": number,
            "head": bytes(head),
        }
        for start, end in connection.execute(days)
    ]
    if rows:
        connection.execute(kept.insert(), rows)
