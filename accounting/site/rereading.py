"""The history of a month is read once more when it is over and late records were waited for.

A window that moves on never selects again what ended before it, so a run that reached slurmdbd later than
``history.overlap`` is in no answer since. Reading what was read costs no duplicate.
"""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, func, select

from accounting.intake.history import ingest_history
from accounting.periods.settling import Open
from accounting.site.book import charges_live
from accounting.store.calendar import OPEN, Period, period_at, state
from accounting.store.database import read
from accounting.store.tables import windows
from exporters.config import Config, SlurmCluster
from exporters.sources.base import SourceError
from exporters.wiring import slurm


def read_again(config: Config, engine: Engine, period: Period, now: int) -> Iterator[Open]:
    """Read each Slurm cluster's history of a month once more, if that is due; what could not be read must be."""
    wait = int(config.ledger.settle) if config.ledger else 0
    for cluster in config.slurm:
        begin = due(engine, cluster, period, period.end + wait, now) if cluster.history.enabled else None
        if begin is None:
            continue
        h = cluster.history
        try:
            ingest_history(
                engine,
                slurm.history(cluster),
                now=now,
                start=begin,
                overlap=int(h.overlap),
                step=int(h.window),
                since=begin,
                until=period.end,
                charge_live=charges_live(config),
            )
        except SourceError as e:
            yield Open(True, f"the records of slurm {cluster.cluster} are to be read once more, and cannot be: {e}")


def last_month(config: Config, engine: Engine, now: int) -> None:
    """Read last month's history once more, if that is due. Raises `SourceError` where it cannot be read."""
    zone = ZoneInfo(config.time_zone)
    period = period_at(period_at(now, zone).start - 1, zone)
    if state(engine, period.name) == OPEN:
        wrong = [todo.what for todo in read_again(config, engine, period, now)]
        if wrong:
            raise SourceError("; ".join(wrong))


def due(engine: Engine, cluster: SlurmCluster, period: Period, ready: int, now: int) -> int | None:
    """From when on a cluster's history of a month is to be read once more; None while it is not, or when it was.

    ``ready`` is up to when late records are waited for. What was never read the first time is not read a second one.
    """
    if now < ready:
        return None
    w = windows.c
    of = (w.cluster == cluster.cluster, w.source == slurm.history(cluster).name)
    with read(engine) as connection:
        first, last = connection.execute(select(func.min(w.start_at), func.max(w.end_at)).where(*of)).one()
        if first is None or last < period.end:
            return None
        begin = max(period.start, first)
        query = select(w.start_at, w.end_at).where(*of, w.read_at >= ready, w.end_at > begin, w.start_at < period.end)
        reached = begin
        for start, end in connection.execute(query.order_by(w.start_at, w.end_at)):
            if start > reached:
                break
            reached = max(reached, end)
    return begin if reached < period.end else None
