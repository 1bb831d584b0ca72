"""A whole month: from raw records in a SQLite ledger to a closed, sealed period with its CSV.

The month of `tests.bench.month` is written into a ledger (`tests.bench.month_ledger`), which is not measured. Then a
process of its own reconciles, closes and seals it and writes its statement, as the commands do, and reconciles once
more after one more record. `make bench` takes half a million claims on 100 nodes; with METERBRIDGE_BENCH_FULL=1 also
5 million on 1,000 and 20 million on 4,000, which takes an hour or two, most of it to write the ledgers, and 50 GB of
room.

``python -m tests.bench.whole_month NODES`` prints one run; ``... NODES FOLDER`` keeps the ledger there for the next,
and ``... NODES FOLDER cards`` adds what the live side saw of every card.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event

from accounting.intake.records import keep
from accounting.intake.versions import version_of_record
from accounting.site import book, months
from accounting.store.database import write
from accounting.store.schema import open_ledger
from accounting.store.tables import claim_keys, claims, jobs, records
from exporters.config import Config, load
from exporters.model import Claim, Job, JobKey, NodeKey, Record, Scheduler
from tests.bench.measure import Figure, figure
from tests.bench.month import PERIOD
from tests.bench.month_cards import add_cards
from tests.bench.month_ledger import SEEN, fill, settings

NAME = "2026-01"
SMALL, FULL, LARGE = 100, 1000, 4000
"""Nodes of eight cards, with some 5,100 claims each."""

SLURM_ROLLUP = 200_000 / 95
"""Jobs per second of Slurm's own monthly rollup, measured on two cores: 200,000 jobs in 95 seconds."""

STAGES = "import sys; from tests.bench import whole_month; whole_month.main(['stages', sys.argv[1]])"
"""Like the console script: processes that it starts load their part of the program, and not all of this one."""

ROOT = Path(__file__).parent.parent.parent


def figures() -> list[Figure]:
    """Half a million claims; with METERBRIDGE_BENCH_FULL=1 also 5 million and 20 million, and how the cost grows."""
    with tempfile.TemporaryDirectory() as folder:
        small, seen = run(SMALL, Path(folder)), run(SMALL, Path(folder), cards=True)
    found = [
        figure("month_half_million", [small["seconds"]], "s, 0.5M claims", 14, "lower"),
        figure("month_vs_slurm_rollup", [_against_slurm(small)], "x jobs a second", 5),
        figure("month_one_day", [small["again"] / small["reconcile"]], "x reconcile", 0.2, "lower"),
        figure("month_every_card_seen", [seen["reconcile_cpu"] / small["reconcile_cpu"]], "x CPU without", 5, "lower"),
    ]
    if os.environ.get("METERBRIDGE_BENCH_FULL") == "1":
        full = run(FULL)
        found += [
            figure("whole_month", [full["seconds"]], "s, 5M claims", 120, "lower"),
            figure("whole_month_memory", [full["memory"]], "MB, all processes", 2000, "lower"),
            figure("whole_month_vs_slurm_rollup", [_against_slurm(full)], "x jobs a second", 10),
            figure("whole_month_one_day", [full["again"] / full["reconcile"]], "x reconcile", 0.1, "lower"),
            figure("whole_month_growth", [_growth(full, small)], "x CPU/claim, 5M:0.5M", 1.3, "lower"),
            figure("whole_month_growth_20m", [_growth(run(LARGE), small)], "x CPU/claim, 20M:0.5M", 1.3, "lower"),
        ]
    return found


def _against_slurm(found: dict[str, Any]) -> float:
    rate = f"{found['per_second']:,.0f} claims a second, Slurm's own rollup {SLURM_ROLLUP:,.0f} jobs"
    print(f"a month of {found['claims']:,} claims: {rate}", file=sys.stderr)
    return float(found["per_second"]) / SLURM_ROLLUP


def _growth(large: dict[str, Any], small: dict[str, Any]) -> float:
    """How much more CPU a claim takes."""
    return float(large["cpu"] / large["claims"] / (small["cpu"] / small["claims"]))


