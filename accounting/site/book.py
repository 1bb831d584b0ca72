"""The site's books: settings wired to a ledger, and each of the front door's accounting verbs as one function.

Everything here is plumbing: what the verbs mean is in the rooms they call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError

from accounting.evidence.node_facts import lenders, nodes_seen
from accounting.intake import rejects as set_aside
from accounting.intake.coverage import recovered_time
from accounting.intake.history import IntakeReport, ingest_history
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.ledger.reconcile_range import AS_FITS, ReconcileReport, Site, Work, reconcile_range
from accounting.periods.closing import period_states
from accounting.periods.mistyped import mistyped
from accounting.rates.card_files import rate_cards
from accounting.rates.rating import Rates
from accounting.reconcile.rule import Rules
from accounting.site.known_months import known_month
from accounting.statements import Basis, Statement, Terms, beancount
from accounting.statements import write_statement as write_files
from accounting.statements.doubts import doubts, in_words, most_doubtful, not_metered
from accounting.statements.files import write_atomic
from accounting.statements.known.jobs import Asked
from accounting.statements.lines import Cards
from accounting.statements.month import month_statement
from accounting.store.calendar import Period, period_at, period_named
from accounting.store.database import LedgerError, read
from accounting.store.schema import open_ledger
from accounting.store.tables import coverage, windows
from exporters.config import Config, SlurmCluster
from exporters.errors import OperatorError
from exporters.join.machines import Machines, machines_of
from exporters.join.shard import WHOLE, Shard
from exporters.wiring import slurm

Progress = Callable[[int, int, int], None]
More = Callable[[Engine, Period, Statement], Mapping[Path, Iterable[str | bytes]]]
"""What other files there are of a month, and what is in them."""


def ledger(config: Config, *, create: bool = False) -> Engine:
    """The ledger of the settings, at this version's schema; where there is none, one is made if ``create``.

    Raises `LedgerError` when none is configured, or there is none and none may be made.
    """
    if config.ledger is None:
        raise LedgerError("no ledger is configured: add ledger.url, sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    return open_ledger(config.ledger.url, create=create)


@contextmanager
def opened(config: Config, *, create: bool = False) -> Iterator[Engine]:
    """The `ledger` for as long as it is needed; what its database refuses is told as `LedgerError`."""
    engine = ledger(config, create=create)
    try:
        yield engine
    except DBAPIError as e:
        raise LedgerError(f"the ledger {engine.url!r} failed: {e.orig}") from e
    except OperatorError:
        raise
    except Exception as e:  # a value of another type than its column's fails whoever reads it, in a way of its own
        with read(engine) as connection:
            odd = next(mistyped(connection), None)
        if odd is None:
            raise
        raise LedgerError(f"the ledger {engine.url!r} was changed by hand: {odd} (meterbridge check)") from e
    finally:
        engine.dispose()


def zone(config: Config) -> ZoneInfo:
    """The time zone in which billing months begin and end."""
    return ZoneInfo(config.time_zone)


def recorder(config: Config, shard: Shard = WHOLE) -> LedgerRecorder:
    """The recorder for an exporter whose settings name a ledger; each shard has its own."""
    gap = config.ledger.gap if config.ledger else 0.0
    name = "exporter" if shard.alone else f"exporter {shard}"
    return LedgerRecorder(ledger(config, create=True), gap=gap, name=name, zone=zone(config))


def rules(config: Config) -> Rules:
    """What reconciling depends on besides records."""
    return Rules(config.model_names, int(config.link_grace))


def rates(config: Config, period: Period) -> Rates:
    """The prices of a month, as the settings have them now. Raises `accounting.rates.rating.RatingError`."""
    return rate_cards(config, zone(config)).of(period.name, period.start, period.end)


def changes(config: Config) -> Sequence[int]:
    """The moments at which prices change. Raises `accounting.rates.rating.RatingError`."""
    return rate_cards(config, zone(config)).changes


def terms(config: Config) -> Terms:
    """The site's choices that a reader of its statements must know."""
    return Terms(config.time_zone, {k.cluster: k.hold_from for k in config.kubernetes})


