"""The live side at fleet size: whole rounds over real HTTP, against Prometheus, against more nodes, against churn."""

from __future__ import annotations

import gzip
import statistics
import sys
from collections.abc import Iterator
from typing import Any

from exporters.exposition.negotiate import Form
from exporters.exposition.page import Page
from exporters.exposition.writer import Writer
from tests.bench import worker
from tests.bench.exposition import series_rounds
from tests.bench.fleet import running
from tests.bench.measure import RUNS, Figure, figure, race, ratio
from tests.bench.prometheus import scraping
from tests.bench.worker import ROUND, Order

NODES, JOBS = 1000, 2000
GROWTH = (1000, 2000, 4000, 8000)
PER_SECOND, TURNS = 200, 21
SCRAPE_SECONDS = 5
PACE = 250
"""Endpoints that one core of a busy machine can be asked a second, also those whose pages were never seen."""


def figures() -> Iterator[Figure]:
    """Every figure of this file; it takes some four minutes."""
    yield compressing()
    with running(max(GROWTH)) as urls:
        yield from against_prometheus(urls[:NODES])
        yield churn(urls[:NODES])
        yield growth(urls)
        yield answering(urls[:NODES])


def compressing() -> Figure:
    """A page of 80,000 series, against what prometheus-client's handler does by default."""
    blocks = Writer().render(series_rounds(80_000)[:1])
    plain = Page(blocks).body()
    seconds = race({"ours": lambda: Page(blocks).body(Form.TEXT, True), "theirs": lambda: gzip.compress(plain)}, runs=3)
    return figure("compress_vs_prometheus_client", ratio(seconds["theirs"], seconds["ours"]), "times faster", 10)


def against_prometheus(urls: list[str]) -> Iterator[Figure]:
    """Rounds of ours, and two of Prometheus over the same endpoints just before each few of them."""
    ours, theirs = [], []
    with scraping(urls, SCRAPE_SECONDS) as server:
        server.wait(3)
        for _ in range(RUNS):
            began, used = server.rounds(), server.cpu()
            server.wait(began + 2)
            theirs.append((server.cpu() - used) / (server.rounds() - began))
            found = _measured(Order(urls, JOBS, rounds=3))
            ours.append(statistics.median(found["seconds"]))
            memory = found["rss"] / server.memory()
    yield figure("round_vs_prometheus_cpu", ratio(ours, theirs), "of its CPU", 0.5, "lower")
    yield figure("round_vs_prometheus_memory", [memory], "of its memory", 0.4, "lower")


def churn(urls: list[str]) -> Figure:
    """A round in which 200 jobs a second began and as many ended, to one without; one card each.

    Ended jobs are shown for two scrapes: at this pace five minutes of them would be 60,000.
    """
    found = worker.churn(Order(urls, 8 * NODES, int(PER_SECOND * ROUND), rounds=TURNS, linger=30.0))
    if found["read"] != 2 * [[len(urls), 0]]:
        raise RuntimeError(f"endpoints read and failed: {found['read']} of {len(urls)}")
    return figure("churn_200_per_second", ratio(found["busy"], found["calm"]), "times a calm round", 1.2, "lower")


def growth(urls: list[str]) -> Figure:
    """CPU per node of the dearest fleet to the smallest. All are asked at the same pace: together is cheaper."""
    cost = {n: _round(Order(urls[:n], 2 * n, rounds=3, interval=n / PACE)) / n for n in GROWTH}
    print("CPU per node and round, microseconds:", {n: round(1e6 * c) for n, c in cost.items()}, file=sys.stderr)
    return figure("growth_cpu_per_node", [max(cost.values()) / cost[GROWTH[0]]], "times at 1,000 nodes", 1.15, "lower")


def answering(urls: list[str]) -> Figure:
    """How long /metrics takes at p99 while rounds run, asked as Prometheus asks."""
    found = worker.serve(Order(urls, JOBS, rounds=8))
    return figure("metrics_p99_in_a_round", [found["p99"] * 1000], "ms", 150, "lower")


def _round(order: Order) -> float:
    seconds: list[float] = _measured(order)["seconds"]
    return statistics.median(seconds)


def _measured(order: Order) -> dict[str, Any]:
    """What the worker found. Raises RuntimeError where it did not read every endpoint: that would be cheap."""
    found = worker.run(order)
    if found["read"] != [len(order.targets), 0]:
        raise RuntimeError(f"endpoints read and failed: {found['read']} of {len(order.targets)}")
    return found
