"""Where the books stand, for Prometheus: how far they were read, what they came to, what waits for somebody.

What names a project is kept apart (`Standing.by_project`): the service shows it only to who may see that project. Both
are read from the ledger on the service's clock, never by a scrape.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, func, select

from accounting.evidence.contradictions import KINDS, contradictions
from accounting.ledger.booking import CORRECTION
from accounting.rates.rating import RatingError
from accounting.store.calendar import OPEN
from accounting.store.database import read
from accounting.store.day_changes import Changes
from accounting.store.tables import cursors, jobs, node_days, periods, postings, transactions
from accounting.store.tables import rejects as rejects_table
from exporters.model import MILLI_PER_GPU, Disposition

Labels = tuple[str, ...]
Rows = Mapping[Labels, float]

MOST_PERIODS = 3
"""Months told of: the latest ones, and every older one that is still open."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """One family: its name, what it says, its labels."""

    name: str
    help: str
    labels: Labels


INTAKE = Gauge(
    "meterbridge_ledger_intake_position_timestamp_seconds",
    "How far a history was read into the ledger",
    ("source", "cluster"),
)
SECONDS = Gauge(
    "meterbridge_ledger_gpu_seconds",
    "Card-seconds of the period so far by disposition, as booked in it; they sum to capacity",
    ("period", "disposition", "gpu_model"),
)
DISPUTES = Gauge("meterbridge_ledger_disputes", "Node-days of the period with cards in dispute", ("period",))
CORRECTIONS = Gauge(
    "meterbridge_ledger_corrections", "Corrections of closed months that are booked in the period", ("period",)
)
STATE = Gauge("meterbridge_ledger_period_info", "The period and its state; always 1", ("period", "state"))
ENDS = Gauge("meterbridge_ledger_period_end_timestamp_seconds", "When the period ends or ended", ("period",))
CONTRADICTED = Gauge(
    "meterbridge_ledger_contradicted_gpu_seconds",
    "Card-seconds of an open period about which sources contradict each other, by what is wrong",
    ("period", "kind"),
)
REJECTS = Gauge("meterbridge_ledger_rejects", "Records set aside with a reason and not mended since", ("source",))
BREACHES = Gauge("meterbridge_ledger_breaches", "Breaches of an invariant that the last check found", ())
CHECKED = Gauge(
    "meterbridge_ledger_checked_timestamp_seconds", "When the ledger was last checked; absent until it was", ()
)
PROJECT_SECONDS = Gauge(
    "meterbridge_ledger_project_gpu_seconds",
    "Card-seconds of the project in the period so far, by disposition",
    ("project", "period", "disposition", "scheduler", "gpu_model"),
)
PROJECT_CHARGE = Gauge(
    "meterbridge_ledger_project_charge",
    "What the project's lines of the period so far come to, as on its statement; corrections included",
    ("project", "period", "currency"),
)

OPEN_FAMILIES = (INTAKE, SECONDS, DISPUTES, CORRECTIONS, STATE, ENDS, CONTRADICTED, REJECTS, BREACHES, CHECKED)
"""Families that name no project."""

PROJECT_FAMILIES = (PROJECT_SECONDS, PROJECT_CHARGE)
"""Families whose first label is the project."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The rows of every family, by family."""

    overall: Mapping[Gauge, Rows] = field(default_factory=dict)
    by_project: Mapping[Gauge, Rows] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Due:
    """What a billing month comes to: ``paid`` reads what each project pays in it. Raises `RatingError`.

    ``prices`` are what it is priced by: where they are what they were, and so are the books, the amounts are, too.
    """

    currency: str
    prices: Any
    paid: Callable[[], Mapping[str, Decimal]]


Dues = Callable[[str], Due]
"""What each month is due, by its name. Raises `RatingError`."""


@dataclass(frozen=True, slots=True)
class _Month:
    """What was read of a month, and where the books stood with it then (``at``)."""

    at: tuple[Any, ...]
    sums: Sequence[_Sum]
    disputes: float
    corrections: float
    charges: Rows


class Months:
    """What was last read of each month: it is read again when something was booked of it, or may be priced otherwise.

    So a look costs what has changed since the last one, and nothing for a month that is closed.
    """

    def __init__(self) -> None:
        self._read: dict[str, _Month] = {}

    def of(self, connection: Connection, months: Sequence[Row[Any]], dues: Dues) -> list[_Month]:
        """The months, in their order. Others are forgotten."""
        read = {month.name: self._month(connection, month, dues) for month in months}
        self._read = read
        return [*read.values()]

    def _month(self, connection: Connection, month: Row[Any], dues: Dues) -> _Month:
        t = transactions.c
        booked = connection.execute(select(func.max(t.id)).where(t.period == month.name)).scalar_one()
        told = Changes(connection).of(month.start_at, month.end_at) if month.state == OPEN else 0  # jobs have prices
        try:
            due = dues(month.name)
        except RatingError:
            due = None
        at = (month.state, booked, told, due and due.prices)
        known = self._read.get(month.name)
        if known is not None and known.at == at:
            return known
        disputed = and_(node_days.c.transaction_id == t.id, postings.c.account == Disposition.DISPUTED.value)
        return _Month(
            at,
            _sums(connection, month.name),
            _transactions(connection, month.name, disputed),
            _transactions(connection, month.name, t.kind == CORRECTION),
            {} if due is None else _charges(month.name, due),
        )


