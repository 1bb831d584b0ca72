"""Decisions about months, append only: each row is chained to the one before, so that none can be taken out or changed.

``periods`` says how a month stands now; this says how it came to stand so. Whoever sets a month back in ``periods``
leaves what was decided here, and `accounting.periods.decided` names it. The days of the month keep the last decision,
too, as does whatever day is booked after it: so the chain's end cannot be cut off unseen.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, select, update

from accounting.store.database import next_id
from accounting.store.rows import compact
from accounting.store.tables import day_evidence, decisions, periods

CLOSE, SEAL = "close", "seal"
"""Kinds of decisions."""


def note(connection: Connection, kind: str, period: str, told: str, now: int) -> None:
    """Append a decision in the caller's transaction. ``told`` is what was decided, as text."""
    c = decisions.c
    before = connection.execute(select(c.chain).order_by(c.id.desc()).limit(1)).scalar_one_or_none()
    row = {"id": next_id(connection, decisions), "made_at": now, "kind": kind, "period": period, "told": told}
    chained = link(bytes(before or b""), now, kind, period, told)
    connection.execute(decisions.insert().values(**row, chain=chained))
    of_month = select(periods.c.start_at).where(periods.c.name == period).scalar_subquery()
    to = select(periods.c.end_at).where(periods.c.name == period).scalar_subquery()
    days = day_evidence.c.start_at.between(of_month, to - 1)
    connection.execute(update(day_evidence).where(days).values(decided=row["id"], head=chained))


def link(before: bytes, made_at: int, kind: str, period: str, told: str) -> bytes:
    """The chain's next hash: SHA-256 over the one before and the decision as one canonical line."""
    return hashlib.sha256(before + compact([made_at, kind, period, told]).encode()).digest()
