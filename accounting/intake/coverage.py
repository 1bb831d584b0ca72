"""Which time each source could be read: the difference between *nobody asked* and *nobody knows*."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, select, update

from accounting.intake.day_evidence import keep_anew_after
from accounting.store.database import next_id, read
from accounting.store.tables import capacity, claims, holdings, records, runs_seen, telemetry, telemetry_days
from accounting.store.tables import coverage as table
from exporters.model import Scheduler
from exporters.sources.kubernetes.past.kube_past import RECOVERED

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
    """The source was read again: the stretch now ends at ``at``, or where it did; what was read stays read."""
    connection.execute(update(table).where(table.c.id == number, table.c.end_at < at).values(end_at=at))


def forget_future(connection: Connection, recorder: str, places: Collection[tuple[str, str]], now: int) -> None:
    """Take back what a recorder kept as of times later than ``now``, when its clock was ahead.

    ``places`` are the sources and clusters that it reads.
    """
    held, shown, c = holdings.c, capacity.c, table.c
    for source, cluster in {*places, (recorder, "")}:
        mine = (c.source == source, c.cluster == cluster, c.kind.in_((LIVE, ROUND, WHOLE)))
        connection.execute(delete(table).where(*mine, c.start_at > now))
        connection.execute(update(table).where(*mine, c.end_at > now).values(end_at=now))
        runs = (runs_seen.c.source == source, runs_seen.c.cluster == cluster)
        for moment in (runs_seen.c.first_at, runs_seen.c.last_at, runs_seen.c.gone_at):
            connection.execute(update(runs_seen).where(*runs, moment > now).values({moment.name: now}))
    sources = sorted({source for source, _ in places})
    connection.execute(delete(capacity).where(shown.source.in_(sources), shown.start_at > now))
    connection.execute(update(capacity).where(shown.source.in_(sources), shown.end_at > now).values(end_at=now))
    connection.execute(delete(holdings).where(held.recorder == recorder, held.start_at > now))
    connection.execute(update(holdings).where(held.recorder == recorder, held.end_at > now).values(end_at=now))
    for measured in (telemetry, telemetry_days):
        connection.execute(delete(measured).where(measured.c.start_at > now))
    keep_anew_after(connection, now)


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


def recovered_time(engine: Engine, start: int, end: int, known_by: int | None = None) -> dict[tuple[str, str], int]:
    """MilliGPU-seconds of ``[start, end)`` that claims hold by recovery, by source and cluster: what was held in
    recovered time by pods whose end the recorder did not see. ``known_by`` leaves out what was recovered later.
    """
    c, r, t = claims.c, records.c, table.c
    query = (
        select(r.source, r.cluster, c.milligpu, c.start_at, c.end_at)
        .join(records, r.id == c.record_id)
        .where(c.current, c.end_basis.startswith(RECOVERED), c.start_at < end, c.end_at > start)
    )
    if known_by is not None:
        query = query.where(r.seen_at <= known_by)
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    found: dict[tuple[str, str], int] = {}
    with read(engine) as connection:
        stretches = select(t.source, t.cluster, t.start_at, t.end_at).where(
            t.kind == HISTORY, t.scheduler == Scheduler.KUBERNETES.value, t.start_at < end, t.end_at > start
        )
        for source, cluster, a, b in connection.execute(stretches):
            spans.setdefault((source, cluster), []).append((max(a, start), min(b, end)))
        if not spans:
            return {}  # as mostly: nobody need read all claims for it
        for source, cluster, milligpu, first, last in connection.execute(query):
            there = spans.get((source, cluster), ())
            seconds = sum(max(0, min(b, last) - max(a, first)) for a, b in there)
            found[source, cluster] = found.get((source, cluster), 0) + milligpu * seconds
    return {place: held for place, held in sorted(found.items()) if held}