def stand(engine: Engine, dues: Dues, known: Months) -> Standing:
    """Read where the books stand. A month with a card that has no price has no charges, rather than wrong ones.

    ``known`` is what was read before.
    """
    with read(engine) as connection:
        every = connection.execute(select(periods).order_by(periods.c.start_at)).all()
        told = [p for p in every if p.state == OPEN or p in every[-MOST_PERIODS:]]
        months = known.of(connection, told, dues)
        sums = [one for month in months for one in month.sums]
        overall: dict[Gauge, Rows] = {
            INTAKE: {(r.source, r.cluster): float(r.position) for r in connection.execute(select(cursors))},
            SECONDS: _seconds((s.period, s.disposition, s.model, s.quantity) for s in sums),
            DISPUTES: {(p.name,): month.disputes for p, month in zip(told, months, strict=True)},
            CORRECTIONS: {(p.name,): month.corrections for p, month in zip(told, months, strict=True)},
            STATE: {(p.name, p.state): 1.0 for p in told},
            ENDS: {(p.name,): float(p.end_at) for p in told},
            CONTRADICTED: _contradicted(connection, [p for p in told if p.state == OPEN]),
            REJECTS: _rejects(connection),
        }
    own = [s for s in sums if s.project]
    seconds = _seconds((s.project, s.period, s.disposition, s.scheduler, s.model, s.quantity) for s in own)
    charges = {labels: amount for month in months for labels, amount in month.charges.items()}
    return Standing(overall, {PROJECT_SECONDS: seconds, PROJECT_CHARGE: charges})


class _Sum(NamedTuple):
    """Milligpu-seconds of a period. ``scheduler`` is empty for nobody's time."""

    period: str
    project: str
    disposition: str
    model: str
    scheduler: str
    quantity: int


def _sums(connection: Connection, name: str) -> list[_Sum]:
    p, t = postings.c, transactions.c
    scheduler = func.coalesce(jobs.c.scheduler, "")
    group = (t.period, p.project, p.account, p.model, scheduler)
    query = (
        select(*group, func.sum(p.quantity))
        .select_from(postings)
        .join(transactions, t.id == p.transaction_id)
        .outerjoin(jobs, jobs.c.id == p.job_id)
        .where(t.period == name, p.account.in_([d.value for d in Disposition]))
        .group_by(*group)
    )
    return [_Sum(*row[:5], int(row[5])) for row in connection.execute(query)]


def _seconds(sums: Iterable[tuple[str | int, ...]]) -> Rows:
    """Whole card-seconds by labels; what was booked and taken back again is still told, as 0."""
    added: dict[Labels, int] = defaultdict(int)
    for *labels, quantity in sums:
        added[tuple(map(str, labels))] += int(quantity)
    return {labels: quantity / MILLI_PER_GPU for labels, quantity in added.items()}


def _transactions(connection: Connection, name: str, which: ColumnElement[bool]) -> float:
    """How many different transactions of a period ``which`` holds for."""
    t = transactions.c
    query = (
        select(func.count(t.id.distinct()))
        .select_from(transactions)
        .join(postings, postings.c.transaction_id == t.id)
        .outerjoin(node_days, and_(node_days.c.machine == t.machine, node_days.c.start_at == t.start_at))
        .where(t.period == name, which)
    )
    return float(connection.execute(query).scalar_one())


def _contradicted(connection: Connection, months: Iterable[Row[Any]]) -> Rows:
    """Card-seconds by month and kind; 0 for a kind of which there are none."""
    found: dict[Labels, float] = {}
    for month in months:
        found.update({(month.name, kind): 0.0 for kind in KINDS})
        for one in contradictions(connection, month.start_at, month.end_at):
            found[month.name, one.kind] += one.quantity / MILLI_PER_GPU
    return found


def _rejects(connection: Connection) -> Rows:
    c = rejects_table.c
    query = select(c.source, func.count()).where(c.resolved_at.is_(None)).group_by(c.source)
    return {(source,): float(count) for source, count in connection.execute(query)}


def _charges(name: str, due: Due) -> Rows:
    try:
        paid = due.paid()
    except RatingError:  # the statement refuses such a month and names the model; a gauge can only be absent
        return {}
    return {(project, name, due.currency): float(amount) for project, amount in paid.items() if project}


class StandingCollector(Collector):
    """What was last read, as a collector of prometheus-client. Thread-safe: a `Standing` is replaced whole."""

    def __init__(self, families: Sequence[Gauge], rows: Callable[[], Mapping[Gauge, Rows]]) -> None:
        self._families, self._rows = families, rows

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families without rows: registering asks for them."""
        return (GaugeMetricFamily(f.name, f.help, labels=f.labels) for f in self._families)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every family with its rows."""
        rows = self._rows()
        for gauge in self._families:
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for labels, value in sorted(rows.get(gauge, {}).items()):
                family.add_metric(labels, value)
            yield family


class Standings:
    """The last `Standing`, filled by two tasks: the one reads the books, the other checks them."""

    def __init__(self) -> None:
        self._read, self._checked = Standing(), Standing()

    def stands(self, now: Standing) -> None:
        """Keep what was read."""
        self._read = now

    def checked(self, breaches: int, at: float) -> None:
        """Keep what a check found."""
        self._checked = Standing({BREACHES: {(): float(breaches)}, CHECKED: {(): at}})

    def overall(self) -> Mapping[Gauge, Rows]:
        """What everybody may see."""
        return {**self._read.overall, **self._checked.overall}

    def of_projects(self, may_see: Callable[[str], bool]) -> Mapping[Gauge, Rows]:
        """The rows of the projects that somebody may see."""
        return {
            gauge: {labels: value for labels, value in rows.items() if may_see(labels[0])}
            for gauge, rows in self._read.by_project.items()
        }
