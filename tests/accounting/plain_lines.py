"""What a usage and a line are, line by line, for the oracles of statements: plain, and never fast."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from exporters.model import Disposition, JobKey


@dataclass(frozen=True, slots=True)
class Usage:
    """What one statement line is made from: one project, job run and GPU model (or nobody: idle ...) in a period.

    ``held`` and ``charged`` are milliGPU-seconds: what the job held, and what of it is counted on this line under
    ``disposition``. ``disposition`` is None for a linked record that is shown but counted on ``linked``.
    ``start``/``end`` are the run's first and last second inside the period.
    Telemetry is float: ``active_seconds`` of ``observed_gpu_seconds`` the engine was busy.
    """

    project: str
    job: JobKey | None
    gpu_model: str
    disposition: Disposition | None
    held: int
    charged: int
    start: int
    end: int
    job_name: str = ""
    user: str = ""
    account: str = ""
    partition: str = ""
    qos: str = ""
    linked: JobKey | None = None
    reason: str = ""
    observed_gpu_seconds: float = 0.0
    active_seconds: float = 0.0
    energy_joules: float = 0.0
    samples_seen: int = 0
    samples_expected: int = 0
    state: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One priced line of a statement: a `Usage` with its price. ``amount`` is rounded once, to the currency's cents.

    ``corrects`` is the closed month that the line corrects, empty on a line of its own month; of a correction,
    quantities and amount are differences, and ``corrected`` is the name of the line in that month, empty where that
    month has none of the job and model.
    """

    line_id: str
    billing_period: str
    usage: Usage
    unit_price: Decimal
    amount: Decimal
    currency: str
    corrects: str = ""
    corrected: str = ""
    price_rule: str = ""
