"""The production statement of usages that a test made up, without a ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import polars as pl

from accounting.rates.rating import Rates
from accounting.statements import Statement
from accounting.statements.categories import ordered
from accounting.statements.known.held import HELD
from accounting.statements.known.jobs import FEW, JOB, Known
from accounting.statements.lines import Cards, stated
from accounting.statements.usage import MEASURES, WORDS
from accounting.store.database import storable
from exporters.model import JobKey
from tests.accounting.plain_lines import Usage
from tests.accounting.usages import PERIOD, RATES


def alike(usages: Iterable[Usage]) -> list[Usage]:
    """The same as a ledger has them: each line of a job says the same of it, nobody's say nothing, in storable text."""
    first: dict[JobKey, Usage] = {}
    found = []
    for u in usages:
        who = first.setdefault(u.job, u) if u.job else None
        words = ("job_name", "user", "account", "partition", "qos")
        found.append(replace(u, **{name: storable(getattr(who, name)) if who else "" for name in words}))
    return found


def tables(usages: Sequence[Usage], corrects: str = "") -> tuple[pl.DataFrame, Known]:
    """Usages as a table, and what is known of their jobs."""
    keys = sorted({key for u in usages for key in (u.job, u.linked) if key}, key=lambda k: (k.id, k))
    ids: dict[JobKey | None, int] = {None: 0} | {key: n for n, key in enumerate(keys, start=1)}
    said: dict[JobKey, Usage] = {}
    for u in usages:
        if u.job:
            said.setdefault(u.job, u)
    rows = [
        (
            storable(u.project), ids[u.job], u.gpu_model, u.disposition.value if u.disposition else "", ids[u.linked],
            u.charged, u.held, u.start, u.end,
            *(
                (u.observed_gpu_seconds, u.active_seconds, u.energy_joules, u.samples_seen, u.samples_expected)
                if u.samples_expected or u.samples_seen
                else [None] * 5
            ),
        )
        for u in usages
    ]  # fmt: skip
    many, whole, measure = pl.Categorical, pl.Int64, pl.Float64
    schema: Mapping[str, object] = {
        "project": many, "job": whole, "gpu_model": many, "disposition": WORDS, "linked": whole, "charged": whole,
        "held": whole, "start": whole, "end": whole, **dict.fromkeys(MEASURES, measure),
    }  # fmt: skip
    table = pl.DataFrame(rows, schema, orient="row").with_columns(corrects=pl.lit(corrects, pl.Categorical))  # type: ignore[arg-type]
    jobs = [(0, *[""] * len(JOB)), *((ids[key], *_words(key, said.get(key))) for key in keys)]
    words = pl.DataFrame(jobs, {"id": whole, **dict.fromkeys(JOB, pl.String)}, orient="row")
    words = words.with_columns(pl.lit("").alias(name) for name in HELD)
    return table, Known(words.with_columns(ordered(words[name]) for name in FEW))


def _words(key: JobKey, said: Usage | None) -> tuple[str, ...]:
    told = (said.job_name, said.user, said.account, said.partition, said.qos, said.state) if said else ("",) * 6
    return key.scheduler.value, storable(key.cluster), storable(key.id), *map(storable, told)


def produced(
    usages: Sequence[Usage],
    rates: Rates = RATES,
    period: str = PERIOD,
    held: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> Statement:
    """The statement of a month with these usages; ``held`` are facts of what runs held, by the run."""
    table, words = tables(usages)
    names = sorted({name for facts in held.values() for name in facts})
    runs = words.table["run"].to_list()
    texts = (pl.Series(name, [held.get(run, {}).get(name, "") for run in runs], pl.String) for name in names)
    words = Known(words.table.with_columns(texts))
    return stated(table, words, Cards(rates, {}), period)
