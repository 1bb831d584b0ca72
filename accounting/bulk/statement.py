"""A month's statement by columns: from the postings to the bytes of its files, however many lines it has.

The bytes are those of `accounting.rates.rating`, `accounting.statements.compose` and `accounting.statements.chargeback`
over the lines of `accounting.statements.usage`. Corrections of closed months are few, and go that way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, Engine, func, select

from accounting.bulk.charges import priced
from accounting.bulk.lines import Frame, Slice
from accounting.bulk.names import Names, Part, distinct, parts_of
from accounting.bulk.order import statement_order
from accounting.bulk.readers import Readers, readers
from accounting.bulk.shelf import Kept, Shelf
from accounting.bulk.sums import WORDS, Sums, standing_sums
from accounting.bulk.texts import Places, job_names
from accounting.bulk.wording import Jobs, Lines, all_filed, all_worded, jobs_of, measured_of
from accounting.model import Line, Usage
from accounting.rates.rating import Rates, line_order
from accounting.reconcile.sweep.columns import Ints
from accounting.statements.chargeback import COLUMNS, chargeback_rows
from accounting.statements.compose import Counted, Statement, Total, totalled
from accounting.statements.csvtext import csv_lines, text
from accounting.store.calendar import Period
from accounting.store.database import read
from accounting.store.garbage import uncollected
from accounting.store.tables import node_days, postings
from exporters.model import Disposition, JobKey, Scheduler

MANY = 4000
"""Node-days for which it pays to start processes."""


@dataclass(frozen=True, slots=True)
class MonthStatement:
    """A statement whose own lines are columns. ``statement`` has the totals of all, and the lines of corrections.

    ``order`` are the lines' places in ``own`` in the order of the statement. What is ``shelved`` others map, too.
    """

    own: Slice
    order: Ints
    places: Places
    frame: Frame
    statement: Statement
    shelved: Shelved | None = None

    def csv(self, readers: Readers) -> Iterator[str | bytes]:
        """The chargeback, some lines at a time, put into words in this process."""
        yield from csv_lines(COLUMNS, [])
        yield from all_worded(readers, self._lines(), self._jobs(readers))
        yield from self._corrections()

    def csv_parts(self, readers: Readers) -> Iterator[str | bytes | Path]:
        """The same; with a shelf ``readers`` put the lines into words, and a path is a file with some of them."""
        if self.shelved is None:
            yield from self.csv(readers)
            return
        shelf, lines, names = self.shelved
        yield from csv_lines(COLUMNS, [])
        jobs = shelf.keep(jobs_of(Names(names), self.own.sums))
        yield from all_filed(readers, shelf, lines, jobs, len(self.order))
        yield from self._corrections()

    def _corrections(self) -> Iterator[str]:
        lines = csv_lines(COLUMNS, chargeback_rows(self.statement, text))
        next(lines)
        yield from lines

    def _lines(self) -> Lines:
        sums = self.own.sums
        place, other = (self.places.of_jobs(ids).astype(np.int32) for ids in (sums.job, sums.linked))
        return Lines(self.own, self.order, place, other, measured_of(sums.measured), self.frame)

    def _jobs(self, readers: Readers) -> Jobs:
        return jobs_of(Names(parts_of(readers, _job_ids(self.own.sums))), self.own.sums)

    def put(self, shelf: Shelf, names: Iterator[Part]) -> MonthStatement:
        """The same with its columns on a shelf; ``names`` are those of its jobs."""
        lines = self._lines()
        lines = replace(lines, own=replace(lines.own, sums=replace(lines.own.sums, measured={})))
        kept = shelf.keep(lines)
        there = kept.thing()
        return replace(self, own=there.own, order=there.order, shelved=Shelved(shelf, kept, names))


class Shelved(NamedTuple):
    """Where a month's columns are, and what is to be told of its jobs, which may still be being read."""

    shelf: Shelf
    lines: Kept[Lines]
    names: Iterator[Part]


def _job_ids(sums: Sums) -> Ints:
    return distinct(np.concatenate([distinct(sums.job), distinct(sums.linked)]))