def run(nodes: int, folder: Path | None = None, *, cards: bool = False) -> dict[str, Any]:
    """Make a ledger, and take it through a month's end in a process of its own: seconds of each stage, and memory.

    With ``cards`` the live side saw every card of every claim.
    """
    with tempfile.TemporaryDirectory() as temporary:
        made = made_ledger(folder or Path(temporary), nodes)
        here = Path(temporary) / "month.db"
        shutil.copy(made, here)
        if cards:
            engine = open_ledger(f"sqlite:///{here}")
            add_cards(engine, nodes)
            engine.dispose()
        (Path(temporary) / "meterbridge.yaml").write_text(settings(f"sqlite:///{here}"))
        command = [sys.executable, "-c", STAGES, temporary]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def made_ledger(folder: Path, nodes: int) -> Path:
    """The ledger of a month that nobody has reconciled; made when it is not there."""
    path = folder / f"made-{nodes}.db"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    engine = open_ledger(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def careless(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=OFF").close()
        connection.execute("PRAGMA cache_size=-2000000").close()  # 2 GB: keys come in no order

    engine.dispose()
    indexes = sorted((i for table in (jobs, records, claims, claim_keys) for i in table.indexes), key=lambda i: i.name)
    with engine.begin() as connection:
        for index in indexes:
            index.drop(connection)
    fill(engine, nodes)
    with engine.begin() as connection:
        for index in indexes:  # of all rows at once it takes a fraction of the time
            index.create(connection)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


def stages(folder: Path) -> dict[str, Any]:
    """Take the month of a ledger from its records to its seal and its CSV; wall seconds of each stage."""
    config, found = load(folder / "meterbridge.yaml"), {}
    memory = Memory()

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begun, used = time.monotonic(), cpu()
        result = work()
        found[name], found[f"{name}_cpu"] = time.monotonic() - begun, cpu() - used
        print(f"{name:10} {found[name]:8.1f} s {found[f'{name}_cpu']:8.1f} CPU s", file=sys.stderr)
        return result

    report = timed("reconcile", lambda: book.reconcile_period(config, NAME, SEEN))
    claims = one_more(config)
    again = timed("again", lambda: book.reconcile_period(config, NAME, SEEN))
    timed("close", lambda: months.close_month(config, NAME, SEEN))
    timed("seal", lambda: months.seal_month(config, NAME, SEEN))
    timed("statement", lambda: book.write_statement(config, NAME, folder))
    if (report.posted, again.reposted) != (report.node_days, 1):
        raise RuntimeError(f"the month was not booked as expected: {report}, {again}")
    stages_ = ("reconcile", "close", "seal", "statement")
    seconds = sum(found[name] for name in stages_)
    return found | {
        "claims": claims,
        "seconds": seconds,
        "per_second": claims / seconds,
        "memory": memory.stop(),
        "cpu": sum(found[f"{name}_cpu"] for name in stages_),
    }


def cpu() -> float:
    """CPU seconds of this process and of all below it, also of those that have ended."""
    return sum(map(used, family(os.getpid())))


def used(pid: int) -> float:
    """CPU seconds of a process, and of those below it that have ended and that it has waited for."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, told[11:15])) / os.sysconf("SC_CLK_TCK")


def one_more(config: Config) -> int:
    """One more record, of a job of ten minutes on the fifteenth; the number of claims before it."""
    key, start = JobKey(Scheduler.SLURM, "hpc1", "late@0"), PERIOD[0] + 14 * 86_400 + 40_000
    job = Job(key, "late", "late", "late", "alice", "account-01", "gpu", start=start, end=start + 600)
    claim = Claim(key, key.id, NodeKey(Scheduler.SLURM, "hpc1", "gn0003"), 1000, start, start + 600, native_id="late")
    with book.opened(config) as engine:
        with engine.connect() as connection:
            claims = connection.exec_driver_sql("SELECT count(*) FROM claims").scalar_one()
        with write(engine) as connection:
            keep(connection, [version_of_record(Record("sacct", "late", job, (claim,)), "hpc1")], SEEN)
    return int(claims)


class Memory:
    """Looks now and then at how much memory this process and those that it started have together."""

    def __init__(self) -> None:
        self.most = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while not self.ended.wait(0.5):
            self.most = max(self.most, sum(map(resident, family(os.getpid()))))

    def stop(self) -> float:
        """MB at the most."""
        self.ended.set()
        self.thread.join()
        return self.most / 1e3


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        below = [
            int(n) for task in Path(f"/proc/{pid}/task").iterdir() for n in (task / "children").read_text().split()
        ]
    except FileNotFoundError:  # it has ended meanwhile
        return []
    return [pid, *(n for child in below for n in family(child))]


def resident(pid: int) -> int:
    """Kilobytes of a process that are its own; what it shares is counted once, by halves and thirds."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def main(arguments: list[str]) -> None:
    """Print a run, or do the work of one."""
    if arguments[0] == "stages":
        print(json.dumps(stages(Path(arguments[1]))))
        return
    folder = Path(arguments[1]) if len(arguments) > 1 else None
    found = run(int(arguments[0]), folder, cards="cards" in arguments[2:])
    print(json.dumps(found, indent=1))
    _against_slurm(found)


if __name__ == "__main__":
    main(sys.argv[1:])
