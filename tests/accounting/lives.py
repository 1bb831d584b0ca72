"""The life of a ledger over a month's end, as steps: each is what one command or one process does, and may be repeated.

Two machines of eight cards from 29 October on: history in several windows and batches, live rounds, a dispute that is
ruled, October closed, a run that is told differently afterwards, and the seal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from sqlalchemy import Engine, select

from accounting.evidence.rulings import dispute_id
from accounting.intake.history import ingest_history
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.site import book
from accounting.store.database import connect, read
from accounting.store.tables import metadata
from exporters.model import Claim, NodeEvent, Record, Reject
from exporters.recorder import Round
from tests.accounting.october import HOUR, NOVEMBER, SETTLED, Site
from tests.accounting.site import (
    DAY,
    ended,
    gn,
    held,
    kn,
    node,
    pod,
    pod_job,
    run,
    running,
    slurm_job,
    waiting,
    without,
    workload,
)
from tests.accounting.test_recording import card, piece, pods, round_, slurm

FIRST = NOVEMBER - 3 * DAY
NOON = NOVEMBER - DAY // 2
LATE = SETTLED + HOUR
BATCH = 3
"""Records per transaction, and node-days."""

DISPUTED = dispute_id("gn01", sorted((run(1), workload("a"))))
A = pod("a", 1, FIRST + 2 * HOUR, FIRST + 4 * HOUR, 4, basis="finished")
B = pod("b", 2, FIRST + 27 * HOUR, NOVEMBER + 6 * HOUR, 2, basis="deleted")


@dataclass(frozen=True)
class Told:
    """A history that tells, window by window, what touches the window."""

    rows: Sequence[Record | Reject]
    node_events: Sequence[NodeEvent] = ()
    name: str = "sacct"
    cluster: str = "lab"

    def records(self, start: int, end: int) -> Iterator[Record | Reject]:
        for row in self.rows:
            if isinstance(row, Reject):
                if start <= row.at < end:
                    yield row
            elif (row.job.start or start) < end and (row.job.end or end) > start:
                yield row

    def again(self, native_ids: Sequence[str]) -> Iterator[Record | Reject]:
        yield from (r for r in self.rows if isinstance(r, Record) and r.job.native_id in native_ids)

    def events(self, start: int, end: int) -> Iterator[NodeEvent]:
        yield from (e for e in self.node_events if e.start < end and (e.end or end) > start)


def run_6(end: int = FIRST + 36 * HOUR) -> Record:
    return ended(6, FIRST + 12 * HOUR, end, nodes=(2,), cards=3)


EARLY = (
    ended(1, FIRST + HOUR, FIRST + 3 * HOUR, cards=6),
    Reject("sacct", "a line that is none", "this is not a row that sacct was asked for", FIRST + 5 * HOUR),
    run_6(),
    without(5),
    ended(2, FIRST + 35 * HOUR, FIRST + 59 * HOUR, nodes=(1, 2), cards=3),
    running(3, FIRST + 54 * HOUR, nodes=(1,), cards=2),
    waiting(4),
)
LATER = (
    *EARLY[:-2],
    ended(3, FIRST + 54 * HOUR, NOVEMBER + 5 * HOUR, nodes=(1,), cards=2),
    ended(4, NOVEMBER + 10 * HOUR, NOVEMBER + 12 * HOUR, cards=1),
    ended(7, NOVEMBER + 30 * HOUR, NOVEMBER + 31 * HOUR, nodes=(2,), cards=8),
)
EVENTS = (NodeEvent(gn(2), FIRST + 26 * HOUR, FIRST + 28 * HOUR, up=False, reason="dead fan"),)


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """The ledger for as long as it is needed."""
    engine = connect(url)
    try:
        yield engine
    finally:
        engine.dispose()


def ingest(url: str, rows: Sequence[Record | Reject], now: int, overlap: int = DAY) -> None:
    """Read the history in windows of a day, again from ``overlap`` before the cursor."""
    with opened(url) as engine, mock.patch("accounting.intake.history.BATCH", BATCH):
        ingest_history(engine, Told(rows, EVENTS), now=now, start=FIRST, overlap=overlap, step=DAY)


def watch(url: str, first: int, last: int) -> None:
    """Be the exporter from ``first`` to ``last``, with a round every twelve hours."""
    with opened(url) as engine:
        recorder = LedgerRecorder(engine, gap=13.0 * HOUR, flush_seconds=0)
        for at in range(first, last + 1, 12 * HOUR):
            recorder.record(seen_at(at))
        recorder.close()


def seen_at(at: int) -> Round:
    """What the live side shows at one moment."""
    there = [replace(p, end=None, end_basis="") for p in (A, B) if p.start <= at and (p.end or 0) > at]
    gone = [p for p in (A, B) if at - 12 * HOUR < (p.end or 0) <= at]
    second = node(kn(2), up=at != FIRST + 36 * HOUR, reason="" if at != FIRST + 36 * HOUR else "cordoned")
    rejected = [Reject("pods", '{"kind":"Pod"}', "a pod without a UID", at)] if at == FIRST + 12 * HOUR else []
    jobs = [pod_job(p.native_id.removeprefix("vision/")) for p in (*there, *gone)]
    slurm_side: list[Claim] = []
    if FIRST + 35 * HOUR <= at < FIRST + 59 * HOUR:
        slurm_side = [replace(held(2, n, FIRST + 35 * HOUR, None, 3), indices=(5, 6, 7)) for n in (1, 2)]
    return round_(
        at,
        pods(at, there, gone, [node(kn(1)), second], jobs, rejected),
        slurm(at, slurm_side, [node(gn(1)), node(gn(2))], [slurm_job(2, FIRST + 35 * HOUR)] if slurm_side else []),
        holdings=[card(n, p.job, machine=p.node.name) for p in there for n in range(p.milligpu // 1000)],
        telemetry=[piece(at - 60, at, job=p.job) for p in there],
    )


def reconcile(url: str, folder: Path, now: int) -> None:
    """What ``meterbridge reconcile`` does, for the days in question."""
    with opened(url) as engine:
        book.reconcile_between(Site(engine, folder).config(), engine, FIRST, now, now)


def door(url: str, folder: Path, now: int, *words: str) -> None:
    """One command at the front door."""
    with opened(url) as engine:
        Site(engine, folder, now=now).run(*words)


Step = Callable[[str, Path], None]

STEPS: Mapping[str, Step] = {
    "ingest": lambda url, _: ingest(url, EARLY, NOON),
    "watch": lambda url, _: watch(url, FIRST, NOON),
    "reconcile": lambda url, folder: reconcile(url, folder, NOON),
    "ingest on": lambda url, _: ingest(url, LATER, SETTLED, 5 * DAY),  # the whole month once more
    "watch on": lambda url, _: watch(url, NOON, SETTLED),
    "reconcile all": lambda url, folder: reconcile(url, folder, SETTLED),
    "rule": lambda url, folder: door(
        url, folder, SETTLED + 60, "rule", DISPUTED, "--to", str(run(1)), "--why", "it was first", "--author", "ada"
    ),
    "settle": lambda url, folder: door(url, folder, SETTLED + 120, "settle", "2026-10"),
    "close": lambda url, folder: door(url, folder, SETTLED + 180, "close", "2026-10"),
    "late": lambda url, _: ingest(url, [*LATER[:2], run_6(FIRST + 33 * HOUR), *LATER[3:]], LATE, 5 * DAY),
    "correct": lambda url, folder: reconcile(url, folder, LATE),
    "seal": lambda url, folder: door(url, folder, LATE + 60, "seal", "2026-10"),
    "state": lambda url, folder: (
        [door(url, folder, LATE, "statement", month, "--out", str(folder)) for month in ("2026-10", "2026-11")] and None
    ),
}
"""By name, in order."""


def contents(engine: Engine) -> dict[str, list[str]]:
    """Every row of every table, byte for byte, ids too; not of two that say when we ourselves did something.

    They are ``windows``, the log of what was read how often, and ``leases``, who records.
    """
    with read(engine) as connection:
        return {
            table.name: sorted(repr(tuple(row)) for row in connection.execute(select(table)))
            for table in metadata.sorted_tables
            if table.name not in {"windows", "leases"}
        }