def machines(config: Config, engine: Engine) -> Machines:
    """Which nodes are the same machine, from everything the ledger has seen."""
    return machines_of(
        nodes_seen(engine),
        lenders(engine),
        rule=config.machines.match,
        names=config.machines.names,
        clusters=[c.cluster for c in config.slurm],
    )


def site(config: Config, engine: Engine) -> Site:
    """Which machines the ledger's nodes are, when they are there, and who pays."""
    places, projects = machines(config, engine), config.project_map()
    return Site(
        places.resolve, projects.project, places.stays, projects.borders, _settings(config), tuple(changes(config))
    )


def _settings(config: Config) -> str:
    """Everything configured that says who pays, and which machine a node is."""
    return repr((config.projects, config.machines, config.time_zone))


def first_second(cluster: SlurmCluster, now: int, config: Config) -> int:
    """Where the first ingest of a cluster begins: ``history.since``, else the current billing month."""
    return since_or_month(cluster.history.since, now, config)


def since_or_month(since: date | None, now: int, config: Config) -> int:
    """Where a first reading begins: at a day, else with the current billing month."""
    if since is None:
        return period_at(now, zone(config)).start
    return int(datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp())


def ingest(
    config: Config, cluster: SlurmCluster, now: int, tick: Progress | None = None, *, since: date | None = None
) -> IntakeReport:
    """Read one Slurm cluster's history into the ledger, from its cursor to now; or from the first second of a day."""
    h = cluster.history
    with opened(config, create=True) as engine:
        return ingest_history(
            engine,
            slurm.history(cluster),
            now=now,
            start=first_second(cluster, now, config),
            overlap=int(h.overlap),
            step=int(h.window),
            progress=tick,
            since=None if since is None else since_or_month(since, now, config),
            charge_live=charges_live(config),
        )


def charges_live(config: Config) -> bool:
    """Whether cards that slurmctld showed and no record tells are charged."""
    return config.ledger is not None and config.ledger.live_only == "charge"


def ingested(report: IntakeReport) -> str:
    """What an ingest did, in one line: everything read is in exactly one of the four counts; then what is in doubt."""
    why = ", ".join(f"{reason} {count}" for reason, count in report.excluded.items())
    excluded = f"{sum(report.excluded.values())} excluded" + (f" ({why})" if why else "")
    until = datetime.fromtimestamp(report.position, UTC).isoformat(timespec="seconds")
    asked = f"; {report.asked} open runs asked for by id" if report.asked else ""
    others = ", ".join(f"{name} {count}" for name, count in sorted(report.others.items()))
    theirs = f"; rows of other clusters left to them: {others}" if others else ""
    told = [f"\n  {in_words(doubt)}" for doubt in most_doubtful(report.doubts, " (meterbridge rejects)")]
    return (
        f"{report.source} {report.cluster}: {report.read} records read = {report.charged} charged + {excluded}"
        f" + {report.pending} pending + {report.rejected} rejected; {report.events} node events; read up to {until}"
        f"{asked}{theirs}{''.join(told)}"
    )


def reconciled(report: ReconcileReport) -> str:
    """What a reconcile did, in one line."""
    return (
        f"{report.node_days} node-days: {report.posted} posted, {report.reposted} posted anew, "
        f"{report.corrected} corrected, {report.unchanged} unchanged; {report.unplaced} claims without known capacity"
    )


def reconcile_period(
    config: Config,
    name: str | None,
    now: int,
    tick: Progress | None = None,
    *,
    unfinished: bool = True,
    work: Work = AS_FITS,
) -> ReconcileReport:
    """Reconcile a billing month; without a name every open month, and the last one also where it is closed.

    ``unfinished`` also books the day that is not over, which every later call then books anew: for people who want to
    see today, not for a service that runs often. ``work`` says where it is done.
    """
    with opened(config) as engine:
        if name is None:
            start, end = unfinished_months(config, engine, now)
        else:
            asked = period_named(name, zone(config))
            start, end = asked.start, asked.end
        return reconcile_between(config, engine, start, end, now, tick=tick, unfinished=unfinished, work=work)


