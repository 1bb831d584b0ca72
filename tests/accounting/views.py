"""What a ledger currently says, as plain values that do not depend on the order in which it was told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, select

from accounting.store.database import read
from accounting.store.rows import CLAIM_COLUMNS, JOB_COLUMNS
from accounting.store.tables import capacity, claims, coverage, holdings, jobs, node_events, nodes, records, rejects


def rows(engine: Engine, query: Any) -> list[tuple[Any, ...]]:
    with read(engine) as connection:
        found = [tuple(r) for r in connection.execute(query)]
    return sorted(found, key=repr)


def current_claims(engine: Engine) -> list[tuple[Any, ...]]:
    """Node, then the claim's own columns."""
    columns = [claims.c[c] for c in CLAIM_COLUMNS]
    query = (
        select(jobs.c.run, nodes.c.name, *columns)
        .join(jobs, jobs.c.id == claims.c.job_id)
        .join(nodes, nodes.c.id == claims.c.node_id)
    )
    return rows(engine, query.where(claims.c.current))


def spans(engine: Engine) -> list[tuple[Any, ...]]:
    """(run, node, milligpu, start, end) of every current claim."""
    return [(r[0], r[1], r[3], r[4], r[5]) for r in current_claims(engine)]


def all_jobs(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(engine, select(jobs.c.origin, *(jobs.c[c] for c in JOB_COLUMNS)))


def outcomes(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(engine, select(records.c.subject, records.c.outcome, records.c.reason).where(records.c.current))


def events(engine: Engine) -> list[tuple[Any, ...]]:
    c = node_events.c
    query = select(nodes.c.name, c.start_at, c.end_at, c.up, c.milligpu, c.reason).join(nodes, nodes.c.id == c.node_id)
    return rows(engine, query.where(c.current))


def asides(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(engine, select(rejects.c.kind, rejects.c.record, rejects.c.reason))


def covered(engine: Engine, kind: str) -> list[tuple[Any, ...]]:
    c = coverage.c
    return rows(engine, select(c.source, c.cluster, c.start_at, c.end_at).where(c.kind == kind))


def capacities(engine: Engine) -> list[tuple[Any, ...]]:
    """(node, model, milligpu, up, start, end, basis)."""
    c = capacity.c
    query = select(nodes.c.name, c.model, c.milligpu, c.up, c.start_at, c.end_at, c.end_basis)
    return rows(engine, query.join(nodes, nodes.c.id == c.node_id))


def cards(engine: Engine) -> list[tuple[Any, ...]]:
    """(machine, card, run, milligpu, start, end)."""
    c = holdings.c
    query = select(c.machine, c.card, jobs.c.run, c.milligpu, c.start_at, c.end_at)
    return rows(engine, query.join(jobs, jobs.c.id == c.job_id))


def everything(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """The current view of all evidence."""
    return {
        "claims": current_claims(engine),
        "jobs": all_jobs(engine),
        "outcomes": outcomes(engine),
        "events": events(engine),
        "rejects": asides(engine),
        "history": covered(engine, "history"),
        "live": covered(engine, "live"),
        "capacity": capacities(engine),
        "holdings": cards(engine),
    }
