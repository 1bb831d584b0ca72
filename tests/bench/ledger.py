"""The month's reconciliation: against SQL, Polars and pandas, its memory, and how its cost grows.

``python -m tests.bench.ledger`` prints the figures; `run` returns them as entries of build/bench.json. What takes much
memory is measured in a process of its own: ``python -m tests.bench.ledger memory NODES`` or ``seconds NODES``.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from accounting.reconcile.rule import Rules
from accounting.reconcile.sweep import ACCOUNTS, Batch, Columns, Sweep
from tests.bench import plain_pandas, plain_polars
from tests.bench.measure import Figure, figure, race
from tests.bench.month import PERIOD, month
from tests.bench.rivals import Database, frames

NODES = 1000
"""Of eight cards; some 5,000 claims each make the month of the figures."""

GROWTH = (100, 1000, 4000)
ROOT = Path(__file__).parent.parent.parent


def run() -> dict[str, dict[str, Any]]:
    """All figures, as entries of build/bench.json."""
    return {f.name: f.entry() for f in figures()}


def figures() -> list[Figure]:
    """Measure all of it."""
    ours, slower = side_by_side()
    gc.collect()
    growth = {nodes: float(apart("seconds", nodes)) for nodes in GROWTH}
    return [
        figure("sweep_vs_duckdb", [slower["duckdb"] / ours], "x as fast", 12),
        figure("sweep_vs_polars", [slower["polars"] / ours], "x as fast", 8),
        figure("sweep_vs_pandas", [slower["pandas"] / ours], "x as fast", 20),
        figure("sweep_memory", [float(apart("memory", NODES))], "MB beside claims", 500, "lower"),
        figure("sweep_growth", [growth[GROWTH[-1]] / growth[GROWTH[0]]], "x per claim, 20M:0.5M", 1.3, "lower"),
        figure("sweep_growth_middle", [growth[GROWTH[1]] / growth[GROWTH[0]]], "x per claim, 5M:0.5M", 1.3, "lower"),
    ]


def side_by_side() -> tuple[float, dict[str, float]]:
    """CPU seconds of the sweep, the median of three runs; and of those who are slower, once."""
    site = month(NODES)
    seconds = race({"sweep": lambda: swept(site)}, runs=3)
    return statistics.median(seconds["sweep"]), rivals(site)


def swept(site: Columns) -> list[Batch]:
    """All postings of the month, kept in memory."""
    return [*Sweep(site, Rules(), PERIOD)]


def rivals(site: Columns) -> dict[str, float]:
    """CPU seconds of the same sweep in SQL, Polars and pandas, once they are known to come to the same."""
    tables = frames(site, PERIOD)
    database = Database(tables)
    found = {"duckdb": timed(database.sweep)}
    totals = {"duckdb": database.totals()}
    del database
    for name, work, given in (
        ("polars", plain_polars.sweep, {table: pl.from_pandas(frame) for table, frame in tables.items()}),
        ("pandas", plain_pandas.sweep, tables),
    ):
        gc.collect()
        begun = time.process_time()
        postings = work(**given)
        found[name] = time.process_time() - begun
        totals[name] = pl.DataFrame(postings[["machine", "account", "project", "quantity"]]).to_pandas()
    ours = pd.concat([batch.frame()[["machine", "account", "project", "quantity"]] for batch in swept(site)])
    disputed = ours.machine[ours.account == ACCOUNTS.index("disputed")].unique()
    by = ["machine", "account", "project"]
    for name, other in totals.items():
        one, two = (f[~f.machine.isin(disputed)].groupby(by).quantity.sum() for f in (ours, other))
        if not one.index.equals(two.index) or not (one == two).all():
            raise RuntimeError(f"{name} does not come to what the sweep does")
    return found


def timed(work: Callable[[], object]) -> float:
    """CPU seconds of some work."""
    gc.collect()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def apart(what: str, nodes: int) -> str:
    """Measure something in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.ledger", what, str(nodes)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def memory(nodes: int) -> float:
    """MB that the sweep takes at its peak beside the claims: the postings, all kept, and the work on them."""
    site = month(nodes)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what making the month took is given back, and does not serve the sweep
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = resident("VmRSS")
    kept = swept(site)
    peak = resident("VmHWM")
    del kept
    return (peak - before) / 1e3


def resident(field: str) -> int:
    """Kilobytes of memory, as the kernel has it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def seconds_per_claim(nodes: int) -> float:
    """CPU seconds for each claim of a month of so many nodes: the least of three times, as noise only ever adds."""
    site = month(nodes)
    return min(timed(lambda: drop(site)) for _ in range(3)) / len(site.job)


def drop(site: Columns) -> None:
    """Sweep a month and keep nothing of it."""
    for _ in Sweep(site, Rules(), PERIOD):
        pass


def main(arguments: list[str]) -> None:
    """Print the figures, or the one that is asked for."""
    if arguments:
        print({"memory": memory, "seconds": seconds_per_claim}[arguments[0]](int(arguments[1])))
        return
    for f in figures():
        sign = "at least" if f.better == "higher" else "at most"
        print(f"{f.name:<22} {f.value:>9.2f} {f.unit:<22} goal: {sign} {f.goal:g}{'' if f.reached else '   MISSED'}")


if __name__ == "__main__":
    main(sys.argv[1:])