def unfinished_months(config: Config, engine: Engine, now: int) -> tuple[int, int]:
    """``[start, end)`` of every month that is open, from the first that was read: months are closed in order of time.

    The last month is among them also where it is closed: what is learnt of it soon after is a correction.
    """
    current = period_at(now, zone(config))
    starts = [period_at(current.start - 1, zone(config)).start]
    with read(engine) as connection:
        read_from = [connection.execute(select(func.min(t.c.start_at))).scalar() for t in (windows, coverage)]
    known = [period_at(first, zone(config)).start for first in read_from if first is not None]
    if known:
        closed = [period_named(s.name, zone(config)).end for s in period_states(engine) if not s.is_open]
        starts.append(max([min(known), *closed]))
    return min(starts), current.end


def reconcile_between(
    config: Config,
    engine: Engine,
    start: int,
    end: int,
    now: int,
    *,
    only: Collection[str] | None = None,
    tick: Progress | None = None,
    unfinished: bool = True,
    work: Work = AS_FITS,
) -> ReconcileReport:
    """Reconcile all node-days that touch ``[start, end)``, or those of ``only`` these machines. ``work`` says where."""
    return reconcile_range(
        engine, start, end, site(config, engine), rules(config),
        now=now, zone=zone(config), machines=only, unfinished=unfinished, progress=tick, work=work,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prices:
    """What a month is rated with: those it was closed with, else the settings'; and those of the months before it."""

    rates: Rates
    terms: Terms
    closed: bool
    earlier: Mapping[str, Rates]

    @property
    def cards(self) -> Cards:
        """As a statement takes them."""
        return Cards(self.rates, self.earlier)


def prices(config: Config, engine: Engine, period: Period) -> Prices:
    """The prices and terms of a month. What a month was closed with never changes, whatever the settings say."""
    closed = {s.name: s.closed_with for s in period_states(engine) if not s.is_open}
    before = {name: kept for name, kept in closed.items() if name < period.name}
    where = zone(config)
    earlier = {n: kept.rates if kept else rates(config, period_named(n, where)) for n, kept in before.items()}
    own = closed.get(period.name)
    if own is not None:
        return Prices(own.rates, own.terms, closed=True, earlier=earlier)
    return Prices(rates(config, period), terms(config), period.name in closed, earlier)


def statement(config: Config, engine: Engine, period: Period, at: Prices | None = None) -> Statement:
    """The statement of a billing month."""
    return month_statement(engine, period, (at or prices(config, engine, period)).cards)


def served(engine: Engine, period: Period, at: Prices) -> Statement:
    """The same for a service: what is known of jobs in words is read when it is asked for."""
    return replace(month_statement(engine, period, at.cards), words=Asked(engine))


def write_statement(config: Config, name: str, folder: Path, more: More = lambda *_: {}) -> Sequence[Path]:
    """Write a month's chargeback, summary and notes, and ``more``; the paths of the files."""
    with opened(config) as engine:
        period = known_month(engine, name, zone(config))
        at = prices(config, engine, period)
        closed = next((s for s in period_states(engine) if s.name == name and not s.is_open), None)
        owed = recovered_time(engine, period.start, period.end, closed.closed_at if closed else None)
        kept = closed.closed_with.doubts if closed and closed.closed_with else ()
        month = statement(config, engine, period, at)
        told = kept if at.closed else doubts(engine, period)
        unmetered = not_metered(engine, period.end, config.devices.resources)
        basis = Basis(at.closed, {name: at.earlier[name] for name in month.corrected}, owed, told, unmetered)
        return write_files(folder, month, at.rates, at.terms, basis, more(engine, period, month))


def export_beancount(config: Config, name: str, file: Path) -> None:
    """Write a month's books as a Beancount ledger."""
    with opened(config) as engine:
        write_atomic(file, beancount.export(engine, known_month(engine, name, zone(config)), zone(config)))


def rejects(config: Config, limit: int) -> list[tuple[str, str, str, str]]:
    """What was set aside and is not mended: when, source, reason, and the record as far as it fits a line."""
    with opened(config) as engine:
        found = set_aside.rejects(engine)[-limit:]
    return [
        (
            datetime.fromtimestamp(r.seen_at, UTC).isoformat(timespec="seconds"),
            f"{r.source} {r.cluster}".strip(),
            r.reason,
            r.record.decode(errors="backslashreplace")[:200],
        )
        for r in reversed(found)
    ]
