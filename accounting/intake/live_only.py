"""Runs that slurmctld showed with cards and of which no record tells any, charged on that evidence alone.

A site may choose so (``ledger.live_only: charge``); else their time is ``unknown``. What is kept is a version of the
run like any other (`accounting.intake.records`), the least final there is: whatever a history tells of the run replaces
it, in one step, whenever it comes. Every claim of it says what it rests on (`LIVE_ONLY`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, and_, case, select

from accounting.intake.runs_seen import Sighting
from accounting.intake.versions import Version, hash_of
from accounting.store.database import chunks, storable
from accounting.store.rows import JOB_COLUMNS, WAITS, compact, job_of
from accounting.store.tables import jobs as jobs_table
from accounting.store.tables import records as records_table
from exporters.model import Claim, Job, JobKey, NodeKey, Scheduler

LIVE_ONLY = "live only"
"""What such claims rest on, and why such a record is kept."""

WITHDRAWN = "live only, not charged"
"""Why a record of such a run holds nothing any more: the site has chosen otherwise since."""


SEEN_ONLY = and_(records_table.c.finality == WAITS, records_table.c.reason.in_([LIVE_ONLY, WITHDRAWN]))
"""Records that no history told."""


def claims_seen(key: JobKey, seen: Sighting, start: int, end: int | None) -> tuple[Claim, ...]:
    """What slurmctld showed in a run's hands, over ``[start, end)``."""
    return tuple(
        Claim(
            key,
            key.id,
            NodeKey(Scheduler.SLURM, key.cluster, node),
            milligpu,
            start,
            end,
            model,
            profile,
            tuple(indices),
            tuple(uuids),
            end_basis=LIVE_ONLY,
            native_id=seen.native_id,
        )
        for node, model, profile, milligpu, indices, uuids in json.loads(seen.held)
    )


def versions_seen(
    connection: Connection, cluster: str, seen: Mapping[str, Sighting], *, charge: bool
) -> Iterator[Version]:
    """Versions of runs that no history tells; where they are not charged, of those that were until now."""
    numbers = sorted(s.job_id for s in seen.values())
    told = _told(connection, numbers)
    wanted = [s for s in seen.values() if (told.get(s.job_id) != "" if charge else told.get(s.job_id) == LIVE_ONLY)]
    jobs = _jobs(connection, [s.job_id for s in wanted])
    for s in wanted:
        yield _version(cluster, s, jobs[s.job_id], charge=charge)


def _version(cluster: str, seen: Sighting, job: Job, *, charge: bool) -> Version:
    end = None if seen.last is None else max(seen.start, seen.last)
    claims = claims_seen(job.key, seen, seen.start, end) if charge else ()
    reason = LIVE_ONLY if charge else WITHDRAWN
    raw = compact({"run": str(job.key), "held": json.loads(seen.held), "start": seen.start, "end": end, "why": reason})
    source, cluster = storable(seen.source), storable(cluster)
    return Version(
        storable(str(job.key)),
        source,
        cluster,
        raw.encode(),
        hash_of(source, cluster, raw.encode()),
        job.key,
        job,
        claims,
        "pending" if charge else "excluded",
        reason,
        WAITS,
    )


def _told(connection: Connection, numbers: Sequence[int]) -> dict[int, str]:
    """Of jobs that have a record: why it is kept where no history told it, else nothing."""
    r = records_table.c
    found: dict[int, str] = {}
    for part in chunks(numbers):
        query = select(r.job_id, case((SEEN_ONLY, r.reason), else_="")).where(r.current, r.job_id.in_(part))
        found.update((number, reason) for number, reason in connection.execute(query))
    return found


def _jobs(connection: Connection, numbers: Sequence[int]) -> dict[int, Job]:
    c = jobs_table.c
    found: dict[int, Job] = {}
    for part in chunks(numbers):
        query = select(c.id, *(c[name] for name in JOB_COLUMNS)).where(c.id.in_(part))
        found.update((number, job_of(values)) for number, *values in connection.execute(query))
    return found
