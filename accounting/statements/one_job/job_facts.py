"""A run as one mapping, which is what JSON prints; the text for people is made from it and from nothing else.

Hours and money are those of the statement's lines of that run, cell by cell. What nobody measured or told is None.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import polars as pl

from accounting.rates.rating import money, plain
from accounting.statements.chargeback import chargeback_rows
from accounting.statements.compose import Statement
from accounting.statements.hours import hours_text, micro_hours
from accounting.statements.html.waste import Waste, ended, idle, orphaned, pods_inside
from accounting.statements.measurements import measurements
from accounting.statements.one_job.advice import advice
from accounting.statements.one_job.runs_named import MORE_MEASURES, RunNamed
from accounting.statements.one_line.evidence_text import fit, moment
from accounting.statements.usage import MEASURES
from exporters.model import MILLI_PER_GPU, Disposition

Facts = dict[str, Any]
_CELLS = (
    "billing_period", "line_id", "project", "disposition", "gpu_model", "gpu_hours", "charged_gpu_hours", "unit_price",
    "amount", "currency", "linked_record",
)  # fmt: skip
_BYTES = 10**9


@dataclass(frozen=True, slots=True)
class OfMonth:
    """The lines of a month that are a run's, and those of the records that are shown beside it (pods inside)."""

    mine: Statement
    inside: Statement


def of_run(statement: Statement, job: int) -> OfMonth:
    """What a statement has of one run; each line as it is in the whole."""
    shown = (pl.col("linked") == job) & (pl.col("disposition") == "")
    # a month in which nothing was measured has columns without a type
    lines = statement.lines.with_columns(pl.col(*MEASURES).cast(pl.Float64))
    return OfMonth(
        replace(statement, lines=lines.filter(pl.col("job") == job), totals=()),
        replace(statement, lines=lines.filter(shown), totals=()),
    )


def job_facts(run: RunNamed, months: Sequence[OfMonth], held: pl.DataFrame, seen: pl.DataFrame, now: int) -> Facts:
    """Everything that is told of a run.

    ``held`` are the machines with its cards, ``seen`` what was measured there, both as
    `accounting.statements.one_job.runs_named` reads them; ``now`` is until when a run without an end ran.
    """
    lines = [line for month in months for line in _lines(month.mine)]
    counted = [line for line in lines if line["disposition"]]
    known = held.height > 0
    facts: Facts = {
        "job": run.told,
        "display_id": run.display_id or run.native_id,
        "name": run.name,
        "user": run.user,
        "account": run.account,
        "partition": run.partition,
        "qos": run.qos,
        "projects": sorted({line["project"] for line in lines if line["project"]}),
        "state": run.state,
        "submitted": _moment(run.submit),
        "started": _moment(run.start),
        "ended": _moment(run.end),
        "wait_seconds": None if run.submit is None or run.start is None else max(0, run.start - run.submit),
        "run_seconds": None if run.start is None else max(0, (now if run.end is None else run.end) - run.start),
        "time_limit_seconds": None,  # no source of history is asked for it
        "host_cpu_used": None,
        "host_memory_used": None,
        "cards": _cards(int(held["milligpu"].sum())) if known else None,
        "nodes": [*_nodes(held, seen)],
        "gpu_memory": None,  # no source tells history how full a card's memory was
        "lines": lines,
        "gpu_hours": plain(sum((Decimal(line["gpu_hours"]) for line in counted), Decimal(0))),
        "charged_gpu_hours": plain(sum((Decimal(line["charged_gpu_hours"]) for line in counted), Decimal(0))),
        "amounts": _amounts(counted),
        "inside": [*_inside(months)],
        "booked": {month.mine.billing_period: month.mine.state for month in months},
        "waste": _waste(months, run.state),
    }
    return {**facts, "advice": advice(facts)}


def _lines(month: Statement) -> Iterator[dict[str, str]]:
    for row in chargeback_rows(month, fit):
        yield {name: row[name] for name in _CELLS}


