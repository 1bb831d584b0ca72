"""History into the ledger: window by window, idempotent, with a durable cursor.

Records and their keys are committed together, in batches; when a window was read to its end, its counts are checked

    read = charged + excluded + pending + rejected

and committed with the coverage it gives and the cursor behind it. So a source that fails midway, or a process that is
killed, loses nothing: what was committed stays, and the next call reads that window again, which changes nothing.
Every call begins an ``overlap`` before the cursor, for records that reached the scheduler's database late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection, Engine, select

from accounting.garbage import uncollected
from accounting.intake.coverage import cover_window
from accounting.intake.events import keep_events
from accounting.intake.faults import backwards, senseless
from accounting.intake.open_runs import Asked, Doubt, OpenRuns
from accounting.intake.records import Kept, keep
from accounting.intake.rejects import aside_of, set_aside
from accounting.intake.runs_seen import Present, look
from accounting.intake.versions import version_of_record
from accounting.model import DAY
from accounting.store.database import chunks, next_id, read, upsert, write
from accounting.store.rows import compact
from accounting.store.tables import cursors, windows
from exporters.model import NodeEvent, Record, Reject, Scheduler
from exporters.sources.base import SourceError

BATCH = 5000
"""Records per transaction: bounds memory, and how long other writers wait."""

Progress = Callable[[int, int, int], None]
"""Called after each window: seconds done, seconds in all, records read so far."""


class RecordSource(Protocol):
    """A scheduler's own accounting of one cluster. ``name`` and ``cluster`` name its cursor; they never change.

    A record that cannot be read is yielded as a `Reject`; a source that cannot be read raises
    `exporters.sources.base.SourceError`.
    """

    name: str
    cluster: str

    def records(self, start: int, end: int) -> Iterable[Record | Reject]:
        """All runs that existed at some moment of ``[start, end)``, whole and not clipped, pending ones too."""
        ...

    def events(self, start: int, end: int) -> Iterable[NodeEvent | Reject]:
        """All node events that touch ``[start, end)``."""
        ...


class HistorySource(RecordSource, Protocol):
    """One that can be asked for jobs by their ids, too."""

    def again(self, native_ids: Sequence[str]) -> Iterable[Record | Reject]:
        """Every run of the jobs with these native ids, however old."""
        ...


@dataclass(frozen=True, slots=True)
class IntakeReport:
    """What an intake did: every record read is in exactly one of charged, excluded, pending and rejected.

    ``kept`` says how many of them were news. ``position`` is the cursor: everything before it was read. ``asked`` is
    how many open runs were asked for by id, ``doubts`` what of them stands in doubt, and ``others`` how
    many rows were told of other clusters, and left to them.
    """

    source: str
    cluster: str
    read: int = 0
    charged: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    rejected: int = 0
    events: int = 0
    windows: int = 0
    kept: Kept = field(default_factory=Kept)
    position: int = 0
    asked: int = 0
    doubts: Sequence[Doubt] = ()
    others: Mapping[str, int] = field(default_factory=dict)


def ingest_history(
    engine: Engine,
    source: HistorySource,
    *,
    now: int,
    start: int,
    overlap: int = 7200,
    step: int = DAY,
    progress: Progress | None = None,
    since: int | None = None,
    until: int | None = None,
    charge_live: bool = False,
) -> IntakeReport:
    """Read a history from its cursor less ``overlap`` (``start`` the first time) up to ``now``, in windows of ``step``.

    ``since`` begins there instead, and ``until`` ends before now: what was read is read again, which changes nothing
    but what is told otherwise. Up to now, runs that stay open are asked for by id (`accounting.intake.open_runs`), and
    those that slurmctld showed and nobody tells are charged if ``charge_live``.

    Raises what the source raises, and `SourceError` for an answer that cannot have been whole; the windows before that
    stand, and the cursor is behind them.
    """
    if step <= 0 or overlap < 0:
        raise ValueError(f"step must be positive and overlap not negative, not {step} and {overlap}")
    position = cursor(engine, source.name, source.cluster)
    first = start if position is None else max(min(start, position), position - overlap)
    first, last_second = first if since is None else since, now if until is None else until
    total = _Count()
    newest = position is None or now >= position  # an answer from before the last one says nothing of what is open now
    with read(engine) as connection:
        present = look(connection, source.cluster, now) if newest else Present()
        runs = OpenRuns(source.name, source.cluster, present, position or first, newest, charge_live=charge_live)
    done, doubts = 0, []  # type: tuple[int, Sequence[Doubt]]
    for begin in range(first, last_second, step):
        end = min(begin + step, last_second)
        doubts = _window(engine, source, begin, end, now, total, runs)
        done += 1
        if progress is not None:
            progress(end - first, last_second - first, total.read)
    last = cursor(engine, source.name, source.cluster)
    return IntakeReport(
        source.name,
        source.cluster,
        total.read,
        total.charged,
        dict(sorted(total.excluded.items())),
        total.pending,
        total.rejected,
        total.events,
        done,
        total.kept,
        start if last is None else last,
        total.asked,
        doubts,
        others_of(source),
    )


def others_of(source: HistorySource) -> Mapping[str, int]:
    """The rows of other clusters that a source was told, and left to them; of one that says whose rows it takes."""
    ours = getattr(source, "ours", None)
    return dict(ours.others) if ours is not None else {}


def cursor(engine: Engine, source: str, cluster: str) -> int | None:
    """How far a source has been read, None when never."""
    query = select(cursors.c.position).where(cursors.c.source == source, cursors.c.cluster == cluster)
    with read(engine) as connection:
        return connection.execute(query).scalar_one_or_none()


class _Count:
    """Running counts of one window, or of all."""

    def __init__(self) -> None:
        self.read = self.charged = self.pending = self.rejected = self.events = self.asked = 0
        self.excluded: Counter[str] = Counter()
        self.kept = Kept()

    def add(self, other: _Count) -> None:
        self.read += other.read
        self.charged += other.charged
        self.pending += other.pending
        self.rejected += other.rejected
        self.events += other.events
        self.asked += other.asked
        self.excluded += other.excluded
        self.kept += other.kept


def _window(
    engine: Engine, source: HistorySource, start: int, end: int, now: int, total: _Count, runs: OpenRuns
) -> Sequence[Doubt]:
    """Read one window; its last transaction holds its counts, coverage and cursor. What stands in doubt of it."""
    count = _Count()
    scheduler = Scheduler.SLURM
    runs.told.clear()  # of the last window alone: what is open is in every answer that reaches now
    for batch in chunks(source.records(start, end), BATCH):
        with uncollected(), write(engine) as connection:
            _keep_batch(connection, source.cluster, batch, now, count, runs)
        scheduler = next((r.job.key.scheduler for r in batch if isinstance(r, Record)), scheduler)
    judged = end == now and runs.newest
    lost = _ask_again(engine, source, now, count, runs) if judged else []
    doubts: Sequence[Doubt] = ()
    events = list(source.events(start, end))
    with write(engine) as connection:
        good = [e for e in events if isinstance(e, NodeEvent)]
        bad = [aside_of(e, source.cluster) for e in events if isinstance(e, Reject)]
        odd = [e for e in good if e.end is not None and e.end < e.start]
        bad += [aside_of(backwards(e, source.name), source.cluster) for e in odd]
        set_aside(connection, bad, now)
        keep_events(connection, source.name, [e for e in good if e not in odd], now)
        count.events += len(events)
        if judged:
            keep(connection, [*runs.lost(connection, lost), *runs.seen_only(connection, now)], now)
            doubts = runs.settle(connection, now)
        _close_window(connection, source, scheduler, (start, end), now, count)
    total.add(count)
    return doubts


def _ask_again(engine: Engine, source: HistorySource, now: int, count: _Count, runs: OpenRuns) -> list[Asked]:
    """Ask by id for the open runs that the answer up to now did not tell; those asked for.

    Raises `SourceError` where it comes out that the answer was not whole.
    """
    with write(engine) as connection:
        asked = runs.missing(connection, now)
    read_before = count.read
    for batch in chunks(source.again([a.native_id for a in asked]) if asked else (), BATCH):
        with uncollected(), write(engine) as connection:
            _keep_batch(connection, source.cluster, batch, now, count, runs)
    why = runs.not_whole(asked, read_before, now)
    if why:
        raise SourceError(
            f"the answer of {source.name} {source.cluster} was not whole: {why}. Nothing is taken as read by it. Is "
            "slurmdbd reachable from slurmctld, and may this user see all jobs (PrivateData)?"
        )
    count.asked = len(asked)
    return asked


def _keep_batch(
    connection: Connection, cluster: str, batch: list[Record | Reject], now: int, count: _Count, runs: OpenRuns
) -> None:
    versions, bad = [], []
    for item in batch:
        count.read += 1
        reject = item if isinstance(item, Reject) else senseless(item, now)
        if reject is not None:
            count.rejected += 1
            bad.append(aside_of(reject, cluster))
            continue
        version = version_of_record(runs.take(item), cluster)  # type: ignore[arg-type]
        versions.append(version)
        if version.outcome == "pending":
            count.pending += 1
        elif version.outcome == "excluded":
            count.excluded[version.reason] += 1
        else:
            count.charged += 1
    set_aside(connection, bad, now)
    count.kept += keep(connection, versions, now)


def _close_window(
    connection: Connection, source: HistorySource, scheduler: Scheduler, span: tuple[int, int], now: int, count: _Count
) -> None:
    start, end = span
    excluded = sum(count.excluded.values())
    if count.read != count.charged + excluded + count.pending + count.rejected:
        raise AssertionError(f"{source.name}: the window [{start}, {end}) lost a record: {vars(count)}")
    connection.execute(
        windows.insert().values(
            id=next_id(connection, windows),
            source=source.name,
            cluster=source.cluster,
            start_at=start,
            end_at=end,
            read_at=now,
            read=count.read,
            charged=count.charged,
            excluded=excluded,
            pending=count.pending,
            rejected=count.rejected,
            reasons=compact(count.excluded) if count.excluded else "",
        )
    )
    cover_window(connection, source.name, scheduler, source.cluster, start, end)
    put = upsert(cursors, connection.dialect.name).values(source=source.name, cluster=source.cluster, position=end)
    connection.execute(
        put.on_conflict_do_update(
            index_elements=["source", "cluster"],
            set_={"position": put.excluded.position},
            where=cursors.c.position < put.excluded.position,
        )
    )