def month_statement(
    ledger: Engine,
    some: Readers,
    period: Period,
    rates: Rates,
    corrections: Sequence[Line],
    shelf: Shelf | None = None,
) -> MonthStatement:
    """The statement of a month; ``some`` readers add it up, and its columns go onto a ``shelf``.

    Raises `RatingError` for a model without a price.
    """
    with uncollected(), read(ledger) as connection:
        sums = standing_sums(some, connection, period.start, period.end)
        names = None if shelf is None else parts_of(some, _job_ids(sums), shelf)
        prices = priced(sums, rates, partial(_job_key, connection))
        places = Places(connection, sums.job, sums.linked)
        digits = rates.minor_digits
        frame = Frame(period.name, rates.currency, digits, sums.projects, sums.models, prices.prices, places.names)
        order = statement_order(sums, places.of_jobs(sums.job), partial(job_names, connection), frame)
        later = tuple(sorted(corrections, key=line_order))
        own = Slice(sums, np.zeros(len(sums), dtype=np.int64), prices.minor, prices.price)
        micro, totals = _totalled(own, order, places, later, digits)
        count = len(sums)
        own.micro[order] = micro[:count]
        statement = Statement(period.name, later, tuple(micro[count:].tolist()), totals, rates.currency, digits)
    month = MonthStatement(own, order, places, frame, statement)
    return month if shelf is None or names is None else month.put(shelf, names)


def month_sums(ledger: Engine, period: Period, rates: Rates) -> tuple[int, int, int]:
    """What a month's own lines come to: capacity and charged milliGPU-seconds, and the amount in minor units."""
    with uncollected(), readers(ledger, much=many(ledger, period)) as some, read(ledger) as connection:
        sums = standing_sums(some, connection, period.start, period.end)
        minor = priced(sums, rates, partial(_job_key, connection)).minor
    charged = sums.word == WORDS.index(Disposition.CHARGED)
    counted = sums.word != WORDS.index(None)
    return int(sums.charged[counted].sum()), int(sums.charged[charged].sum()), int(minor.sum())


def many(ledger: Engine, period: Period) -> bool:
    """Whether so much is booked of a month that it pays to start processes."""
    d = node_days.c
    count = select(func.count()).select_from(node_days).where(d.start_at >= period.start, d.start_at < period.end)
    with read(ledger) as connection:
        return int(connection.execute(count).scalar_one()) >= MANY


def refuse_unpriced(ledger: Engine, period: Period, rates: Rates) -> None:
    """Raise `RatingError` when something that stands charged in a month has no price."""
    p, d = postings.c, node_days.c
    charged = (
        select(p.model, func.min(p.job_id))
        .join(node_days, d.transaction_id == p.transaction_id)
        .where(d.start_at >= period.start, d.start_at < period.end, p.account == Disposition.CHARGED.value)
        .group_by(p.model)
        .order_by(p.model)
    )
    with read(ledger) as connection:
        for model, number in connection.execute(charged).all():
            if not rates.has_price(model):
                rates.price(Usage("", _job_key(connection, number), model, Disposition.CHARGED, 0, 0, 0, 0))


def _totalled(
    own: Slice, order: Ints, places: Places, later: Sequence[Line], digits: int
) -> tuple[Ints, tuple[Total, ...]]:
    """Printed millionths of an hour of each line, own ones first and in their order, and the totals of all."""
    sums = own.sums
    schedulers = sorted({"", *(scheduler for scheduler, _ in places.names)})
    projects = sorted({*sums.projects, *(line.usage.project for line in later)})
    corrects = ["", *sorted({line.corrects for line in later})]
    scheduler = np.array([schedulers.index(s) for s, _ in places.names] + [0], dtype=np.int64)
    project = np.array([projects.index(name) for name in sums.projects], dtype=np.int64)
    usages = [line.usage for line in later]
    word = np.concatenate([sums.word[order], np.array([WORDS.index(u.disposition) for u in usages], dtype=np.int64)])
    counted = word != WORDS.index(None)
    zeros = np.zeros(len(sums), dtype=np.int64)
    columns: Sequence[tuple[Ints, list[int]]] = (
        (zeros, [corrects.index(line.corrects) for line in later]),
        (word, []),
        (project[sums.project[order]], [projects.index(u.project) for u in usages]),
        (
            scheduler[places.of_jobs(sums.job[order])],
            [schedulers.index(u.job.scheduler.value if u.job else "") for u in usages],
        ),
        (sums.charged[order], [u.charged for u in usages]),
        (own.minor[order], [int(line.amount.scaleb(digits)) for line in later]),
    )
    both = (np.concatenate([one, np.array(other, dtype=np.int64)])[counted] for one, other in columns)
    found, totals = totalled(Counted(corrects, projects, schedulers, *both), digits)
    micro = np.zeros(len(word), dtype=np.int64)
    micro[counted] = found
    return micro, totals


def _job_key(connection: Connection, number: int) -> JobKey:
    scheduler, cluster, run = job_names(connection, np.array([number]))[number]
    return JobKey(Scheduler(scheduler), cluster, run)
