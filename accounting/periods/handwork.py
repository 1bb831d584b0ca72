"""Proofs about what only decorates a line, and about what is not there any more.

Nothing is reconciled from what people call a job, or from what was measured on its cards, and no seal covers either:
so what was written is digested as it is written, and here again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from accounting.intake.day_evidence import covered, less, measured, noted
from accounting.periods.draws import Draw
from accounting.periods.proofs import Breach, day_named, drawn_rows, node_day_named
from accounting.store.pages import every
from accounting.store.rows import JOB_COLUMNS, job_digest, telemetry_digest
from accounting.store.tables import (
    claims,
    day_evidence,
    decisions,
    jobs,
    node_days,
    postings,
    records,
    rulings,
    telemetry,
    telemetry_days,
    transactions,
)

_J, _M, _S = jobs.c, telemetry.c, telemetry_days.c
_KEPT = "evidence is only ever added"


def altered_jobs(connection: Connection, draw: Draw) -> Iterator[Breach]:
    """Jobs of which something (`accounting.store.rows.JOB_COLUMNS`) is not what was told."""
    query = select(_J.id, _J.digest, *(_J[name] for name in JOB_COLUMNS))
    for number, kept, *values in drawn_rows(connection, query, _J.id, draw):
        if kept is None or job_digest(tuple(values)) != bytes(kept):
            where = f"job {number} ({'/'.join(values[:3])})"
            what = "its name, user, account, partition, QOS, state, labels or times were changed since"
            yield Breach("a job is what was told of it", where, what)


def altered_telemetry(connection: Connection, draw: Draw) -> Iterator[Breach]:
    """Node-days of which another telemetry is kept than was measured: changed, taken out or put in."""
    days = {day for column in (_M.start_at, _S.start_at) for day in connection.scalars(select(column).distinct())}
    for day in draw.of(sorted(days)):
        found: dict[str, int] = {}
        for row in every(connection, select(telemetry).where(_M.start_at == day)):
            found[row[2]] = found.get(row[2], 0) ^ telemetry_digest(tuple(row))
        kept = {
            machine: int.from_bytes(digest)
            for machine, digest in every(connection, select(_S.machine, _S.digest).where(_S.start_at == day))
        }
        for machine in sorted(found.keys() | kept.keys()):
            if found.get(machine, 0) != kept.get(machine, 0):
                what = "its rows were changed, taken out or put in since they were measured"
                yield Breach("telemetry is what was measured", node_day_named(machine, day), what)


def evidence_stays(connection: Connection, draw: Draw) -> Iterator[Breach]:
    """Booked days of which less coverage or telemetry is there than they were booked from."""
    kept = {row.start_at: row for row in connection.execute(select(day_evidence))}
    booked = set(connection.scalars(select(node_days.c.start_at).distinct()))
    for day in draw.of(sorted(kept.keys() | booked)):
        noted_of = kept.get(day)
        if noted_of is None:
            yield Breach(_KEPT, day_named(day), "it is booked, and what it was booked from is noted nowhere")
            continue
        for source, cluster, kind, a, b in less(noted(noted_of.covered), covered(connection, day, noted_of.end_at)):
            span = " to ".join(f"{datetime.fromtimestamp(at, UTC):%H:%M:%SZ}" for at in (a, b))
            what = f"{source} {cluster} had been read from {span} ({kind}), and coverage does not say so any more"
            yield Breach(_KEPT, day_named(day), " ".join(what.split()))
        if (samples := measured(connection, day)) < noted_of.samples:
            yield Breach(_KEPT, day_named(day), f"telemetry had {noted_of.samples} samples of it, and has {samples}")


def nothing_lost(connection: Connection) -> Iterator[Breach]:
    """Numbers that are missing: they are given one after the other, and what has one is never deleted."""
    for table in (records, claims, jobs, transactions, postings, rulings, decisions):
        count, last = connection.execute(select(func.count(), func.coalesce(func.max(table.c.id), 0))).one()
        if count != last:
            yield Breach(_KEPT, table.name, f"{last} were written and {count} are there")
