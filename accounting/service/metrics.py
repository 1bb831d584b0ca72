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


Amounts = Callable[[str], tuple[str, Mapping[str, Decimal]]]
"""The currency of a billing month, and what each project pays in it. Raises `RatingError`."""


def stand(engine: Engine, amounts: Amounts) -> Standing:
    """Read where the books stand. A month with a card that has no price has no charges, rather than wrong ones."""
    with read(engine) as connection:
        known = connection.execute(select(periods).order_by(periods.c.start_at)).all()
        told = [p for p in known if p.state == OPEN or p in known[-MOST_PERIODS:]]
        names = [p.name for p in told]
        sums = _sums(connection, names)
        disputed = and_(
            node_days.c.transaction_id == transactions.c.id, postings.c.account == Disposition.DISPUTED.value
        )
        overall: dict[Gauge, Rows] = {
            INTAKE: {(r.source, r.cluster): float(r.position) for r in connection.execute(select(cursors))},
            SECONDS: _seconds((s.period, s.disposition, s.model, s.quantity) for s in sums),
            DISPUTES: _transactions(connection, names, disputed),
            CORRECTIONS: _transactions(connection, names, transactions.c.kind == CORRECTION),
            STATE: {(p.name, p.state): 1.0 for p in told},
            ENDS: {(p.name,): float(p.end_at) for p in told},
            CONTRADICTED: _contradicted(connection, [p for p in told if p.state == OPEN]),
            REJECTS: _rejects(connection),
        }
    own = [s for s in sums if s.project]
    seconds = _seconds((s.project, s.period, s.disposition, s.scheduler, s.model, s.quantity) for s in own)
    return Standing(overall, {PROJECT_SECONDS: seconds, PROJECT_CHARGE: _charges(names, amounts)})


class _Sum(NamedTuple):
    """Milligpu-seconds of a period. ``scheduler`` is empty for nobody's time."""

    period: str
    project: str
    disposition: str
    model: str
    scheduler: str
    quantity: int


def _sums(connection: Connection, names: Sequence[str]) -> list[_Sum]:
    p, t = postings.c, transactions.c
    scheduler = func.coalesce(jobs.c.scheduler, "")
    group = (t.period, p.project, p.account, p.model, scheduler)
    query = (
        select(*group, func.sum(p.quantity))
        .select_from(postings)
        .join(transactions, t.id == p.transaction_id)
        .outerjoin(jobs, jobs.c.id == p.job_id)
        .where(t.period.in_(names), p.account.in_([d.value for d in Disposition]))
        .group_by(*group)
    )
    return [_Sum(*row[:5], int(row[5])) for row in connection.execute(query)]


def _seconds(sums: Iterable[tuple[str | int, ...]]) -> Rows:
    """Whole card-seconds by labels; what was booked and taken back again is still told, as 0."""
    added: dict[Labels, int] = defaultdict(int)
    for *labels, quantity in sums:
        added[tuple(map(str, labels))] += int(quantity)
    return {labels: quantity / MILLI_PER_GPU for labels, quantity in added.items()}


def _transactions(connection: Connection, names: Sequence[str], which: ColumnElement[bool]) -> Rows:
    """How many different transactions of each period ``which`` holds for; 0 for a period that has none."""
    t = transactions.c
    query = (
        select(t.period, func.count(t.id.distinct()))
        .select_from(transactions)
        .join(postings, postings.c.transaction_id == t.id)
        .outerjoin(node_days, and_(node_days.c.machine == t.machine, node_days.c.start_at == t.start_at))
        .where(t.period.in_(names), which)
        .group_by(t.period)
    )
    found = {period: float(count) for period, count in connection.execute(query)}
    return {(name,): found.get(name, 0.0) for name in names}


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


def _charges(names: Iterable[str], amounts: Amounts) -> Rows:
    found: dict[Labels, float] = {}
    for period in names:
        try:
            currency, paid = amounts(period)
        except RatingError:  # the statement refuses such a month and names the model; a gauge can only be absent
            continue
        found.update({(project, period, currency): float(amount) for project, amount in paid.items() if project})
    return found


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
