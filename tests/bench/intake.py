"""Intake of a history: how many records a second, and how it compares to the same with SQLAlchemy Core.

``python -m tests.bench.intake`` prints the figures. On PostgreSQL the server's work counts with the client's: CPU
seconds of both. The contestants take turns, each with a ledger of its own that grows from run to run.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from sqlalchemy import Engine, Table, create_engine, func, select, text

from accounting.intake.history import ingest_history
from accounting.model import DAY
from accounting.store.database import connect
from accounting.store.schema import open_ledger
from accounting.store.tables import claim_keys, claims, jobs, nodes, records
from exporters.model import LinkKey, LinkKind, Record
from tests.accounting.site import T0, History, ended, without
from tests.bench.core_intake import Core
from tests.bench.measure import Figure, figure, race, ratio
from tests.lab.postgres import PostgreSQL

RECORDS = 10_000
"""Records a run."""

RUNS = 5
NODES = 1000
_TRES = "billing=64,cpu=64,gres/gpu=4,gres/gpu:h100=4,mem=512G,node=1"


def told(first: int, number: int) -> list[Record]:
    """Records of runs ``first`` and after: 1.25 claims each; 1 of 20 holds no cards, 1 of 20 names a pod that it is."""
    return [_record(n) for n in range(first, first + number)]


def _record(n: int) -> Record:
    start = T0 + n * 7 % 1_728_000
    end = start + 600 + n % 5000
    kind = n % 20
    width = 4 if kind == 1 else 2 if kind < 5 else 1
    record = without(n) if kind == 0 else ended(n, start, end, [(n + w) % NODES for w in range(width)], 4)
    if kind == 6:
        keys = (LinkKey(LinkKind.SAME, "", f"vision/pod-{n}", "AdminComment"),)
        record = replace(record, claims=tuple(replace(c, keys=keys) for c in record.claims))
    return replace(
        record, raw="\x1f".join([record.raw, _TRES, _TRES, "/home/alice/projects/vision/run", "None", "0:0"])
    )


def figures() -> list[Figure]:
    """Measure on both databases."""
    with tempfile.TemporaryDirectory() as folder:
        found = _sqlite(Path(folder))
    server = PostgreSQL(Path(tempfile.mkdtemp(prefix="postgres-bench-")) / "cluster")
    server.root.parent.chmod(0o755)  # the server may run as a user of its own
    try:
        server.start()
        return [*found, *_postgresql(server)]
    finally:
        server.stop()
        server.root.parent.rmdir()


def _sqlite(folder: Path) -> list[Figure]:
    urls = [f"sqlite:///{folder / name}.db" for name in ("ledger", "core")]
    seconds = measured(urls[0], urls[1], time.process_time)
    return [
        figure("ledger_intake_sqlite", _rate(seconds["ledger"]), "records per CPU second", 12_000),
        figure("ledger_intake_known_sqlite", _rate(seconds["known"]), "records per CPU second", 50_000),
        figure("ledger_intake_vs_core_sqlite", ratio(seconds["core"], seconds["ledger"]), "x as fast", 1),
    ]


def _postgresql(server: PostgreSQL) -> list[Figure]:
    with create_engine(connect(server.url).url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("CREATE DATABASE core"))
    seconds = measured(server.url, server.address("core"), lambda: time.process_time() + server.cpu_seconds())
    return [
        figure("ledger_intake_postgresql", _rate(seconds["ledger"]), "records per CPU second", 10_000),
        figure("ledger_intake_known_postgresql", _rate(seconds["known"]), "records per CPU second", 40_000),
        figure("ledger_intake_vs_core_postgresql", ratio(seconds["core"], seconds["ledger"]), "x as fast", 3),
    ]


def _rate(seconds: list[float]) -> list[float]:
    return [RECORDS / s for s in seconds]


def measured(ledger_url: str, core_url: str, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each contestant and run: ``ledger`` and ``core`` read news, ``known`` what the ledger has already."""
    batches = [told(n * RECORDS, RECORDS) for n in range(RUNS + 1)]
    gc.collect()
    gc.freeze()  # in life the records come one by one, and are no burden to the collector
    ledger, plain = open_ledger(ledger_url), create_engine(connect(core_url).url)
    try:
        core = Core(plain)
        mine, known, yours = iter(batches), iter(batches), iter(batches)
        at = count(T0 + 100 * DAY)
        seconds = race(
            {
                "ledger": lambda: take(ledger, next(mine), next(at)),
                "known": lambda: take(ledger, next(known), next(at)),
                "core": lambda: core.ingest(next(yours)),
            },
            RUNS,
            clock,
        )
        agree(ledger, core)
        return seconds
    finally:
        gc.unfreeze()
        ledger.dispose()
        plain.dispose()


def take(engine: Engine, records: Sequence[Record], now: int) -> None:
    """Read a history that tells these records."""
    ingest_history(engine, History(records), now=now, start=now - 1, overlap=0)


def agree(ledger: Engine, core: Core) -> None:
    """RuntimeError unless both have kept as much: jobs, nodes, records, claims, link keys and milliGPU-seconds."""
    mine = kept(ledger, (jobs, nodes, records, claims, claim_keys))
    other = kept(core.engine, core.tables)
    if mine != other:
        raise RuntimeError(f"the ledger has {mine} rows and Core {other}")


def kept(engine: Engine, tables: Sequence[Table]) -> list[int]:
    """Rows of each table, and the milliGPU-seconds of the claims."""
    held = tables[3].c
    with engine.connect() as connection:
        rows = [connection.scalar(select(func.count()).select_from(t)) for t in tables]
        rows.append(connection.scalar(select(func.sum(held.milligpu * (held.end_at - held.start_at)))))
    return [int(n or 0) for n in rows]


def main() -> None:
    """Print the figures."""
    for f in figures():
        sign = "at least" if f.better == "higher" else "at most"
        print(f"{f.name:<34} {f.value:>10.2f} {f.unit:<24} goal: {sign} {f.goal:g}{'' if f.reached else '   MISSED'}")


if __name__ == "__main__":
    main()
