"""What could not be used, set aside with its reason, so that nothing is lost and an operator sees it.

Kinds: ``unreadable`` (a record that makes no sense), ``changed`` (a record that ended and was later told differently),
``unplaced`` (a claim on a machine of which no capacity is known; resolved once it is), ``runaway`` (a run that history
tells as running and slurmctld does not have), ``lost`` (an open run that nobody tells any more), ``uncounted`` (cards
that slurmctld shows in the hands of jobs for which accounting records none).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, bindparam, select, update

from accounting.store.database import chunks, insert_missing, next_id, raw_bytes, read, storable
from accounting.store.rows import claim_text
from accounting.store.tables import rejects as table
from exporters.model import Claim, Reject

UNREADABLE, CHANGED, UNPLACED = "unreadable", "changed", "unplaced"
RUNAWAY, LOST, UNCOUNTED = "runaway", "lost", "uncounted"

DOUBTS = (RUNAWAY, LOST, UNCOUNTED)
"""Where two sources contradict each other: what is named by `accounting.intake.open_runs`."""


@dataclass(frozen=True, slots=True)
class Aside:
    """One thing set aside. ``identity`` makes it the same when it is set aside again (empty: record and reason do).

    ``about`` groups what can be resolved together (`resolve`).
    """

    kind: str
    source: str
    cluster: str
    record: bytes
    reason: str
    identity: bytes = b""
    about: str = ""

    @property
    def hash(self) -> bytes:
        """SHA-256 over what makes it this one."""
        parts = [self.kind.encode(), self.source.encode(), self.cluster.encode()]
        parts += [self.identity] if self.identity else [self.record, self.reason.encode()]
        return hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).digest()


@dataclass(frozen=True, slots=True)
class AsideSeen:
    """A row of ``rejects`` as an operator reads it. ``resolved_at`` is None while it still stands."""

    kind: str
    source: str
    cluster: str
    record: bytes
    reason: str
    seen_at: int
    resolved_at: int | None


def aside_of(reject: Reject, cluster: str) -> Aside:
    """A source's own reject."""
    return Aside(
        UNREADABLE, storable(reject.source), storable(cluster), raw_bytes(reject.record), storable(reject.reason)
    )


def set_aside(connection: Connection, asides: Sequence[Aside], seen_at: int) -> None:
    """Keep rejects in the caller's transaction. The same again is no news; only its reason may be told better."""
    if not asides:
        return
    rows = {a.hash: a for a in asides}
    known: set[bytes] = set()
    for part in chunks(rows):
        known |= {bytes(h) for h in connection.scalars(select(table.c.hash).where(table.c.hash.in_(part)))}
    free = next_id(connection, table)
    insert_missing(
        connection,
        table,
        [
            {
                "id": n,
                "hash": h,
                "kind": a.kind,
                "source": a.source,
                "cluster": a.cluster,
                "record": a.record,
                "reason": a.reason,
                "about": a.about,
                "seen_at": seen_at,
            }
            for n, (h, a) in enumerate(((h, a) for h, a in rows.items() if h not in known), start=free)
        ],
        ["hash"],
    )
    told_better = [{"b_hash": h, "reason": rows[h].reason} for h in known if rows[h].identity]
    if told_better:
        news = (table.c.reason != bindparam("reason")) | table.c.resolved_at.is_not(None)
        statement = update(table).where(table.c.hash == bindparam("b_hash"), news)
        connection.execute(statement.values(reason=bindparam("reason"), resolved_at=None), told_better)


def resolve(connection: Connection, about: Collection[str], standing: Collection[Aside], at: int) -> None:
    """Mark what was set aside about these, other than ``standing``, as mended."""
    keep = {a.hash for a in standing}
    for part in chunks(sorted(about)):
        query = select(table.c.id, table.c.hash).where(table.c.about.in_(part), table.c.resolved_at.is_(None))
        done = [number for number, digest in connection.execute(query) if bytes(digest) not in keep]
        for numbers in chunks(done):
            connection.execute(update(table).where(table.c.id.in_(numbers)).values(resolved_at=at))


def standing_about(connection: Connection, cluster: str, kinds: Sequence[str]) -> list[str]:
    """What of these kinds stands about a cluster, as `resolve` takes it."""
    c = table.c
    query = select(c.about).where(c.kind.in_(kinds), c.cluster == storable(cluster), c.resolved_at.is_(None))
    return list(connection.scalars(query))


def rejects(engine: Engine, *, resolved: bool = False, limit: int | None = None) -> list[AsideSeen]:
    """What was set aside, oldest first; with ``resolved`` also what was mended since."""
    c = table.c
    query = select(c.kind, c.source, c.cluster, c.record, c.reason, c.seen_at, c.resolved_at).order_by(c.seen_at, c.id)
    if not resolved:
        query = query.where(c.resolved_at.is_(None))
    with read(engine) as connection:
        rows = connection.execute(query.limit(limit)).all()
    return [AsideSeen(k, s, cl, bytes(r), why, seen, done) for k, s, cl, r, why, seen, done in rows]


def set_unplaced_aside(
    connection: Connection, changed: Iterable[tuple[str, int, Sequence[tuple[Claim, str]]]], now: int
) -> None:
    """Set aside the claims of booked node-days (machine, start, claims with reasons) that found no cards.

    What was set aside of these node-days before and has found its cards now is resolved.
    """
    asides = []
    places = []
    for machine, start, unplaced in changed:
        places.append(about := f"node-day {machine} {start}")
        for claim, reason in unplaced:
            record = claim_text(claim).encode()
            what = f"{about}: {claim.job} {storable(claim.unit)}: {storable(reason)}"
            identity = about.encode() + record
            asides.append(Aside(UNPLACED, "reconcile", claim.job.cluster, record, what, identity, about))
    resolve(connection, places, asides, now)
    set_aside(connection, asides, now)
