"""The oracle of statements: lines put in order, added up, and printed, one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from accounting.rates.rating import Rates, money
from accounting.statements.chargeback import COLUMNS, NO_LINE
from accounting.statements.compose import Total
from accounting.statements.csvtext import csv_lines, text
from accounting.statements.hours import apportion, hours_text, micro_hours
from exporters.model import MILLI_PER_GPU, Disposition
from tests.accounting.plain_lines import Line, Usage
from tests.accounting.plain_rating import line_order

_WORDS = [*Disposition]
JOULES_PER_KWH = 3_600_000


@dataclass(frozen=True, slots=True)
class Statement:
    """A billing period's lines in statement order, and their totals.

    ``micro_hours[n]`` is what ``lines[n]`` counts under its disposition, in printed millionths of a GPU-hour: 0 for
    a linked record. Over the lines of one total they sum to the total's, and over the totals to ``capacity_micro``.
    """

    billing_period: str
    lines: tuple[Line, ...]
    micro_hours: tuple[int, ...]
    totals: tuple[Total, ...]
    currency: str
    minor_digits: int
    micro_su: int | None = None
    as_of: int | None = None

    @property
    def capacity(self) -> int:
        """The fleet's capacity in milliGPU-seconds: the sum of everything, whoever had it, corrections included."""
        return sum(total.quantity for total in self.totals)

    @property
    def capacity_micro(self) -> int:
        """The fleet's capacity in printed millionths of a GPU-hour."""
        return micro_hours(self.capacity)

    @property
    def amount(self) -> Decimal:
        """What all projects pay together."""
        return sum((total.amount for total in self.totals), Decimal(0).scaleb(-self.minor_digits))


def compose(lines: Sequence[Line], rates: Rates, billing_period: str) -> Statement:
    """Order the lines of one period and total them. The order of the input never matters.

    Raises ValueError for a line of another period or currency.
    """
    for line in lines:
        if (line.billing_period, line.currency) != (billing_period, rates.currency):
            raise ValueError(
                f"line {line.line_id} is of {line.billing_period} in {line.currency}, "
                f"the statement of {billing_period} in {rates.currency}"
            )
    ordered = tuple(sorted(lines, key=line_order))
    hours, totals = _totals(ordered, rates.minor_digits)
    return Statement(billing_period, ordered, hours, totals, rates.currency, rates.minor_digits)


def _totals(lines: Sequence[Line], digits: int) -> tuple[tuple[int, ...], tuple[Total, ...]]:
    """Printed millionths of an hour for each line, and the totals they sum to."""
    groups: dict[tuple[str, int, str, str], list[int]] = defaultdict(list)
    for n, line in enumerate(lines):
        u = line.usage
        if u.disposition is not None:
            scheduler = u.job.scheduler.value if u.job else ""
            groups[line.corrects, _WORDS.index(u.disposition), u.project, scheduler].append(n)
    keys = sorted(groups)
    sums = [sum(lines[n].usage.charged for n in groups[key]) for key in keys]
    hours, totals = [0] * len(lines), []
    for key, quantity, micro in zip(keys, sums, apportion(np.array(sums, np.int64)).tolist(), strict=True):
        corrects, word, project, scheduler = key
        some = groups[key]
        printed = apportion(np.array([lines[n].usage.charged for n in some], np.int64), micro)
        for n, own in zip(some, printed.tolist(), strict=True):
            hours[n] = own
        amount = sum((lines[n].amount for n in some), Decimal(0).scaleb(-digits))
        totals.append(Total(_WORDS[word], project, scheduler, quantity, micro, amount, corrects))
    return tuple(hours), tuple(totals)


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
        "",
        name(line.price_rule),
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
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}"
