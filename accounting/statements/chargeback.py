"""The chargeback: one CSV line per project, job run and GPU model, and one per model of what nobody had.

Columns, in this order (docs/statements.md explains each to its reader):

    billing_period,project,scheduler,cluster,job_id,job_name,user,account_or_namespace,partition_or_queue,gpu_model,
    start,end,gpu_hours,charged_gpu_hours,avg_gpu_utilization,energy_kwh,telemetry_coverage,unit_price,amount,currency,
    disposition,linked_record,line_id

Every GPU-second of the fleet is on exactly one line that has a disposition: ``charged_gpu_hours`` of the charged lines
plus ``gpu_hours`` of the lines of the other five words is capacity, to the last printed digit. A line without a
disposition is a linked record: it is shown, and its cards are counted on the record that ``linked_record`` names. A
line whose ``linked_record`` is ``correction/2026-09/LINE_ID`` says what was learnt about that line of a closed month
since: its quantities and its amount are differences, and the only ones that may be negative. With ``none`` in the place
of the line it is about a job, or about cards, of which that month has no line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache

from accounting.model import DAY, Line, Usage
from accounting.statements.compose import Statement
from accounting.statements.csvtext import csv_lines, text
from accounting.statements.hours import hours_text, micro_hours
from exporters.model import MILLI_PER_GPU, Disposition

COLUMNS = (
    "billing_period",
    "project",
    "scheduler",
    "cluster",
    "job_id",
    "job_name",
    "user",
    "account_or_namespace",
    "partition_or_queue",
    "gpu_model",
    "start",
    "end",
    "gpu_hours",
    "charged_gpu_hours",
    "avg_gpu_utilization",
    "energy_kwh",
    "telemetry_coverage",
    "unit_price",
    "amount",
    "currency",
    "disposition",
    "linked_record",
    "line_id",
)
"""The columns of ``chargeback-YYYY-MM.csv``. Only ever extended at the end."""

NO_LINE = "none"
"""What a correction names where the closed month has no line that it could correct."""

JOULES_PER_KWH = 3_600_000


def chargeback_csv(statement: Statement) -> Iterator[str]:
    """Yield the lines of ``chargeback-YYYY-MM.csv``."""
    return csv_lines(COLUMNS, chargeback_rows(statement, text))


def chargeback_rows(statement: Statement, name: Callable[[str], str]) -> Iterator[tuple[str, ...]]:
    """Yield one tuple of `COLUMNS` per line; ``name`` makes a name safe for its place (`csvtext.text` for a CSV)."""
    for line, micro in zip(statement.lines, statement.micro_hours, strict=True):
        yield _row(line, micro, statement.minor_digits, name)


def _row(line: Line, micro: int, digits: int, name: Callable[[str], str]) -> tuple[str, ...]:
    usage, job = line.usage, line.usage.job
    gpu_hours, charged = _hours(usage, micro)
    utilization, energy, coverage = telemetry(usage)
    return (
        line.billing_period,
        name(usage.project),
        job.scheduler.value if job else "",
        name(job.cluster) if job else "",
        name(job.id) if job else "",
        name(usage.job_name),
        name(usage.user),
        name(usage.account),
        name(usage.partition),
        name(usage.gpu_model),
        moment(usage.start) if usage.start < usage.end else "",
        moment(usage.end) if usage.start < usage.end else "",
        hours_text(gpu_hours),
        hours_text(charged),
        utilization,
        energy,
        coverage,
        money(line.unit_price, digits),
        money(line.amount, digits),
        line.currency,
        usage.disposition.value if usage.disposition else "",
        f"correction/{line.corrects}/{line.corrected or NO_LINE}" if line.corrects else name(str(usage.linked or "")),
        line.line_id,
    )


def _hours(usage: Usage, micro: int) -> tuple[int, int]:
    """Work out gpu_hours and charged_gpu_hours in millionths, given what the line counts under its disposition."""
    if usage.disposition is None:
        return micro_hours(usage.held), 0
    if usage.disposition is not Disposition.CHARGED:
        return micro, 0
    return (micro if usage.held == usage.charged else micro_hours(usage.held)), micro


def telemetry(usage: Usage) -> tuple[str, str, str]:
    """Say utilization, energy and coverage, or nothing where nothing was measured: never 0 for "not known".

    Rounds that the exporter itself missed expected no sample, so coverage is also never more than the part of the held
    time that was observed.
    """
    observed, joules, expected = usage.observed_gpu_seconds, usage.energy_joules, usage.samples_expected
    if not usage.samples_seen or (observed <= 0 and joules <= 0):
        return "", "", ""
    return (
        f"{usage.active_seconds / observed:.4f}" if observed > 0 else "",
        f"{joules / JOULES_PER_KWH:.6f}" if joules > 0 else "",  # a card that is there draws power: 0 is "not measured"
        f"{_coverage(usage):.4f}" if expected else "",
    )


def _coverage(usage: Usage) -> float:
    watched = usage.observed_gpu_seconds * MILLI_PER_GPU / usage.held if usage.held else 1.0
    return min(usage.samples_seen / usage.samples_expected, watched)


def moment(epoch: int) -> str:
    """Print epoch seconds as ISO 8601 in UTC: ``2026-10-01T00:00:00Z``."""
    day, second = divmod(epoch, DAY)
    return f"{_date(day)}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"


@lru_cache(maxsize=1024)
def _date(day: int) -> str:
    """Print a day counted from the epoch; a month has few, and each is printed often."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def money(amount: Decimal, minor_digits: int) -> str:
    """Print money with at least the currency's decimals, never in exponent form: ``2.5`` is ``2.50``."""
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and -exponent < minor_digits:
        amount = amount.quantize(Decimal(1).scaleb(-minor_digits))
    return f"{amount:f}"
