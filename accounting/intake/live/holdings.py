"""Which card was in whose hands, in intervals: sightings in successive rounds, joined.

As with `accounting.intake.live.sightings`, an interval that goes on has no end and lasts to the end of the rounds'
coverage.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from accounting.intake.coverage import live_ends
from accounting.intake.identities import job_ids
from accounting.model import DAY, HoldingStretch
from accounting.store.database import chunks, insert_many, next_id, storable
from accounting.store.day_changes import touch
from accounting.store.tables import LONG_HOLDINGS
from accounting.store.tables import holdings as table
from accounting.store.tables import jobs as jobs_table
from exporters.model import JobKey, Scheduler
from exporters.recorder import Holding

Card = tuple[str, int, str, JobKey, str]
"""Machine, GPU index, UUID, job, unit."""

Held = Mapping[Card, tuple[int, int]]
"""Open intervals: row id and milliGPU by card and holder."""


def recall(connection: Connection, recorder: str) -> dict[Card, tuple[int, int]]:
    """The open intervals that an earlier recorder of this name left."""
    c, j = table.c, jobs_table.c
    query = (
        select(c.id, c.machine, c.card, c.uuid, j.scheduler, j.cluster, j.run, c.unit, c.milligpu)
        .join(jobs_table, j.id == c.job_id)
        .where(c.recorder == recorder, c.end_at.is_(None))
    )
    return {
        (machine, card, uuid, JobKey(Scheduler(scheduler), cluster, run), unit): (number, milligpu)
        for number, machine, card, uuid, scheduler, cluster, run, unit, milligpu in connection.execute(query)
    }


def take(connection: Connection, recorder: str, holdings: Iterable[Holding], held: Held, at: int) -> dict[Card, Any]:
    """Open intervals for what is new at ``at``, close what is over, leave the rest alone; returns what is held now."""
    now: dict[Card, int] = {}
    for h in holdings:
        card = (h.machine, h.index, h.uuid, h.job, h.unit)
        now[card] = now.get(card, 0) + h.milligpu
    after = {card: row for card, row in held.items() if now.get(card) == row[1]}
    close(connection, [row[0] for card, row in held.items() if card not in after], at)
    new = sorted(card for card in now if card not in after)
    ids = job_ids(connection, {card[3] for card in new})
    rows = []
    for number, card in enumerate(new, start=next_id(connection, table) if new else 0):
        machine, index, uuid, job, unit = card
        rows.append(
            (number, recorder, storable(machine), index, storable(uuid), ids[job], storable(unit), now[card], at, None)
        )
        after[card] = (number, now[card])
    insert_many(connection, table, [c.name for c in table.columns], rows)
    touch(connection, [(at, None)] * len(rows))
    return after


def close(connection: Connection, numbers: list[int], at: int) -> None:
    """End intervals at ``at``."""
    if numbers:
        statement = update(table).where(table.c.id == bindparam("b_id"))
        connection.execute(statement.values(end_at=at), [{"b_id": n} for n in numbers])
        for part in chunks(numbers):
            begun = connection.scalars(select(table.c.start_at).where(table.c.id.in_(part)))
            touch(connection, [(start, max(start, at)) for start in begun])


def between(connection: Connection, a: int, b: int, job_id: int | None = None) -> Mapping[str, list[HoldingStretch]]:
    """What was seen of cards within ``[a, b)``, clipped to it, by machine; of one job, if that is asked for.

    What goes on lasts to the last round of its recorder.
    """
    c, j = table.c, jobs_table.c
    columns = (c.machine, c.card, c.uuid, j.scheduler, j.cluster, j.run, c.unit, c.milligpu, c.recorder, c.id)
    query = select(c.start_at, c.end_at, *columns).join(jobs_table, j.id == c.job_id).where(c.start_at < b)
    if job_id is not None:
        query = query.where(c.job_id == job_id)
    midnight = b + -b % DAY
    short = query.where(c.end_at > a, c.end_at <= midnight)
    long = query.where(LONG_HOLDINGS, func.coalesce(c.end_at, midnight + 1) > midnight)
    rows = [tuple(row) for some in (short, long) for row in connection.execute(some)]
    ends = live_ends(connection)
    jobs: dict[tuple[str, str, str], JobKey] = {}
    found: dict[str, list[HoldingStretch]] = defaultdict(list)
    for start, end, machine, card, uuid, scheduler, cluster, run, unit, milligpu, recorder, _ in sorted(
        rows, key=_ORDER
    ):
        last = ends.get((recorder, ""), start) if end is None else end
        if max(start, a) < min(last, b):
            job = jobs.get((scheduler, cluster, run))
            if job is None:
                job = jobs[scheduler, cluster, run] = JobKey(Scheduler(scheduler), cluster, run)
            found[machine].append(HoldingStretch(max(start, a), min(last, b), job, unit, card, uuid, milligpu))
    return found


_ORDER = itemgetter(0, -1)
"""By start, then by id."""
