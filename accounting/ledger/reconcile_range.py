"""Drives reconciliation over a range: evidence -> node-days -> the sweep -> the books, day by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import partial
from itertools import pairwise
from typing import Literal
from uuid import uuid4

from sqlalchemy import Connection, Engine, func, select

from accounting.garbage import uncollected
from accounting.ledger.booking import Done, OutdatedError, Posted, book_day
from accounting.ledger.day_worker import Range, Site, Worker, shared_worker
from accounting.model import DAY
from accounting.reconcile.rule import Rules
from accounting.reconcile.sweep.engines import Engine as Workers
from accounting.reconcile.sweep.engines import One, engine
from accounting.store.calendar import OPEN, segments
from accounting.store.database import LedgerError, read
from accounting.store.readers import readers
from accounting.store.staging import writing
from accounting.store.tables import claims, node_days, periods

__all__ = ["AS_FITS", "Range", "ReconcileReport", "Site", "Work", "reconcile_range"]

MUCH = 400_000
"""Claims in a ledger for which it pays to start processes."""

FEW = 3
"""Days that are done before processes would have started."""

TRIES = 5
"""How often a day is reconciled anew because somebody else booked of it meanwhile."""


Progress = Callable[[int, int, int], None]
"""Called after each day: seconds done, seconds in all, node-days so far."""

Day = tuple[int, int]
Marked = Mapping[Day, tuple[bytes, bool]]
"""Each day's mark, and whether that is what it was booked with."""


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What became of the node-days of a range.

    ``withdrawn`` are among ``reposted`` or ``corrected``: no evidence of them is left. ``unplaced`` counts claims
    without known capacity, in the node-days that were reconciled anew.
    """

    node_days: int
    posted: int
    reposted: int
    corrected: int
    unchanged: int
    withdrawn: int
    unplaced: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Work:
    """Where node-days are reconciled.

    ``one`` process; a ``pool`` of ``workers`` processes (0: as many as processors), which take on a day each; or
    ``dask`` at the address ``scheduler``, whose workers need not reach the ledger: they sweep parts of a day. Without a
    name it is a pool where there is much to do, else one process.
    """

    engine: Literal["", "one", "pool", "dask"] = ""
    workers: int = 0
    scheduler: str = ""


AS_FITS = Work()
"""Where it is quickest."""


def node_days_of(ledger: Engine, start: int, end: int, zone: tzinfo, changes: Collection[int]) -> list[Day]:
    """All node-days that touch ``[start, end)``, whole: UTC days, cut where a month begins or a price changes.

    A day that was ever cut stays so: what it comes to is the same, and it is booked under its beginning. In a closed
    month, whose prices are those that it was closed with, no new cut is made.
    """
    natural = list(segments(start, end, zone))
    if not natural:
        return []
    first, last = natural[0][0], natural[-1][1]
    c, p = node_days.c, periods.c
    with read(ledger) as connection:
        query = select(c.start_at).where(c.start_at >= first, c.start_at < last, c.start_at % DAY != 0).distinct()
        booked = {*connection.scalars(query)}
        closed = [(a, b) for a, b in connection.execute(select(p.start_at, p.end_at).where(p.state != OPEN))]
    new = {at for at in changes if first < at < last and not any(a <= at < b for a, b in closed)}
    cuts = sorted({*(a for a, _ in natural), *booked, *new, last})
    return list(pairwise(cuts))


def much(ledger: Engine) -> bool:
    """Whether a ledger holds so many claims that it pays to start processes."""
    with read(ledger) as connection:
        return int(connection.execute(select(func.coalesce(func.max(claims.c.id), 0))).scalar_one()) >= MUCH


def reconcile_range(
    ledger: Engine,
    start: int,
    end: int,
    site: Site,
    rules: Rules,
    *,
    now: int,
    zone: tzinfo = UTC,
    machines: Collection[str] | None = None,
    unfinished: bool = True,
    progress: Progress | None = None,
    work: Work = AS_FITS,
) -> ReconcileReport:
    """Reconcile and book every node-day that touches ``[start, end)``, as far as it is past at ``now``.

    A node-day whose inputs and rules are those it was last booked with is not even reconciled again. ``machines``
    limits the work to some. ``unfinished`` also books the day that is not over, up to ``now``; it is then booked anew
    by every later call, so a service that runs often leaves it out. The books are the same to the byte, wherever the
    ``work`` is done.
    """
    cut = node_days_of(ledger, start, min(end, now), zone, site.changes)
    days = [(a, min(b, now)) for a, b in cut if unfinished or b <= now]
    counts: Counter[str] = Counter()
    if days:
        range_ = Range(site, rules, days, zone, None if machines is None else frozenset(machines))
        with uncollected(), _working(ledger, range_, work) as found:
            for done in found:
                counts.update(_booked(ledger, range_, done, now))
                if progress is not None:
                    progress(done.end - days[0][0], days[-1][1] - days[0][0], counts["node_days"])
    return ReconcileReport(
        counts["node_days"],
        counts[Posted.POSTED],
        counts[Posted.REPOSTED],
        counts[Posted.CORRECTED],
        counts[Posted.UNCHANGED],
        counts["withdrawn"],
        counts["unplaced"],
        days[0][0] if days else start,
        days[-1][1] if days else start,
    )


@contextmanager
def _working(ledger: Engine, range_: Range, work: Work) -> Iterator[Iterator[Done]]:
    """The days of a range in their order, those reconciled of which something has changed."""
    with read(ledger) as connection:
        worker = Worker(connection, range_)
        marks = {day: worker.mark(connection, *day) for day in range_.days}
    todo = [(day, mark) for day, (mark, unchanged) in marks.items() if not unchanged]
    few = len(todo) <= FEW or range_.machines is not None
    if work.engine == "pool" or (not work.engine and not few and much(ledger)):
        with readers(ledger, much=True, number=work.workers, loading=[__name__]) as beside:
            found = beside.map(partial(_day, token=uuid4().hex, range_=range_), todo)
            yield _in_order(ledger, worker, marks, found)
        return
    with engine(work.engine or "one", scheduler=work.scheduler) as run:
        yield _in_order(ledger, worker, marks, _here(ledger, worker, todo, run))


def _in_order(ledger: Engine, worker: Worker, marks: Marked, found: Iterator[Done]) -> Iterator[Done]:
    for day, (_, unchanged) in marks.items():
        if unchanged:
            with read(ledger) as connection:
                yield worker.nothing(connection, *day)
        else:
            yield next(found)


def _here(ledger: Engine, worker: Worker, todo: Sequence[tuple[Day, bytes]], run: Workers) -> Iterator[Done]:
    for day, mark in todo:
        with read(ledger) as connection:
            if not worker.knows(connection):  # an ingest beside this one has brought nodes
                worker = Worker(connection, worker.range)
            done = worker.done(connection, *day, mark, run)
        yield done


def _day(connection: Connection, item: tuple[Day, bytes], token: str, range_: Range) -> Done:
    """One day in a process of a pool, which keeps what the days of a range share."""
    day, mark = item
    return shared_worker(connection, token, range_).done(connection, *day, mark, One())


def _booked(ledger: Engine, range_: Range, done: Done, now: int) -> Counter[str]:
    """Book a day; if somebody else has booked of it meanwhile, reconcile it once more."""
    counts: Counter[str] = Counter()
    for _ in range(TRIES):
        try:
            if done.drafts or done.mark:
                made = done.postings
                with writing(ledger, int(made.first[-1]), made.table) as connection:
                    counts.update(book_day(connection, done, now=now, zone=range_.zone))
            break
        except OutdatedError:
            with read(ledger) as connection:
                done = Worker(connection, range_).done(connection, done.start, done.end, b"", One())
    else:
        raise LedgerError(f"other writers keep booking the node-days from {done.start} on: stop them, and try again")
    counts["node_days"] += len(done.seen)
    counts[Posted.UNCHANGED] += len(done.seen) - (len(done.drafts) - done.withdrawn)
    counts["withdrawn"] += done.withdrawn
    counts["unplaced"] += sum(len(draft.unplaced) for draft in done.drafts)
    return counts
