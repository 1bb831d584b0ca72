"""What prices depend on of jobs, out of what is known of them in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from accounting.rates.rating import LABEL, NAMESPACE, QUEUE, SEEN
from accounting.statements.known.held import is_held
from accounting.statements.known.jobs import JOB, Words
from exporters.model import Scheduler

_OF_KUBERNETES = {NAMESPACE: "account", QUEUE: "partition"}
"""What is told of Kubernetes alone, and the words that tell it."""

_IDENTITY = ("scheduler", "cluster")
"""What a job is known by, and so is never told otherwise."""


def asked(seen: Collection[str]) -> list[str]:
    """The facts of jobs among the columns that prices depend on."""
    own = [name for name in SEEN if name in seen and (name in JOB or name in _OF_KUBERNETES or is_held(name))]
    return [*own, *sorted(name for name in seen if name.startswith(LABEL))]


def looked_at(seen: Collection[str]) -> list[str]:
    """Those of them that a scheduler may tell otherwise later."""
    return [name for name in asked(seen) if name not in _IDENTITY]


def facts_of(jobs: pl.Series, words: Words, names: Sequence[str]) -> pl.DataFrame:
    """A column for each of some facts of jobs, in the order of the jobs."""
    if not names:
        return pl.DataFrame()
    there = pl.col("scheduler").cast(pl.String) == Scheduler.KUBERNETES.value
    own = {n: pl.when(there).then(pl.col(of).cast(pl.String)).otherwise(pl.lit("")) for n, of in _OF_KUBERNETES.items()}
    told = words(jobs, [*JOB, *filter(is_held, names)])
    return told.select(own.get(name, pl.col(name)).alias(name) for name in names)
