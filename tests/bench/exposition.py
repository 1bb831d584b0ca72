"""Reading a fleet's dcgm-exporter pages, and writing a page of series: against prometheus-client, on the same input."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from demo.dcgm_text import CardState, render
from exporters.exposition.family import Family
from exporters.exposition.reader import Reader
from exporters.exposition.writer import Writer, as_text
from tests.bench.measure import Figure, figure, race, ratio

NODES, ROUNDS = 25, 4
SERIES = 20_000
LABELS = ("scheduler", "cluster", "job_id", "project", "node", "gpu", "uuid", "gpu_model")


def pages(round_: int) -> list[bytes]:
    """One round of a small fleet: the same series every round, other values."""
    return [
        render(
            f"gn{node:03}",
            [
                CardState(i, f"GPU-{node:04}-{i}", engine=(round_ + i) % 7 / 7, energy=1e6 * node + 300 * round_)
                for i in range(8)
            ],
        ).encode()
        for node in range(NODES)
    ]


def reading() -> Figure:
    """A round as a running exporter reads it: the series are known, the values are new."""
    rounds = [pages(n) for n in range(ROUNDS)]
    readers = [Reader() for _ in range(NODES)]
    ours, theirs = cycle(rounds), cycle(rounds)

    def fast() -> None:
        for reader, page in zip(readers, next(ours), strict=True):
            reader.read(page)

    def reference() -> None:
        for page in next(theirs):
            for family in text_string_to_metric_families(page.decode()):
                list(family.samples)

    seconds = race({"ours": fast, "theirs": reference})
    values = ratio(seconds["theirs"], seconds["ours"])
    return figure("read_vs_prometheus_client", values, "times faster", 50)


class _Collector:
    """The fastest way that prometheus-client offers: a collector that yields whole families."""

    def __init__(self, family: Family) -> None:
        self.family = family

    def collect(self) -> Iterator[Metric]:
        metric = GaugeMetricFamily(self.family.name, self.family.help, labels=self.family.labels)
        for labels, value in self.family.rows:
            metric.add_metric(labels, value)
        yield metric


def series_rounds(series: int) -> list[Family]:
    """Rounds of one family: the same series, other values."""
    keys = [
        ("slurm", "hall", f"{n}@1790812500", "vision", f"gn{n % 99:02}", str(n % 8), f"GPU-{n}", "h100")
        for n in range(series)
    ]
    return [
        Family("bench_gpu_seconds", "A family.", "gauge", LABELS, [(key, n * 1.5 + r) for n, key in enumerate(keys)])
        for r in range(ROUNDS)
    ]


def writing() -> Figure:
    """A page of series whose values change every round."""
    rounds = series_rounds(SERIES)
    writer, registry, collector = Writer(), CollectorRegistry(), _Collector(rounds[0])
    registry.register(collector)
    ours, theirs = cycle(rounds), cycle(rounds)

    def reference() -> bytes:
        collector.family = next(theirs)
        return generate_latest(registry)

    seconds = race({"ours": lambda: as_text(writer.render([next(ours)])), "theirs": reference})
    return figure("write_vs_prometheus_client", ratio(seconds["theirs"], seconds["ours"]), "times faster", 17)
