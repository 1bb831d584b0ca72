"""Dividing one busy node-day."""

from __future__ import annotations

from accounting.model import CapacityStretch, CoverageStretch, NodeDay
from accounting.reconcile.rule import Rules, reconcile
from exporters.model import Scheduler
from tests.accounting.site import DAY, T0, held
from tests.bench.measure import Figure, figure, race

CLAIMS = 96
DAYS = 10


def reconciling() -> Figure:
    """CPU milliseconds for a machine of eight cards on which a job begins every quarter of an hour."""
    claims = tuple(held(n, 1, T0 + n * 900, T0 + n * 900 + 5400) for n in range(CLAIMS))
    capacity = (CapacityStretch(T0, T0 + DAY, Scheduler.SLURM, "lab", "gn01", "h100", 8000, up=True),)
    day = NodeDay("gn01", T0, T0 + DAY, claims, capacity, (CoverageStretch(T0, T0 + DAY, Scheduler.SLURM, "lab"),))
    seconds = race({"days": lambda: [reconcile(day, Rules()) for _ in range(DAYS)]})
    return figure("reconcile_node_day", [s / DAYS * 1e3 for s in seconds["days"]], "CPU milliseconds", 50, "lower")
