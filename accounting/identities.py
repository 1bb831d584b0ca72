"""Jobs and nodes by identity: the ids that the other tables refer to, and what is known of each job."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, bindparam, select, update

from accounting.database import chunks, insert_many, next_id, storable
from accounting.rows import JOB_COLUMNS, bare_job, job_values
from accounting.tables import jobs as jobs_table
from accounting.tables import nodes as nodes_table
from exporters.model import Job, JobKey, NodeKey

NAMED, LIVE, HISTORY = 0, 1, 2
"""Where a job's description came from; a higher one is believed over a lower one."""

K = TypeVar("K", JobKey, NodeKey)


def _identity(key: JobKey | NodeKey) -> tuple[str, str, str]:
    name = key.id if isinstance(key, JobKey) else key.name
    return key.scheduler.value, storable(key.cluster), storable(name)


def _find(connection: Connection, table: Table, names: str, keys: Collection[K]) -> dict[tuple[str, str, str], Any]:
    """Rows by identity; ``names`` is the identity's third column."""
    t = table.c
    query = select(table).where(
        t.scheduler == bindparam("scheduler"),
        t.cluster == bindparam("cluster"),
        t[names].in_(bindparam("names", expanding=True)),
    )
    groups: dict[tuple[str, str], list[str]] = {}
    for scheduler, cluster, name in {_identity(k) for k in keys}:
        groups.setdefault((scheduler, cluster), []).append(name)
    found = {}
    for (scheduler, cluster), wanted in groups.items():
        for part in chunks(sorted(wanted)):
            for row in connection.execute(query, {"scheduler": scheduler, "cluster": cluster, "names": part}):
                found[scheduler, cluster, getattr(row, names)] = row
    return found


def put_jobs(connection: Connection, jobs: Iterable[Job], origin: int, seen_at: int) -> dict[JobKey, int]:
    """Write what is known of jobs and return their ids. A lower ``origin``, or an older sighting, changes nothing."""
    wanted = {j.key: j for j in jobs}
    found = _find(connection, jobs_table, "run", wanted)
    ids: dict[JobKey, int] = {}
    new: list[tuple[Any, ...]] = []
    changed: list[dict[str, Any]] = []
    free = next_id(connection, jobs_table)
    for key, job in wanted.items():
        values = job_values(job)
        row = found.get(values[:3])
        if row is None:
            ids[key] = free
            new.append((free, origin, seen_at, *values))
            free += 1
            continue
        ids[key] = row.id
        news = tuple(getattr(row, c) for c in JOB_COLUMNS) != values or row.origin != origin
        if news and (origin, seen_at) >= (row.origin, row.seen_at if origin == row.origin else 0):
            changed.append(
                {"b_id": row.id, "origin": origin, "seen_at": seen_at, **dict(zip(JOB_COLUMNS, values, strict=True))}
            )
    insert_many(connection, jobs_table, ("id", "origin", "seen_at", *JOB_COLUMNS), new)
    if changed:
        names = ("origin", "seen_at", *JOB_COLUMNS)
        statement = update(jobs_table).where(jobs_table.c.id == bindparam("b_id"))
        connection.execute(statement.values({n: bindparam(n) for n in names}), changed)
    return ids


def job_ids(connection: Connection, keys: Collection[JobKey]) -> dict[JobKey, int]:
    """Ids of jobs; one that nobody described yet gets a row that only names it."""
    return put_jobs(connection, map(bare_job, keys), NAMED, 0)


def node_ids(connection: Connection, keys: Collection[NodeKey]) -> Mapping[NodeKey, int]:
    """Ids of nodes, written when they are new."""
    found = _find(connection, nodes_table, "name", keys)
    ids: dict[NodeKey, int] = {}
    new: list[tuple[Any, ...]] = []
    free = next_id(connection, nodes_table)
    for key in sorted(keys):
        identity = _identity(key)
        row = found.get(identity)
        ids[key] = free if row is None else row.id
        if row is None:
            new.append((free, *identity))
            free += 1
    insert_many(connection, nodes_table, ("id", "scheduler", "cluster", "name"), new)
    return ids
