"""The summary: one row per disposition, project and scheduler, and a last row ``capacity`` that they sum to exactly.

    billing_period,disposition,project,scheduler,gpu_seconds,gpu_hours,amount,currency,service_units

Corrections of a closed month are rows of their own, their disposition followed by that month: ``charged 2026-09``.
``gpu_seconds`` has three decimals and is exact (milliGPU-seconds). ``gpu_hours`` and ``amount`` sum to the last
printed digit too, and to the lines of ``chargeback-YYYY-MM.csv``. A month that is open has a last column ``state``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from accounting.rates.rating import money
from accounting.statements.chargeback import STATE
from accounting.statements.compose import Statement
from accounting.statements.csvtext import csv_lines, text
from accounting.statements.hours import hours_text, seconds_text, units_text

SUMMARY_COLUMNS = (
    "billing_period",
    "disposition",
    "project",
    "scheduler",
    "gpu_seconds",
    "gpu_hours",
    "amount",
    "currency",
    "service_units",
)
"""The columns of ``chargeback-YYYY-MM-summary.csv``."""


def summary_csv(statement: Statement, *, capacity: bool = True) -> Iterator[str]:
    """Yield the lines of ``chargeback-YYYY-MM-summary.csv``: dispositions in their own order, then ``capacity``.

    ``capacity`` False leaves the last row out: for part of a statement it would be the sum of that part.
    """
    rows = chain(summary_rows(statement, text), [capacity_row(statement)] if capacity else [])
    if statement.as_of is None:
        return csv_lines(SUMMARY_COLUMNS, rows)
    return csv_lines((*SUMMARY_COLUMNS, STATE), ((*row, statement.state) for row in rows))


def summary_rows(statement: Statement, name: Callable[[str], str]) -> Iterator[tuple[str, ...]]:
    """Yield one tuple of `SUMMARY_COLUMNS` per disposition, project and scheduler; ``name`` makes a name safe."""
    for total in statement.totals:
        yield (
            statement.billing_period,
            f"{total.disposition.value} {total.corrects}".rstrip(),
            name(total.project),
            total.scheduler,
            seconds_text(total.quantity),
            hours_text(total.micro_hours),
            money(total.amount, statement.minor_digits),
            statement.currency,
            "" if total.micro_su is None else units_text(total.micro_su),
        )


def capacity_row(statement: Statement) -> tuple[str, ...]:
    """Give the last row of a summary: what all the others sum to."""
    return (
        statement.billing_period,
        "capacity",
        "",
        "",
        seconds_text(statement.capacity),
        hours_text(statement.capacity_micro),
        money(statement.amount, statement.minor_digits),
        statement.currency,
        "" if statement.micro_su is None else units_text(statement.micro_su),
    )
