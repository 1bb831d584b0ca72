"""History into the ledger: window by window, idempotent, with a durable cursor.

Records and their keys are committed together, in batches; when a window was read to its end, its counts are checked

    read = charged + excluded + pending + rejected

and committed with the coverage it gives and the cursor behind it. So a source that fails midway, or a process that is
killed, loses nothing: what was committed stays, and the next call reads that window again, which changes nothing.
Every call begins an ``overlap`` before the cursor, for records that reached the scheduler's database late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection, Engine, select

from accounting.intake.coverage import cover_window
from accounting.intake.events import keep_events
from accounting.intake.records import Kept, keep, version_of_record
from accounting.intake.rejects import aside_of, set_aside
from accounting.model import DAY
from accounting.store.database import chunks, next_id, read, upsert, write
from accounting.store.garbage import uncollected
from accounting.store.rows import compact
from accounting.store.tables import cursors, windows
from exporters.model import Claim, JobKey, NodeEvent, Record, Reject, Scheduler

BATCH = 5000
"""Records per transaction: bounds memory, and how long other writers wait."""

MOST_MILLIGPU = 4_096_000
"""What one claim can hold on one machine: more is no count."""

Progress = Callable[[int, int, int], None]
"""Called after each window: seconds done, seconds in all, records read so far."""


class HistorySource(Protocol):
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


@dataclass(frozen=True, slots=True)
class IntakeReport:
    """What an intake did: every record read is in exactly one of charged, excluded, pending and rejected.

    ``kept`` says how many of them were news. ``position`` is the cursor: everything before it was read.
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


def ingest_history(
    engine: Engine,
    source: HistorySource,
    *,
    now: int,
    start: int,
    overlap: int = 7200,
    step: int = DAY,
    progress: Progress | None = None,
) -> IntakeReport:
    """Read a history from its cursor less ``overlap`` (``start`` the first time) up to ``now``, in windows of ``step``.

    Raises what the source raises; the windows before that stand, and the cursor is behind them.
    """
    if step <= 0 or overlap < 0:
        raise ValueError(f"step must be positive and overlap not negative, not {step} and {overlap}")
    position = cursor(engine, source.name, source.cluster)
    first = start if position is None else max(min(start, position), position - overlap)
    total = _Count()
    done = 0
    for begin in range(first, now, step):
        end = min(begin + step, now)
        _window(engine, source, begin, end, now, total)
        done += 1
        if progress is not None:
            progress(end - first, now - first, total.read)
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
    )


def cursor(engine: Engine, source: str, cluster: str) -> int | None:
    """How far a source has been read, None when never."""
    query = select(cursors.c.position).where(cursors.c.source == source, cursors.c.cluster == cluster)
    with read(engine) as connection:
        return connection.execute(query).scalar_one_or_none()


class _Count:
    """Running counts of one window, or of all."""

    def __init__(self) -> None:
        self.read = self.charged = self.pending = self.rejected = self.events = 0
        self.excluded: Counter[str] = Counter()
        self.kept = Kept()

    def add(self, other: _Count) -> None:
        self.read += other.read
        self.charged += other.charged
        self.pending += other.pending
        self.rejected += other.rejected
        self.events += other.events
        self.excluded += other.excluded
        self.kept += other.kept


def _window(engine: Engine, source: HistorySource, start: int, end: int, now: int, total: _Count) -> None:
    """Read one window; its last transaction holds its counts, its coverage and the cursor."""
    count = _Count()
    scheduler = Scheduler.SLURM
    for batch in chunks(source.records(start, end), BATCH):
        with uncollected(), write(engine) as connection:
            _keep_batch(connection, source.cluster, batch, now, count)
        scheduler = next((r.job.key.scheduler for r in batch if isinstance(r, Record)), scheduler)
    events = list(source.events(start, end))
    with write(engine) as connection:
        good = [e for e in events if isinstance(e, NodeEvent)]
        bad = [aside_of(e, source.cluster) for e in events if isinstance(e, Reject)]
        backwards = [e for e in good if e.end is not None and e.end < e.start]
        bad += [aside_of(_reject_event(e, source.name), source.cluster) for e in backwards]
        set_aside(connection, bad, now)
        keep_events(connection, source.name, [e for e in good if e not in backwards], now)
        count.events += len(events)
        _close_window(connection, source, scheduler, (start, end), now, count)
    total.add(count)


def _keep_batch(connection: Connection, cluster: str, batch: list[Record | Reject], now: int, count: _Count) -> None:
    versions, bad = [], []
    for item in batch:
        count.read += 1
        reject = item if isinstance(item, Reject) else senseless(item, now)
        if reject is not None:
            count.rejected += 1
            bad.append(aside_of(reject, cluster))
            continue
        version = version_of_record(item, cluster)  # type: ignore[arg-type]
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


def senseless(record: Record, now: int) -> Reject | None:
    """What is wrong with a record, as a `Reject`; None when it can be used."""
    reason = _fault(record, now)
    return Reject(record.source, record.raw, reason, now) if reason else None


def _fault(record: Record, now: int) -> str:
    """The first thing that makes no sense, empty when all does."""
    job, claims = record.job, record.claims
    if job.start is not None and job.end is not None and job.end < job.start:
        return f"job {job.display_id} ends before it starts: {job.start} to {job.end}; correct it in the scheduler"
    if claims and record.excluded:
        return f"job {job.display_id} both holds cards and is excluded ({record.excluded})"
    if not claims and not record.excluded and not record.pending:
        return f"job {job.display_id} ended, holds no cards, and nothing says why"
    for claim in claims:
        reason = _claim_fault(claim, job.key, now)
        if not reason and claim.end is None and not record.pending:
            reason = "ended, but the claim has no end"
        if reason:
            return f"job {job.display_id} on node {claim.node.name}: {reason}"
    return ""


def _claim_fault(claim: Claim, holder: JobKey, now: int) -> str:
    start, end = claim.start, claim.end
    if claim.job is not holder and claim.job != holder:
        return f"the claim is of another job, {claim.job}"
    if not 0 < claim.milligpu <= MOST_MILLIGPU:
        return f"{claim.milligpu} milliGPU cannot be held on one machine"
    if end is not None and end < start:
        return f"ends before it starts: {start} to {end}; correct it in the scheduler"
    if start < 0 or start > now + DAY:
        return f"starts at {start}, which is not a past time; check the clock"
    if end is not None and end > now + DAY:
        return f"ends at {end}, which is not a past time; check the clock"
    return ""


def _reject_event(event: NodeEvent, source: str) -> Reject:
    return Reject(source, repr(event), f"event of node {event.key} ends before it starts: {event.start} to {event.end}")
