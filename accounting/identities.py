"""Jobs and nodes by identity: the ids that the other tables refer to, and what is known of each job."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select, update

from accounting.database import chunks, insert_many, next_id, storable
from accounting.rows import JOB_COLUMNS, bare_job, job_values
from accounting.tables import jobs as jobs_table
from accounting.tables import nodes as nodes_table
from exporters.model import Job, JobKey, NodeKey

NAMED, LIVE, HISTORY = 0, 1, 2
"""Where a job's description came from; a higher one is believed over a lower one."""


def _identity(key: JobKey | NodeKey) -> tuple[str, str, str]:
    name = key.id if isinstance(key, JobKey) else key.name
    return key.scheduler.value, storable(key.cluster), storable(name)


Identity = tuple[str, str, str]
"""Scheduler, cluster, and the run of a job or the name of a node."""


def _find(connection: Connection, table: Table, name: str, wanted: Iterable[Identity], columns: Any) -> Iterator[Any]:
    """``columns`` of the rows of these identities; ``name`` is the identity's third column."""
    t = table.c
    query = select(*columns).where(
        t.scheduler == bindparam("scheduler"),
        t.cluster == bindparam("cluster"),
        t[name].in_(bindparam("names", expanding=True)),
    )
    groups: dict[tuple[str, str], list[str]] = {}
    for scheduler, cluster, third in set(wanted):
        groups.setdefault((scheduler, cluster), []).append(third)
    for (scheduler, cluster), names in groups.items():
        for part in chunks(sorted(names)):
            yield from connection.execute(query, {"scheduler": scheduler, "cluster": cluster, "names": part})


def _find_ids(connection: Connection, table: Table, name: str, wanted: Iterable[Identity]) -> dict[Identity, int]:
    t = table.c
    rows = _find(connection, table, name, wanted, (t.id, t.scheduler, t.cluster, t[name]))
    return {(scheduler, cluster, third): number for number, scheduler, cluster, third in rows}


def put_jobs(connection: Connection, jobs: Iterable[Job], origin: int, seen_at: int) -> dict[JobKey, int]:
    """Write what is known of jobs and return their ids. A lower ``origin``, or an older sighting, changes nothing."""
    wanted = {j.key: job_values(j) for j in jobs}
    if not wanted:
        return {}
    t = jobs_table.c
    columns = (t.id, t.origin, t.seen_at, *(t[c] for c in JOB_COLUMNS))
    rows = _find(connection, jobs_table, "run", [v[:3] for v in wanted.values()], columns)
    found = {tuple(r[3:6]): r for r in rows}
    ids: dict[JobKey, int] = {}
    new: list[tuple[Any, ...]] = []
    changed: list[dict[str, Any]] = []
    free = next_id(connection, jobs_table)
    for key, values in wanted.items():
        row = found.get(values[:3])
        if row is None:
            ids[key] = free
            new.append((free, origin, seen_at, *values))
            free += 1
            continue
        ids[key] = row[0]
        news = tuple(row[3:]) != values or row[1] != origin
        if news and (origin, seen_at) >= (row[1], row[2] if origin == row[1] else 0):
            changed.append(
                {"b_id": row[0], "origin": origin, "seen_at": seen_at, **dict(zip(JOB_COLUMNS, values, strict=True))}
            )
    insert_many(connection, jobs_table, ("id", "origin", "seen_at", *JOB_COLUMNS), new)
    if changed:
        names = ("origin", "seen_at", *JOB_COLUMNS)
        statement = update(jobs_table).where(jobs_table.c.id == bindparam("b_id"))
        connection.execute(statement.values({n: bindparam(n) for n in names}), changed)
    return ids


def job_ids(connection: Connection, keys: Collection[JobKey]) -> dict[JobKey, int]:
    """Ids of jobs; one that nobody described yet gets a row that only names it."""
    identities = {k: _identity(k) for k in keys}
    found = _find_ids(connection, jobs_table, "run", identities.values())
    missing = sorted(k for k, identity in identities.items() if identity not in found)
    named = put_jobs(connection, map(bare_job, missing), NAMED, 0)
    return {k: named[k] if k in named else found[identities[k]] for k in keys}


def node_ids(connection: Connection, keys: Collection[NodeKey]) -> Mapping[NodeKey, int]:
    """Ids of nodes, written when they are new."""
    found = _find_ids(connection, nodes_table, "name", map(_identity, keys))
    ids: dict[NodeKey, int] = {}
    new: list[tuple[Any, ...]] = []
    free = next_id(connection, nodes_table) if keys else 0
    for key in sorted(keys):
        identity = _identity(key)
        ids[key] = found.get(identity, free)
        if identity not in found:
            new.append((free, *identity))
            free += 1
    insert_many(connection, nodes_table, ("id", "scheduler", "cluster", "name"), new)
    return ids
