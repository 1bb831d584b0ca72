"""A round of the live recorder: 8,000 cards and 20,000 claims, of which nothing or little is news."""

from __future__ import annotations

import gc
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.store.schema import open_ledger
from exporters.recorder import Holding, Round, SourceReading, Telemetry
from tests.accounting.site import T0, gn, held, kn, node, pod, pod_job, slurm_job, workload
from tests.bench.measure import RUNS, Figure, figure

NODES, CARDS, PODS, JOBS = 1000, 8000, 10_000, 10_000
NEWS = 80
"""Pods that go and come in a round with news, and cards that change hands: one of a hundred."""


def figures() -> list[Figure]:
    """CPU seconds of a round, on SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_ledger(f"sqlite:///{Path(folder) / 'ledger.db'}")
        recorder = LedgerRecorder(engine, gap=300, flush_seconds=3600)
        seconds = []
        for n in range(2 * RUNS + 1):
            told = fleet(T0 + 15 * n, max(0, n - RUNS))
            gc.collect()
            begun = time.process_time()
            recorder.record(told)
            seconds.append(time.process_time() - begun)
        recorder.close()
    return [
        figure("ledger_live_round", seconds[1 : RUNS + 1], "CPU seconds", 0.3, "lower"),
        figure("ledger_live_round_news", seconds[RUNS + 1 :], "CPU seconds", 0.4, "lower"),
    ]


def fleet(at: int, generation: int) -> Round:
    """What is seen at a moment; the first `NEWS` pods are others in each generation."""
    names = [f"p{n}-{generation if n < NEWS else 0}" for n in range(PODS)]
    pods = SourceReading(
        "pods",
        "kube",
        at,
        [replace(pod_job(name), labels={"team": "a"}) for name in names],
        [pod(name, n % NODES, T0) for n, name in enumerate(names)],
        (),
        [node(kn(n)) for n in range(NODES)],
        (),
        "kubernetes",
    )
    slurm = SourceReading(
        "slurmctld",
        "lab",
        at,
        [slurm_job(n, T0, state="RUNNING") for n in range(JOBS)],
        [replace(held(n, n % NODES, T0, None, 4), indices=(0, 1, 2, 3)) for n in range(JOBS)],
        (),
        [node(gn(n)) for n in range(NODES)],
        (),
        "slurm",
    )
    cards = [
        Holding(f"gn{n // 8:04}", n % 8, f"GPU-{n}", workload(names[n]), f"pod-{names[n]}", 1000) for n in range(CARDS)
    ]
    pieces = [Telemetry(c.job, c.unit, c.machine, at - 15, at, 15.0, 7.0, 1.0, 100.0, 5.0, 6.0, 1, 1) for c in cards]
    return Round(at, (pods, slurm), cards, pieces)