def _amounts(lines: Sequence[dict[str, str]]) -> dict[str, str]:
    """What it costs, by currency."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        sums[line["currency"]] += Decimal(line["amount"])
    return {currency: f"{amount:f}" for currency, amount in sorted(sums.items())}


def _inside(months: Sequence[OfMonth]) -> Iterator[Facts]:
    """Records that are shown beside the run, and counted on it: once."""
    for month in months:
        for row in chargeback_rows(month.inside, fit):
            job = f"{row['scheduler']}/{row['cluster']}/{row['job_id']}"
            yield {"billing_period": row["billing_period"], "job": job, "name": row["job_name"],
                   "gpu_hours": row["gpu_hours"], "line_id": row["line_id"]}  # fmt: skip


def _waste(months: Sequence[OfMonth], state: str) -> Facts:
    """Hours and money to no purpose, by why, as the page of a statement counts them; they overlap."""
    found: dict[str, list[Waste]] = {"idle": [], "orphaned": [], "failed": []}
    digits, currencies = 0, sorted({month.mine.currency for month in months})
    for month in months:
        lines, digits = month.mine.lines, month.mine.minor_digits
        found["idle"].append(idle(lines, digits))
        inside = pods_inside(month.inside.lines)
        if inside.height:
            found["orphaned"].append(orphaned(lines, inside))
        paid = lines.filter((pl.col("disposition") == Disposition.CHARGED.value) & (pl.col("corrects") == ""))
        found["failed"].extend(ended(paid.with_columns(state=pl.lit(state))).values())
    return {why: _told(some, digits, currencies) for why, some in found.items()}


def _told(some: Sequence[Waste], digits: int, currencies: Sequence[str]) -> Facts:
    """Several months together; money of two currencies is not added up."""
    currency = currencies[0] if len(currencies) == 1 else None
    known = [one for one in some if one.quantity is not None]
    if not known:
        return {"gpu_hours": None, "amount": None, "currency": currency}
    quantity, minor = sum(one.quantity or 0 for one in known), sum(one.minor or 0 for one in known)
    amount = money(Decimal(minor).scaleb(-digits), digits) if currency else None
    return {"gpu_hours": hours_text(micro_hours(quantity)), "amount": amount, "currency": currency}


def _nodes(held: pl.DataFrame, seen: pl.DataFrame) -> Iterator[Facts]:
    """A row for each machine: its cards, and what was measured, as the CSV prints it; None where nothing was."""
    cards = held.group_by("machine").agg(pl.col("milligpu").sum(), pl.col("gpu_model").unique().sort().str.join(", "))
    rows = cards.join(seen, on="machine", how="full", coalesce=True).sort("machine")
    measures = rows.select(pl.col("held").fill_null(0), pl.col(*MEASURES).fill_null(0.0))
    rows = pl.concat([rows, measurements(measures)], how="horizontal")
    for row in rows.iter_rows(named=True):
        tensor, out, into = (row[name] or 0.0 for name in MORE_MEASURES)
        observed, joules = row["gpu_seconds"] or 0.0, row["energy_joules"] or 0.0
        yield {
            "node": row["machine"],
            "cards": None if row["milligpu"] is None else _cards(row["milligpu"]),
            "gpu_model": row["gpu_model"] or "",
            "busy": row["avg_gpu_utilization"],
            # 0 is also what a card without these counters tells: it is not known then
            "tensor": f"{tensor / observed:.4f}" if observed and tensor else None,
            "power_watts": f"{joules / observed:.0f}" if observed and joules else None,
            "energy_kwh": row["energy_kwh"],
            "nvlink_sent_gb": f"{out / _BYTES:.3f}" if out else None,
            "nvlink_received_gb": f"{into / _BYTES:.3f}" if into else None,
            "coverage": row["telemetry_coverage"],
        }


def _cards(milligpu: int) -> str:
    return plain(Decimal(milligpu) / MILLI_PER_GPU)


def _moment(at: int | None) -> str | None:
    return None if at is None else moment(at)
