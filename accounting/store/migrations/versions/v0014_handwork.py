"""What is told of a job, and what was measured on a node-day, is digested, to see what somebody changed by hand.

What is there is taken over as it stands.
"""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JOBS = sa.table(
    "jobs",
    *(sa.column(name) for name in ("id", "digest")),
    *(
        sa.column(name)
        for name in (
            "scheduler", "cluster", "run", "native_id", "display_id", "name", "user_name", "account", "partition",
            "qos", "kind", "state", "submit_at", "start_at", "end_at", "labels",
        )
    ),
)  # fmt: skip
_TELEMETRY = sa.table(
    "telemetry",
    *(
        sa.column(name)
        for name in (
            "job_id", "unit", "machine", "start_at", "gpu_seconds", "active_seconds", "tensor_seconds",
            "energy_joules", "nvlink_transmit_bytes", "nvlink_receive_bytes", "samples_seen", "samples_expected",
        )
    ),
)  # fmt: skip
_PAGE = 5000


def upgrade() -> None:
    op.add_column("jobs", sa.Column("digest", sa.LargeBinary))
    days = op.create_table(
        "telemetry_days",
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("start_at", Big, nullable=False, autoincrement=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("machine", "start_at", name="pk_telemetry_days"),
    )
    op.create_index("ix_telemetry_days_start_at", "telemetry_days", ["start_at"])
    connection = op.get_bind()
    number, _, *told = _JOBS.columns
    last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(number), 0))).scalar_one()
    change = sa.update(_JOBS).where(number == sa.bindparam("b_id")).values(digest=sa.bindparam("b_digest"))
    for first in range(1, last + 1, _PAGE):
        rows = connection.execute(sa.select(number, *told).where(number.between(first, first + _PAGE - 1))).all()
        if rows:
            connection.execute(change, [{"b_id": row[0], "b_digest": _digest(tuple(row[1:]))} for row in rows])
    sums: dict[tuple[str, int], int] = {}
    for row in connection.execute(sa.select(_TELEMETRY)):
        place = (row.machine, row.start_at)
        sums[place] = sums.get(place, 0) ^ int.from_bytes(_digest(tuple(row)))
    if sums:
        kept = [{"machine": m, "start_at": day, "digest": found.to_bytes(16)} for (m, day), found in sums.items()]
        connection.execute(days.insert(), kept)


def _digest(row: tuple[object, ...]) -> bytes:
    return hashlib.blake2b(ascii(row).encode(), digest_size=16).digest()
