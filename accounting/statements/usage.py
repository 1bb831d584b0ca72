"""Usage: the postings that stand for a stretch of time, added up as a table.

One row for each project, job, GPU model, disposition and linked job (`GROUP`): what a statement's line is made from.
Telemetry of a job with several rows is shared among them by what each held on that machine and day, so that a joule is
shown once.

Columns: ``project`` and ``gpu_model`` (Categorical), ``job`` and ``linked`` (ids of the ledger, 0 for nobody),
``disposition`` (`WORDS`), ``charged`` and ``held`` (milliGPU-seconds, what of ``held`` is counted under the
disposition), ``start`` and ``end`` (first and last second).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import BigInteger, ColumnElement, Float, Select, cast, func, literal, select

from accounting.ledger.booking import CORRECTION
from accounting.model import CAPACITY, DAY
from accounting.rates.pricing import PART
from accounting.rates.rating import parts
from accounting.store.calendar import Period
from accounting.store.columns import Columns, among
from accounting.store.tables import node_days, periods, postings, telemetry, transactions
from exporters.model import Disposition

WORDS = pl.Enum([*(d.value for d in Disposition), ""])
"""What a row counts as, in the order of statements; empty for a record that is shown, and counted on ``linked``."""

GROUP = ("project", "job", "gpu_model", "disposition", "linked")
"""What makes postings one row."""

MEASURES = ("gpu_seconds", "active_seconds", "energy_joules", "samples_seen", "samples_expected")
"""The columns of ``telemetry`` that lines show."""

MOST_REASONS = 4
"""Distinct reasons told on one usage; of more, their number."""

_D, _P, _T, _M = node_days.c, postings.c, transactions.c, telemetry.c
_CORRECTED = periods.alias("corrected").c
_SUMS = (pl.col("charged").sum(), pl.col("held").sum(), pl.col("start").min(), pl.col("end").max())
_KEYS = (
    _P.project,
    func.coalesce(_P.job_id, 0, type_=BigInteger).label("job"),
    _P.model.label("gpu_model"),
    _P.account.label("disposition"),
    func.coalesce(_P.linked_id, 0, type_=BigInteger).label("linked"),
)
_AMOUNTS = (_P.quantity.label("charged"), _P.held, _P.start_at.label("start"), _P.end_at.label("end"))


def standing(
    ledger: Columns, start: int, end: int, *more: ColumnElement[bool], changes: Sequence[int] = ()
) -> pl.DataFrame:
    """What stands for the node-days that begin in ``[start, end)``, of the postings for which ``more`` is true too.

    ``charged`` over the six dispositions sums to the capacity. Corrections booked elsewhere are not in it, so a closed
    month's usage never changes: see `corrections`. With ``changes`` (moments at which prices change) there is a row for
    each part of the month between them, and a column ``part``: the change with which it begins, 0 for the first.
    """
    query = _standing(*_KEYS, *_AMOUNTS).where(*more)
    found = []
    for a, b, part in parts_between(start, end, changes):
        days = ((day, min(day + DAY, b)) for day in range(a, b, DAY))
        some = _summed(ledger, (query.where(_D.start_at >= day, _D.start_at < to) for day, to in days), GROUP)
        found.append(some.with_columns(pl.lit(part, pl.Int64).alias(PART)) if changes else some)
    return pl.concat(found)


def parts_between(start: int, end: int, changes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """The parts of a month: from when to when, and the change with which each begins."""
    begins = parts(changes, start, end)
    for a, b in pairwise((*begins, end)):
        yield a, b, 0 if a == start else a


def charged_kinds(ledger: Columns, start: int, end: int, changes: Sequence[int] = ()) -> pl.DataFrame:
    """The projects and GPU models of what stands charged, each with a job: what `standing` has, without quantities."""
    job = cast(func.coalesce(func.min(_P.job_id), 0), BigInteger).label("job")
    nothing = [literal(0, BigInteger).label(name) for name in ("linked", "charged", "held", "start", "end")]
    query = _standing(_P.project, _P.model.label("gpu_model"), job, *nothing)
    query = query.where(_P.account == Disposition.CHARGED.value).group_by(_P.project, _P.model)
    found = []
    for a, b, part in parts_between(start, end, changes):
        some = _frame(ledger, query.where(_D.start_at >= a, _D.start_at < b))
        found.append(some.with_columns(pl.lit(part, pl.Int64).alias(PART)) if changes else some)
    return pl.concat(found).with_columns(disposition=pl.lit(Disposition.CHARGED.value, WORDS))


def corrections(
    ledger: Columns, period: str, changes: Mapping[str, Sequence[int]] = MappingProxyType({})
) -> pl.DataFrame:
    """Corrections booked in a period, by the closed period that each corrects (``corrects``). Amounts may be negative.

    What comes to nothing is left out. ``changes`` are the moments at which the prices of closed months change, by
    month: where there are some, there is a column ``part`` as in `standing`.
    """
    group = ("corrects", *GROUP)
    if not any(changes.values()):
        found = _summed(ledger, [_correcting(period, _CORRECTED.name.label("corrects"), *_KEYS, *_AMOUNTS)], group)
        return found.filter((pl.col("charged") != 0) | (pl.col("held") != 0))
    when = _T.start_at.label("day")
    days = _frame(ledger, _correcting(period, _CORRECTED.name.label("corrects"), when, *_KEYS, *_AMOUNTS))
    begins = np.array([0, *sorted({moment for some in changes.values() for moment in some})], np.int64)
    at = np.searchsorted(begins, days["day"].to_numpy(), side="right") - 1
    own = days.with_columns(pl.Series(PART, begins[at]))
    first = {month: min(some, default=0) for month, some in changes.items()}
    of_month = pl.col("corrects").cast(pl.String).replace_strict(first, default=0, return_dtype=pl.Int64)
    # the last change before the day may be one of an earlier month
    own = own.with_columns(pl.when((of_month > 0) & (pl.col(PART) >= of_month)).then(PART).otherwise(0).alias(PART))
    found = own.group_by(*group, PART, maintain_order=True).agg(*_SUMS)
    return found.filter((pl.col("charged") != 0) | (pl.col("held") != 0))


def standing_like(
    ledger: Columns, later: pl.DataFrame, start: int, end: int, changes: Sequence[int] = ()
) -> pl.DataFrame:
    """What stands for the node-days that begin in ``[start, end)`` about the jobs of corrections, and about nobody.

    About nobody there are as many postings as node-days: only what is as in ``later`` is told of it.
    """
    jobs = later.filter(pl.col("job") > 0)["job"].unique().sort().to_list()
    mine = among(_P.job_id, jobs, ledger.connection.dialect.name)
    found = standing(ledger, start, end, mine, changes=changes) if jobs else later.head(0)
    nobody = later.filter(pl.col("job") == 0)
    there = []
    for row in nobody.iter_rows(named=True):
        like = (_P.project == row["project"], _P.model == row["gpu_model"], _P.account == row["disposition"])
        query = _standing(_P.id).where(_D.start_at >= start, _D.start_at < end, _P.job_id.is_(None), *like)
        there.append(ledger.connection.execute(query.limit(1)).first() is not None)
    like_it = nobody.filter(pl.Series(there, dtype=pl.Boolean)).select(GROUP)
    if not changes:
        return pl.concat([found.select(GROUP), like_it])
    return pl.concat([found.select(*GROUP, PART), like_it.with_columns(pl.lit(0, pl.Int64).alias(PART))])


def reasons(ledger: Columns, start: int, end: int) -> pl.DataFrame:
    """Why, in words, of the rows of `standing` that have some: the column ``reason`` beside `GROUP`."""
    query = _standing(*_KEYS, _P.reason).where(_D.start_at >= start, _D.start_at < end, _P.reason != "")
    return _frame(ledger, query.distinct()).group_by(GROUP).agg(_reason())


def reason_of(ledger: Columns, period: Period, row: Mapping[str, Any]) -> str:
    """The same of one row of a month, or of its `corrections`."""
    like = (
        _P.project == row["project"],
        func.coalesce(_P.job_id, 0) == row["job"],
        _P.model == row["gpu_model"],
        _P.account == row["disposition"],
        func.coalesce(_P.linked_id, 0) == row["linked"],
    )
    if row["corrects"]:
        query = _correcting(period.name, _P.reason).where(_CORRECTED.name == row["corrects"])
    else:
        query = _standing(_P.reason).where(_D.start_at >= period.start, _D.start_at < period.end)
    found = _frame(ledger, query.where(_P.reason != "", *like).distinct())
    return str(found.select(_reason()).item()) if found.height else ""


def _reason() -> pl.Expr:
    """`MOST_REASONS` different reasons, and of more their number."""
    told = pl.col("reason").unique().sort()
    beyond = pl.concat_str(pl.lit("; and "), told.len() - MOST_REASONS, pl.lit(" more reasons"))
    more = pl.when(told.len() > MOST_REASONS).then(beyond).otherwise(pl.lit(""))
    return (told.head(MOST_REASONS).str.join("; ") + more).alias("reason")


def _standing(*columns: ColumnElement[Any]) -> Select[Any]:
    """Postings that stand, whenever."""
    standing = select(*columns).select_from(node_days).join(postings, _D.transaction_id == _P.transaction_id)
    return standing.where(_P.account != CAPACITY)


def _correcting(period: str, *columns: ColumnElement[Any]) -> Select[Any]:
    """Postings of corrections that are booked in a period, beside the period that each corrects."""
    then = (_T.start_at >= _CORRECTED.start_at) & (_T.start_at < _CORRECTED.end_at)
    correcting = select(*columns).select_from(postings).join(transactions, _T.id == _P.transaction_id)
    correcting = correcting.join(_CORRECTED.name.table, then)
    return correcting.where(_T.kind == CORRECTION, _T.period == period, _P.account != CAPACITY)


def _frame(ledger: Columns, query: Select[Any]) -> pl.DataFrame:
    return _coded(ledger.table(query))


def _coded(table: Any) -> pl.DataFrame:
    """A table of Arrow; its texts of which there are few as numbers."""
    found = pl.DataFrame(table)
    many = pl.Categorical()
    kinds: dict[str, pl.DataType] = {"project": many, "gpu_model": many, "corrects": many, "disposition": WORDS}
    return found.with_columns(pl.col(name).cast(kind) for name, kind in kinds.items() if name in found.columns)


def _summed(ledger: Columns, queries: Iterable[Select[Any]], group: Sequence[str]) -> pl.DataFrame:
    """The rows of some queries, added up by group."""
    tables = [_coded(table) for table in ledger.tables(queries)]
    return pl.concat(tables).lazy().group_by(group).agg(*_SUMS).collect(engine="streaming")


def measured(ledger: Columns, usages: pl.DataFrame, start: int, end: int, changes: Sequence[int] = ()) -> pl.DataFrame:
    """`GROUP` and `MEASURES` of the rows of `standing` of which something was measured; ``part`` where they have it."""
    group = (*GROUP, PART) if changes else GROUP
    total = [cast(func.sum(_M[name]), Float).label(name) for name in MEASURES]
    query = select(_M.job_id.label("job"), *total).where(_M.start_at >= start, _M.start_at < end)
    by_job = _frame(ledger, query.group_by(_M.job_id))
    if not by_job.height:
        return usages.head(0).select(group).with_columns(pl.lit(0.0).alias(name) for name in MEASURES)
    rows = usages.select(group).join(by_job, on="job", how="semi")
    alone = pl.len().over("job") == 1
    one = rows.filter(alone).join(by_job, on="job")
    several = rows.filter(~alone)
    shared = _shared(ledger, several, start, end, changes) if several.height else one.head(0)
    return pl.concat([one, shared.select(one.columns)])


def _shared(ledger: Columns, rows: pl.DataFrame, start: int, end: int, changes: Sequence[int]) -> pl.DataFrame:
    """What was measured of jobs with several rows, by what each row held on that machine and day."""
    group = (*GROUP, PART) if changes else GROUP
    place = ("job", "unit", "machine", "day")
    of_jobs = rows["job"].unique().sort().to_list()
    dialect = ledger.connection.dialect.name
    held = _frame(
        ledger,
        _standing(*_KEYS, _P.unit, _D.machine, _D.start_at.label("day"), _P.quantity, _P.held)
        .where(_D.start_at >= start, _D.start_at < end, among(_P.job_id, of_jobs, dialect)),
    )  # fmt: skip
    if changes:  # what is measured is kept by days that no change of a price cuts
        begins = np.array([0, *changes], np.int64)
        at = begins[np.searchsorted(begins, held["day"].to_numpy(), side="right") - 1]
        day = pl.max_horizontal(pl.col("day") - pl.col("day") % DAY, pl.lit(start, pl.Int64))
        held = held.with_columns(pl.Series(PART, at), day.alias("day"))
    weights = held.group_by(*group, "unit", "machine", "day").agg(
        pl.max_horizontal(pl.col("quantity").sum(), pl.col("held").sum()).alias("weight")
    )
    told = _frame(
        ledger,
        select(_M.job_id.label("job"), _M.unit, _M.machine, _M.start_at.label("day"), *(_M[n] for n in MEASURES))
        .where(_M.start_at >= start, _M.start_at < end, among(_M.job_id, of_jobs, dialect)),
    )  # fmt: skip
    order = [pl.col(n).cast(pl.String) if n not in ("job", "linked", PART) else pl.col(n) for n in group]
    first = rows.sort(order).unique("job", keep="first", maintain_order=True).with_columns(weight=pl.lit(1))
    found = pl.concat(
        [
            told.join(weights, on=place),
            told.join(weights, on=place, how="anti").join(first, on="job"),  # measured where nothing is booked
        ],
        how="diagonal_relaxed",
    )
    total = pl.col("weight").sum().over(place)
    whole = pl.when(total == 0).then(1).otherwise(total)
    found = found.with_columns(pl.col(name) * pl.col("weight") / whole for name in MEASURES).sort(*place, *order)
    kinds = found.select(group).unique(maintain_order=True).with_row_index("kind")
    number = found.select(group).join(kinds, on=group, how="left", maintain_order="left")["kind"].to_numpy()
    # added up in one order, since floats tell the order: the same ledger gives the same bytes
    sums = (pl.Series(name, np.bincount(number, found[name].to_numpy(), kinds.height)) for name in MEASURES)
    return kinds.drop("kind").with_columns(sums)
