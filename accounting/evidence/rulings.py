"""Rulings: what people decided about disputes. Append only; of the rulings on one dispute the last one is in force.

A dispute is known by its machine and its parties, not by a day or by what it comes to: so a ruling is found again when
late records change the node-day, and holds on every day on which the same claims meet on that machine. It is part of
the inputs of those node-days (`accounting.model.NodeDay.rulings`): `accounting.reconcile` applies it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from accounting.intake.identities import job_ids
from accounting.model import Ruling
from accounting.store.database import chunks, insert_many, next_id, storable
from accounting.store.tables import jobs, rulings
from exporters.model import JobKey, Scheduler


@dataclass(frozen=True, slots=True)
class RulingMade:
    """A row of ``rulings``. ``to`` None: what was ruled before on this dispute is revoked."""

    number: int
    dispute: str
    machine: str
    parties: tuple[JobKey, ...]
    to: JobKey | None
    author: str
    why: str
    at: int


def dispute_id(machine: str, parties: Sequence[JobKey]) -> str:
    """Name a dispute: a digest of the machine and the parties, the same whatever else is learnt about it."""
    names = (machine, *(part for key in parties for part in (key.scheduler.value, key.cluster, key.id)))
    text = "".join(f"{len(name)}:{name}," for name in map(storable, names))
    return "D" + hashlib.sha256(text.encode()).hexdigest()[:16]


def rulings_made(connection: Connection) -> list[RulingMade]:
    """Every ruling there is, oldest first."""
    query = select(rulings).order_by(rulings.c.id)
    rows = connection.execute(query).all()
    sides = [_sides(r.job_id, r.other_id, r.more_ids) for r in rows]
    wanted = {n for some in sides for n in some} | {r.ruled_to for r in rows if r.ruled_to is not None}
    keys = _keys(connection, wanted)
    return [
        RulingMade(
            r.id,
            r.dispute,
            r.machine,
            tuple(keys[n] for n in some),
            None if r.ruled_to is None else keys[r.ruled_to],
            r.author,
            r.why,
            r.ruled_at,
        )
        for r, some in zip(rows, sides, strict=True)
    ]


def _sides(job: int, other: int | None, more: str) -> list[int]:
    """The parties' ids of a row."""
    return [job, *([] if other is None else [other]), *(json.loads(more) if more else [])]


def _keys(connection: Connection, numbers: set[int]) -> dict[int, JobKey]:
    j = jobs.c
    found: dict[int, JobKey] = {}
    for part in chunks(sorted(numbers)):
        rows = connection.execute(select(j.id, j.scheduler, j.cluster, j.run).where(j.id.in_(part)))
        found.update((number, JobKey(Scheduler(scheduler), cluster, run)) for number, scheduler, cluster, run in rows)
    return found


def standing(made: Sequence[RulingMade]) -> dict[str, RulingMade]:
    """The last ruling on each dispute, by the dispute's name."""
    return {m.dispute: m for m in made}


def in_force(connection: Connection) -> Mapping[str, Sequence[Ruling]]:
    """The rulings in force, by machine, in a stable order; revoked ones are not."""
    found: dict[str, list[Ruling]] = defaultdict(list)
    for _, m in sorted(standing(rulings_made(connection)).items()):
        if m.to is not None:
            found[m.machine].append(Ruling(m.parties, m.to, m.author, m.why))
    return found


def add_ruling(
    connection: Connection,
    machine: str,
    parties: Sequence[JobKey],
    to: JobKey | None,
    *,
    author: str,
    why: str,
    at: int,
) -> RulingMade:
    """Write a ruling down. The same as what is in force already is no news. Only a writer may call it."""
    name = dispute_id(machine, parties)
    last = standing(rulings_made(connection)).get(name)
    author, why = storable(author), storable(why)
    if last is not None and (last.to, last.author, last.why) == (to, author, why):
        return last
    ids = job_ids(connection, parties)
    number = next_id(connection, rulings)
    first, *others = (ids[key] for key in parties)
    row = {
        "id": number, "dispute": name, "machine": machine, "job_id": first, "other_id": others[0] if others else None,
        "more_ids": json.dumps(others[1:]) if others[1:] else "", "ruled_to": None if to is None else ids[to],
        "author": author, "why": why, "ruled_at": at,
    }  # fmt: skip
    insert_many(connection, rulings, [*row], [tuple(row.values())])
    return RulingMade(number, name, machine, tuple(parties), to, author, why, at)


def ruled(rulings: Sequence[Ruling]) -> tuple[str, str]:
    """Who made the rulings of a node-day, and why, as its transaction tells it."""
    authors = sorted({ruling.author for ruling in rulings})
    return ", ".join(authors), "; ".join(sorted({f"to {ruling.to}: {ruling.why}" for ruling in rulings}))
