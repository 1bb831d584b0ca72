"""What is still open before a month may be closed, in sentences: what must be done first, and what is only told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from sqlalchemy import Connection, Engine, func, select

from accounting.intake.coverage import covered_until
from accounting.intake.open_runs import Doubt
from accounting.statements.doubts import doubts_of, in_words, most_doubtful
from accounting.store.calendar import OPEN, Period
from accounting.store.database import read
from accounting.store.tables import cursors, periods, postings, rejects
from accounting.store.tables import node_days as booked
from exporters.model import Disposition, Scheduler


@dataclass(frozen=True, slots=True)
class Open:
    """One thing that is open. ``must`` says whether it has to be done before the month is closed; ``quantity`` are the
    milliGPU-seconds that it is about.
    """

    must: bool
    what: str
    quantity: int = 0


@dataclass(frozen=True, slots=True)
class Sources:
    """Whose records a month needs: Slurm clusters whose history is ingested, Kubernetes clusters that are recorded."""

    slurm: Sequence[str] = ()
    kubernetes: Sequence[str] = ()


def still_open(
    engine: Engine, period: Period, sources: Sources, *, settle: int, now: int, zone: tzinfo
) -> Iterator[Open]:
    """What the books themselves tell. ``settle`` is how many seconds a month waits for late records."""
    ready = period.end + settle
    if now < ready:
        yield Open(True, f"late records are waited for until {_moment(ready, zone)} (ledger.settle)")
    with read(engine) as connection:
        yield from _unread(connection, period, sources, zone)
        c = periods.c
        earlier = select(c.name).where(c.state == OPEN, c.start_at < period.start).order_by(c.start_at)
        for name in connection.scalars(earlier):
            yield Open(True, f"{name} is open: months are closed in order")
        yield from _suspense(connection, period)
        stands = (rejects.c.resolved_at.is_(None), rejects.c.seen_at >= period.start)
        aside = connection.execute(select(func.count()).select_from(rejects).where(*stands)).scalar_one()
        for doubt in doubts_of(connection, period, zone):
            yield Open(False, in_words(doubt), doubt.quantity)
        if aside:
            yield Open(False, f"{aside} records are set aside since the month began (meterbridge rejects)")


def _unread(connection: Connection, period: Period, sources: Sources, zone: tzinfo) -> Iterator[Open]:
    c = cursors.c
    rows = connection.execute(select(c.cluster, func.max(c.position)).group_by(c.cluster))
    read_to: dict[str, int] = {row[0]: row[1] for row in rows}
    for cluster in sources.slurm:
        if (at := read_to.get(cluster)) is None:
            yield Open(True, f"the records of slurm {cluster} were never read (meterbridge ingest)")
        elif at < period.end:
            yield Open(
                True, f"the records of slurm {cluster} are read only up to {_moment(at, zone)} (meterbridge ingest)"
            )
    seen_to = covered_until(connection)
    for cluster in sources.kubernetes:
        seen = seen_to.get((Scheduler.KUBERNETES, cluster))
        if seen is None:
            yield Open(True, f"kubernetes {cluster} was never recorded (meterbridge exporter)")
        elif seen < period.end:
            yield Open(True, f"kubernetes {cluster} was last seen at {_moment(seen, zone)} (meterbridge exporter)")


def _suspense(connection: Connection, period: Period) -> Iterator[Open]:
    """Hours without evidence, and in dispute, in what stands, by why."""
    p, d = postings.c, booked.c
    query = (
        select(p.account, p.reason, func.sum(p.quantity))
        .join(booked, d.transaction_id == p.transaction_id)
        .where(d.start_at >= period.start, d.start_at < period.end)
        .where(p.account.in_([Disposition.DISPUTED.value, Disposition.UNKNOWN.value]))
        .group_by(p.account, p.reason)
    )
    found: list[Doubt] = []
    for account, reason, quantity in connection.execute(query):
        if account == Disposition.DISPUTED.value:
            said = f"in dispute, {reason or 'claims above capacity'} (meterbridge disputes {period.name})"
        else:
            said = f"unknown, {reason or 'a source could not be read'}: nobody is billed for them"
        found += [Doubt(said, int(quantity))] if quantity else []
    for doubt in most_doubtful(sorted(found, key=lambda one: -one.quantity)):
        yield Open(False, in_words(doubt), doubt.quantity)


def _moment(at: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")
