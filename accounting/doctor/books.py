"""How far the ledger has come, and what in it waits for somebody."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, Engine, func, select

from accounting.doctor.finding import Finding, look, well, wrong
from accounting.store.calendar import OPEN
from accounting.store.database import LedgerError, read
from accounting.store.tables import coverage, cursors, periods, rejects
from exporters.config import Config

LATE = 3
"""So many intervals without a step, and a reading counts as stopped."""


def books(config: Config, engine: Engine, now: int) -> Iterator[Finding]:
    """Whether history is read, rounds are recorded and months are closed; nothing is proved: `check` does that."""
    with read(engine) as connection:
        yield from _histories(config, connection, now)
        yield from _rounds(config, connection, now)
        yield from _rejects(connection)
        yield from _months(config, connection, now)


def _histories(config: Config, connection: Connection, now: int) -> Iterator[Finding]:
    known = {(r.source, r.cluster): int(r.position) for r in connection.execute(select(cursors))}
    for cluster in config.slurm:
        if not cluster.history.enabled:
            continue
        positions = [at for (_, name), at in known.items() if name == cluster.cluster]
        about = f"history of {cluster.cluster}"
        if not positions:
            yield wrong(
                about,
                "it was never read into the ledger",
                "no Slurm job is on any statement",
                "run meterbridge serve, or meterbridge ingest on a clock of your own",
            )
        elif now - max(positions) > LATE * cluster.history.interval:
            yield wrong(
                about,
                f"it was last read up to {(now - max(positions)) / 3600:.1f} h ago",
                "what ended since then is not charged yet",
                "does meterbridge serve run, and what does its log say of the task ingest?",
            )
        else:
            yield well(about, f"read up to {now - max(positions)} s ago")


def _rounds(config: Config, connection: Connection, now: int) -> Iterator[Finding]:
    last = connection.execute(select(func.max(coverage.c.end_at)).where(coverage.c.kind == "round")).scalar()
    if last is None:
        yield wrong(
            "live recording",
            "no round of an exporter is in the ledger",
            "pods, and which card each job held, are known to nobody afterwards",
            "run meterbridge exporter with the same ledger.url",
        )
    elif now - last > LATE * max(60.0, config.join_interval):
        yield wrong(
            "live recording",
            f"the last round is {(now - last) / 60:.0f} min old",
            "what pods hold since then is unknown, and charged to nobody",
            "does the exporter run, and reach the ledger (meterbridge_recorder_pending_rounds)?",
        )
    else:
        yield well("live recording", f"the last round is {now - last} s old")


def _rejects(connection: Connection) -> Iterator[Finding]:
    c = rejects.c
    query = select(c.source, func.count()).where(c.resolved_at.is_(None)).group_by(c.source).order_by(c.source)
    for source, count in connection.execute(query):
        yield look(
            f"records of {source}",
            f"{count} were set aside",
            "what they tell is on no statement",
            "meterbridge rejects shows each with its reason",
        )


def _months(config: Config, connection: Connection, now: int) -> Iterator[Finding]:
    settle = config.ledger.settle if config.ledger else 0.0
    for month in connection.execute(select(periods).where(periods.c.state == OPEN).order_by(periods.c.start_at)):
        if now > month.end_at + settle:
            yield look(
                f"month {month.name}",
                "it is over and still open",
                "its statement can change with every record that comes late",
                f"meterbridge settle {month.name}, then close and seal it",
            )


def ledger_error(error: LedgerError) -> Finding:
    """A ledger that cannot be opened."""
    return wrong("ledger", str(error), "nothing is kept: no history, no statement", "as it says")
