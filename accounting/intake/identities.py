"""Jobs and nodes by identity: the ids that the other tables refer to, and what is known of each job."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cache
from itertools import count
from typing import Any

from sqlalchemy import Connection, Select, Table, bindparam, select, update

from accounting.store.database import insert_many, listed, next_id, of_each
from accounting.store.day_changes import touch_jobs
from accounting.store.rows import JOB_COLUMNS, Identity, bare_job, identity_of, job_digest, job_values
from accounting.store.tables import jobs as jobs_table
from accounting.store.tables import nodes as nodes_table
from exporters.model import Job, JobKey, NodeKey

NAMED, LIVE, HISTORY = 0, 1, 2
"""Where a job's description came from; a higher one is believed over a lower one."""

_DESCRIPTIONS = ("id", "origin", "seen_at", *JOB_COLUMNS)
_WRITTEN = (*_DESCRIPTIONS, "digest")


def put_jobs(connection: Connection, jobs: Iterable[Job], origin: int, seen_at: int) -> None:
    """Write what is known of jobs. A lower ``origin`` changes nothing, nor does an older sighting of the live side."""
    put_job_rows(connection, [job_values(j) for j in jobs], origin, seen_at)


def put_job_rows(
    connection: Connection, rows: Iterable[tuple[Any, ...]], origin: int, seen_at: int
) -> dict[Identity, int]:
    """Jobs by their rows (`accounting.store.rows.job_values`), written as `put_jobs` does; returns their ids."""
    wanted: dict[Identity, tuple[Any, ...]] = {values[:3]: values for values in rows}
    found = {r[3:6]: r for r in _find(connection, jobs_table, "run", wanted, _DESCRIPTIONS)}
    ids = {identity: r[0] for identity, r in found.items()}
    new: list[tuple[Any, ...]] = []
    changed: list[dict[str, Any]] = []
    free = next_id(connection, jobs_table) if len(found) < len(wanted) else 0
    for identity, values in wanted.items():
        row = found.get(identity)
        if row is None:
            ids[identity] = free
            new.append((free, origin, seen_at, *values, job_digest(values)))
            free += 1
            continue
        news = row[3:] != values or row[1] != origin
        # which record of a history is the current one is decided by who keeps it, not by when it was seen
        if news and (origin == HISTORY or (origin, seen_at) >= (row[1], row[2] if origin == row[1] else 0)):
            told = dict(zip(_WRITTEN, (row[0], origin, seen_at, *values, job_digest(values)), strict=True))
            changed.append({"b_id": told.pop("id"), **told})
    insert_many(connection, jobs_table, _WRITTEN, new)
    if changed:
        connection.execute(_DESCRIBE, changed)
        touch_jobs(connection, [row["b_id"] for row in changed])
    return ids


_DESCRIBE = (
    update(jobs_table)
    .where(jobs_table.c.id == bindparam("b_id"))
    .values({name: bindparam(name) for name in _WRITTEN if name != "id"})
)


def job_ids(connection: Connection, keys: Collection[JobKey]) -> dict[JobKey, int]:
    """Ids of jobs; one that nobody described yet gets a row that only names it."""
    identities = {k: identity_of(k) for k in keys}
    found = _find_ids(connection, jobs_table, "run", identities.values())
    missing = sorted(k for k, identity in identities.items() if identity not in found)
    if missing:
        found |= put_job_rows(connection, [job_values(bare_job(k)) for k in missing], NAMED, 0)
    return {k: found[identity] for k, identity in identities.items()}


def node_ids(connection: Connection, keys: Collection[NodeKey]) -> dict[NodeKey, int]:
    """Ids of nodes, written when they are new."""
    identities = {k: identity_of(k) for k in keys}
    found = place_ids(connection, [identities[k] for k in sorted(keys)])
    return {k: found[identity] for k, identity in identities.items()}


def place_ids(connection: Connection, places: Collection[Identity]) -> dict[Identity, int]:
    """`node_ids` of nodes by their identities; new ones are numbered in the order given."""
    found = _find_ids(connection, nodes_table, "name", places)
    missing = [identity for identity in dict.fromkeys(places) if identity not in found]
    if missing:
        new = dict(zip(missing, count(next_id(connection, nodes_table)), strict=False))
        rows = [(number, *identity) for identity, number in new.items()]
        insert_many(connection, nodes_table, ("id", "scheduler", "cluster", "name"), rows)
        found |= new
    return found


def _find_ids(connection: Connection, table: Table, name: str, wanted: Iterable[Identity]) -> dict[Identity, int]:
    rows = _find(connection, table, name, wanted, ("id", "scheduler", "cluster", name))
    return {(scheduler, cluster, third): number for number, scheduler, cluster, third in rows}


def _find(
    connection: Connection, table: Table, name: str, wanted: Iterable[Identity], columns: tuple[str, ...]
) -> Iterator[Any]:
    """``columns`` of the rows of these identities; ``name`` is the identity's third column."""
    groups: dict[tuple[str, str], set[str]] = {}
    for scheduler, cluster, third in wanted:
        groups.setdefault((scheduler, cluster), set()).add(third)
    query = _query(table, name, columns, connection.dialect.name)
    for (scheduler, cluster), names in groups.items():
        told = {"scheduler": scheduler, "cluster": cluster, "values": listed(sorted(names))}
        yield from connection.execute(query, told).all()


@cache
def _query(table: Table, name: str, columns: tuple[str, ...], dialect: str) -> Select[Any]:
    t = table.c
    query = select(*(t[c] for c in columns)).where(
        t.scheduler == bindparam("scheduler"), t.cluster == bindparam("cluster")
    )
    return of_each(query, t[name], dialect)
