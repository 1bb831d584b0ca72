"""Which time each source could be read: the difference between *nobody asked* and *nobody knows*."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from accounting.store.database import next_id
from accounting.store.tables import coverage as table
from exporters.model import Scheduler

HISTORY, LIVE, ROUND, WHOLE = "history", "live", "round", "whole"
"""Windows of a history; polls of a live source; rounds of a recorder; polls that showed all there was."""


def cover_window(connection: Connection, source: str, scheduler: Scheduler, cluster: str, start: int, end: int) -> None:
    """Add a window that was read whole. Stretches that touch become one, in whatever order they come."""
    c = table.c
    here = (c.source == source, c.cluster == cluster, c.kind == HISTORY)
    touching = connection.execute(
        select(c.id, c.start_at, c.end_at).where(*here, c.start_at <= end, c.end_at >= start)
    ).all()
    if any(t.start_at <= start and t.end_at >= end for t in touching):
        return
    if touching:
        connection.execute(delete(table).where(c.id.in_([t.id for t in touching])))
    connection.execute(
        table.insert().values(
            id=min((t.id for t in touching), default=0) or next_id(connection, table),
            source=source,
            scheduler=scheduler.value,
            cluster=cluster,
            kind=HISTORY,
            start_at=min([start, *(t.start_at for t in touching)]),
            end_at=max([end, *(t.end_at for t in touching)]),
        )
    )


def last_live(connection: Connection, source: str, cluster: str, kind: str) -> tuple[int, int, int] | None:
    """The last stretch of a live source: its id, start and end; None when it was never read."""
    c = table.c
    row = connection.execute(
        select(c.id, c.start_at, c.end_at)
        .where(c.source == source, c.cluster == cluster, c.kind == kind)
        .order_by(c.end_at.desc(), c.id.desc())
        .limit(1)
    ).first()
    return None if row is None else (row.id, row.start_at, row.end_at)


def last_whole(connection: Connection, cluster: str) -> int | None:
    """When the live side last showed all of a Slurm cluster; None when it never did."""
    c = table.c
    query = select(func.max(c.end_at)).where(c.kind == WHOLE, c.cluster == cluster)
    found = connection.execute(query).scalar()
    return None if found is None else int(found)


def begin_live(connection: Connection, source: str, scheduler: str, cluster: str, kind: str, at: int) -> int:
    """Begin a stretch at ``at``, to be extended by `extend_live`; returns its id."""
    number = next_id(connection, table)
    connection.execute(
        table.insert().values(
            id=number, source=source, scheduler=scheduler, cluster=cluster, kind=kind, start_at=at, end_at=at
        )
    )
    return number


def extend_live(connection: Connection, number: int, at: int) -> None:
    """The source was read again: the stretch now ends at ``at``."""
    connection.execute(update(table).where(table.c.id == number).values(end_at=at))


def covered_until(connection: Connection) -> dict[tuple[Scheduler, str], int]:
    """The last second for which claims of each scheduler's cluster are known (Slurm: its history only)."""
    c = table.c
    rows = connection.execute(
        select(c.scheduler, c.cluster, func.max(c.end_at)).where(counts()).group_by(c.scheduler, c.cluster)
    )
    return {(Scheduler(s), cluster): int(end) for s, cluster, end in rows}


def counts() -> ColumnElement[bool]:
    """The stretches that are evidence about claims: a history's windows, and Kubernetes' live readings.

    What slurmctld shows now is no evidence of what sacct will tell, and claims of Slurm come from sacct alone.
    """
    c = table.c
    return (c.kind == HISTORY) | ((c.kind == LIVE) & (c.scheduler == Scheduler.KUBERNETES.value))


def live_ends(connection: Connection) -> dict[tuple[str, str], int]:
    """Up to when what was seen and did not end since is known to last, by source and cluster (or recorder and "")."""
    c = table.c
    query = select(c.source, c.cluster, func.max(c.end_at)).where(c.kind.in_((LIVE, ROUND)))
    return {(s, cluster): int(end) for s, cluster, end in connection.execute(query.group_by(c.source, c.cluster))}
