"""Which runs of Slurm the live side showed, from when to when, and whether a history has told their end.

History alone cannot say that a run is over whose end was lost: what slurmctld shows, read in full, confronts it. A run
has one row, with the first and the last reading that showed it, and the next one, which did not; the last two are empty
while it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, func, select, update

from accounting.intake.coverage import WHOLE, begin_live, extend_live, last_whole
from accounting.intake.identities import job_ids
from accounting.model import DAY
from accounting.store.database import chunks, insert_many, next_id
from accounting.store.tables import UNRECORDED
from accounting.store.tables import jobs as jobs_table
from accounting.store.tables import runs_seen as table
from exporters.model import Claim, JobKey, Scheduler
from exporters.recorder import SourceReading

REMEMBERED = 62 * DAY
"""Seconds for which a run that nobody recorded is asked for."""

Stretch = tuple[int, int, int]
"""A stretch of coverage: id, start, end."""

Open = Mapping[JobKey, tuple[int, str]]
"""Runs that are shown: row id, and what they hold, as text."""


def recall(connection: Connection, source: str, cluster: str) -> dict[JobKey, tuple[int, str]]:
    """The runs that an earlier recorder saw last."""
    c, j = table.c, jobs_table.c
    query = (
        select(j.scheduler, j.cluster, j.run, c.id, c.held)
        .join(jobs_table, j.id == c.job_id)
        .where(c.source == source, c.cluster == cluster, c.last_at.is_(None))
    )
    return {JobKey(Scheduler(s), cl, run): (n, held) for s, cl, run, n, held in connection.execute(query)}


def take(
    connection: Connection,
    reading: SourceReading,
    shown: Mapping[JobKey, tuple[Sequence[Claim], str]],
    before: Open,
    whole: Stretch | None,
    times: tuple[int, int],
    gap: float,
) -> tuple[Open, Stretch | None]:
    """Write what a reading shows beyond what was shown ``before``; returns what is shown now, and the stretch of
    readings that showed all there was (``whole``).

    ``shown`` are claims, and their text, by run; ``times`` are the last reading before this one, and this one. What a
    reading that is not whole does not show may be there nevertheless, and stays.
    """
    last, at = times
    complete = reading.complete and not reading.rejects
    there = {j.key for j in reading.jobs if j.start is not None}
    after: dict[JobKey, tuple[int, str]] = {}
    gone, changed = [], []
    for job, (number, held) in before.items():
        if job in shown:
            after[job] = (number, shown[job][1])
            if shown[job][1] != held:
                changed.append({"b_id": number, "b_held": shown[job][1]})
        elif complete and job not in there:
            gone.append(number)
        else:
            after[job] = (number, held)
    if changed:
        change = update(table).where(table.c.id == bindparam("b_id")).values(held=bindparam("b_held"))
        connection.execute(change, changed)
    for part in chunks(gone):
        connection.execute(update(table).where(table.c.id.in_(part)).values(last_at=last, gone_at=at))
    _begin(connection, reading, {job: told for job, told in shown.items() if job not in before}, at, after)
    return after, _whole(connection, reading, whole, at, gap) if complete else whole


def _begin(
    connection: Connection,
    reading: SourceReading,
    new: Mapping[JobKey, tuple[Sequence[Claim], str]],
    at: int,
    after: dict[JobKey, tuple[int, str]],
) -> None:
    """Write a row of each run that is shown for the first time."""
    if not new:
        return
    ids, rows = job_ids(connection, new.keys()), []
    for number, (job, (claims, held)) in enumerate(sorted(new.items()), start=next_id(connection, table)):
        start = min(c.start for c in claims)
        rows.append((number, ids[job], reading.source, reading.cluster, start, at, None, None, held, False))
        after[job] = (number, held)
    insert_many(connection, table, [c.name for c in table.columns], rows)


def _whole(connection: Connection, reading: SourceReading, whole: Stretch | None, at: int, gap: float) -> Stretch:
    if whole is not None and at - whole[2] <= gap:
        extend_live(connection, whole[0], at)
        return whole[0], whole[1], at
    number = begin_live(connection, reading.source, Scheduler.SLURM.value, reading.cluster, WHOLE, at)
    return number, at, at


@dataclass(frozen=True, slots=True)
class Sighting:
    """One run as the live side showed it; ``last`` None while it is shown, ``held`` as in ``splits``."""

    row: int
    job_id: int
    native_id: str
    start: int
    first: int
    last: int | None
    source: str
    held: str


@dataclass(frozen=True, slots=True)
class Present:
    """What slurmctld showed last: ``at`` is its last reading that was whole, None where nobody reads it.

    ``runs`` are those whose end no history has told, by the run's id.
    """

    at: int | None = None
    runs: Mapping[str, Sighting] = field(default_factory=dict)


def look(connection: Connection, cluster: str, now: int) -> Present:
    """What the live side shows of a Slurm cluster, as far as it matters to its history; for `REMEMBERED`."""
    c, j = table.c, jobs_table.c
    query = (
        select(j.run, c.id, c.job_id, j.native_id, c.start_at, c.first_at, c.last_at, c.source, c.held)
        .join(jobs_table, j.id == c.job_id)
        .where(UNRECORDED, c.cluster == cluster, func.coalesce(c.last_at, now) >= now - REMEMBERED)
        .order_by(c.id)
    )
    runs = {run: Sighting(*rest) for run, *rest in connection.execute(query)}
    return Present(last_whole(connection, cluster), runs)


def mark_recorded(connection: Connection, rows: Sequence[int]) -> None:
    """The history has told the end of these."""
    for part in chunks(rows):
        connection.execute(update(table).where(table.c.id.in_(part)).values(recorded=True))
