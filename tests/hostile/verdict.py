"""What the books of a hostile site may say of the truth: less than it, as ``unknown`` or ``disputed``; never more.

Of every stretch of time in which nothing changed on a machine:

* nobody is charged for more than he had, and nobody who had nothing for anything;
* what somebody had, of whom any source has told, is not idle, nor down, nor reserved;
* a machine has the cards that it has, since any source has shown it; before that, no more.

Five things are exempt, each because no evidence for them exists, so that no rule could do better:

* a job that has ended is believed to run as long as slurmdbd says so and slurmctld was not read in full since: the only
  witness says that it runs (``Truth.believed``). As soon as one of both is read the exemption ends;
* what a job on several nodes had of each is a guess where nobody told it (``Truth.guessed``): its sum over them all is
  held, not the sum on one of them, and a day's guess may differ from another's (docs/adr/0022-guesses-by-day.md);
* a job of which no source has told anything yet (``Truth.known``) may be idle: nobody can know of it. It is not charged
  to anybody either;
* a machine may have less than it has until a source has shown it, and again after a restart of the exporter while its
  device plugin is away and no label tells its cards (``Truth.listed``): nothing tells them. It never has more;
* a part of a card is told in whole milliGPU, so each of its holders may be told one less, and idle as much more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from fractions import Fraction
from itertools import pairwise
from typing import Any

from sqlalchemy import Engine, func, select

from accounting.evidence.node_facts import lenders, nodes_seen
from accounting.ledger.reconcile_range import Site, reconcile_range
from accounting.model import CAPACITY, NodeDay
from accounting.periods.check import check
from accounting.periods.rederive import rederived
from accounting.reconcile.rule import Rules, reconcile
from accounting.store.database import read
from accounting.store.tables import jobs, node_days, postings
from exporters.join.machines import Machines, machines_of
from exporters.model import Disposition, Job, JobKey, Scheduler
from tests.accounting.readings import days
from tests.hostile.truth import Truth

RULES = Rules(grace=120)
FREE = (Disposition.IDLE.value, Disposition.DOWN.value, Disposition.RESERVED.value)

Said = Counter[tuple[str, JobKey | None]]
"""MilliGPU-seconds by account, and by job where one is named."""


def project(job: Job, at: float) -> str:
    return job.account or "unmapped"


@dataclass
class Books:
    """A ledger, and the machines that its nodes are."""

    engine: Engine
    start: int
    clusters: Sequence[str]

    def machines(self) -> Machines:
        return machines_of(nodes_seen(self.engine), lenders(self.engine), clusters=self.clusters)

    def reconcile(self, now: int) -> None:
        places = self.machines()
        site = Site(places.resolve, project, places.stays)
        reconcile_range(self.engine, self.start, now, site, RULES, now=now)

    def unproved(self) -> list[object]:
        """What ``check`` finds."""
        places = self.machines()
        site = Site(places.resolve, project, places.stays)
        derived = rederived(self.engine, site, RULES, UTC)
        return [*check(self.engine), *derived.breaches, *derived.waits]

    def days(self, now: int) -> list[NodeDay]:
        places = self.machines()
        return days(self.engine, self.start, now, places.resolve, projects=project, present=places.stays)

    def booked(self) -> dict[tuple[str, int], Said]:
        """What stands, by machine and day."""
        p, d, j = postings.c, node_days.c, jobs.c
        group = (d.machine, d.start_at, p.account, j.scheduler, j.cluster, j.run)
        query = (
            select(*group, func.sum(p.quantity))
            .join(node_days, d.transaction_id == p.transaction_id)
            .outerjoin(jobs, j.id == p.job_id)
            .group_by(*group)
        )
        found: dict[tuple[str, int], Said] = {}
        with read(self.engine) as connection:
            for machine, start, account, *name, quantity in connection.execute(query):
                job = JobKey(Scheduler(name[0]), name[1], name[2]) if name[0] else None
                found.setdefault((machine, start), Counter())[account, job] += int(quantity)
        return found


def said_of(day: NodeDay) -> Said:
    """What the rule says of a node-day, or of a part of one."""
    found: Said = Counter()
    for p in reconcile(day, RULES).postings:
        if p.quantity:
            found[p.account, p.job] += p.quantity
    return found


def faults(truth: Truth, books: Books) -> list[str]:
    """Everything that the books say and that is not so, in sentences."""
    found, booked = [], books.booked()
    for day in books.days(truth.now):
        whole: Said = Counter()
        for a, b in pairwise(truth.borders(day.machine, day.start, day.end)):
            said = said_of(replace(day, start=a, end=b))
            whole.update(said)
            found += [f"{day.machine} [{a}, {b}): {wrong}" for wrong in _wrong(truth, day.machine, a, b, said)]
        stands = booked.pop((day.machine, day.start), Counter())
        differ = {key: (whole[key], stands[key]) for key in {*whole, *stands} if whole[key] != stands[key]}
        if differ:
            found.append(f"{day.machine} {day.start}: the books are not the sum of their seconds: {differ}")
    return found + [f"booked, and of no evidence: {place}" for place, said in booked.items() if _nonzero(said)]


def _nonzero(said: Said) -> dict[Any, int]:
    return {key: quantity for key, quantity in said.items() if quantity}


def _wrong(truth: Truth, machine: str, a: int, b: int, said: Said) -> Iterator[str]:
    if machine not in truth.machines:
        yield f"no such machine, and {_nonzero(said)}"
        return
    cards, hands = truth.at(machine, a)
    seconds = b - a
    for (account, job), quantity in said.items():
        had = hands.get(job, Fraction(0)) * seconds if job is not None else 0
        guessed = job in hands and truth.guessed(job)
        if account == Disposition.CHARGED.value and quantity > had and not guessed and job not in truth.believed:
            yield f"{job} is charged {quantity}, and had {float(had)}"
    parts = sum(1 for had in hands.values() if had.denominator > 1 or had % 1000)
    free = sum(quantity for (account, _), quantity in said.items() if account in FREE)
    rest = (cards - sum(had for job, had in hands.items() if job in truth.known and not truth.guessed(job))) * seconds
    if free > rest + parts * seconds:
        yield f"{free} are idle, down or reserved, and {float(rest)} were free: {_nonzero(said)}; {hands}"
    has = -sum(quantity for (account, _), quantity in said.items() if account == CAPACITY)
    least = cards * seconds if a >= truth.listed.get(machine, b) else 0
    if not least <= has <= cards * seconds:
        yield f"it has {has}, and had {cards * seconds}"


def short(truth: Truth, books: Books, told: Iterable[JobKey]) -> list[str]:
    """Jobs that are not charged for all they had, when everything has been told in the end."""
    charged: Counter[JobKey | None] = Counter()
    for said in books.booked().values():
        for (account, job), quantity in said.items():
            charged[job] += quantity if account == Disposition.CHARGED.value else 0
    found = []
    for job in told:
        had = truth.total(job, truth.now)
        if not had - truth.now + truth.held[0].start <= charged[job] <= had:
            found.append(f"{job} is charged {charged[job]}, and had {float(had)}")
    return found


def amount(books: Books, disposition: Disposition) -> int:
    """MilliGPU-seconds of one disposition in all the books."""
    return sum(q for said in books.booked().values() for (account, _), q in said.items() if account == disposition)
