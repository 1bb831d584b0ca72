"""What prices depend on of jobs, as it was said when a month was closed.

A scheduler may say later that a job had another QOS or partition. A closed month is rated for ever with what was said
then: it is kept beside it, for each job of the month and of the corrections booked in it, as far as the month's prices
look at it. A month whose prices do not look at it keeps nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence

import polars as pl
from sqlalchemy import Connection, select

from accounting.statements.known.facts import facts_of, looked_at
from accounting.statements.known.jobs import Words
from accounting.store.columns import Columns
from accounting.store.database import insert_many
from accounting.store.rows import compact
from accounting.store.tables import closed_jobs

_C = closed_jobs.c


def nothing_kept() -> pl.DataFrame:
    """What was kept with no month."""
    return pl.DataFrame(schema={"month": pl.String, "job": pl.Int64, "facts": pl.String})


def to_keep(usages: pl.DataFrame, words: Words, seen: Collection[str], kept: pl.DataFrame, month: str) -> pl.DataFrame:
    """``job`` and ``facts`` (JSON) of the jobs of a month's usages, in the order of their ids.

    None where prices look at nothing that may be told otherwise. What was ``kept`` with that month is what it was.
    """
    names = looked_at(seen)
    jobs = usages.filter(pl.col("job") > 0)["job"].unique().sort()
    if not names or not len(jobs):
        return pl.DataFrame(schema={"job": pl.Int64, "facts": pl.String})
    facts = overlaid(facts_of(jobs, words, names), jobs, kept, [month]).select(pl.all().cast(pl.String))
    texts = {row: compact(dict(zip(facts.columns, row, strict=True))) for row in facts.unique().iter_rows()}
    return pl.DataFrame({"job": jobs, "facts": [texts[row] for row in facts.iter_rows()]})


def digest_of(kept: pl.DataFrame, words: Words) -> str:
    """SHA-256 over what is kept, jobs by their names; empty for nothing."""
    if not kept.height:
        return ""
    found = hashlib.sha256()
    runs = words(kept["job"]).select(pl.col("scheduler", "cluster", "run").cast(pl.String))
    for row in sorted((*run, facts) for run, facts in zip(runs.iter_rows(), kept["facts"], strict=True)):
        found.update((compact(row) + "\n").encode())
    return found.hexdigest()


def keep(connection: Connection, period: str, kept: pl.DataFrame) -> None:
    """Keep them with a month that is being closed, in the caller's transaction."""
    rows = [(period, job, facts) for job, facts in kept.select("job", "facts").iter_rows()]
    insert_many(connection, closed_jobs, ("period", "job_id", "facts"), rows)


def kept_in(ledger: Columns, periods: Sequence[str]) -> pl.DataFrame:
    """What was kept with some months: ``month``, ``job``, ``facts``."""
    query = select(_C.period.label("month"), _C.job_id.label("job"), _C.facts).where(_C.period.in_(periods))
    return pl.DataFrame(ledger.table(query))


def overlaid(facts: pl.DataFrame, jobs: pl.Series, kept: pl.DataFrame, months: Sequence[str]) -> pl.DataFrame:
    """The facts of jobs, as the first of some months that has them kept them; else as they are."""
    for month in reversed(months):
        mine = kept.filter(pl.col("month") == month)
        if not mine.height:
            continue
        texts = mine["facts"].unique(maintain_order=True)
        told = [json.loads(text) for text in texts]
        names = [name for name in facts.columns if any(name in one for one in told)]
        values = pl.DataFrame({"facts": texts, **{f"_{n}": [one.get(n) for one in told] for n in names}})
        there = pl.DataFrame({"job": jobs}).join(
            mine.select("job", "facts").join(values, on="facts"), on="job", how="left", maintain_order="left"
        )
        facts = facts.with_columns(
            pl.Series(name, there[f"_{name}"]).fill_null(facts[name].cast(pl.String)) for name in names
        )
    return facts
