"""What was held, and paid for, to no purpose: in hours, and in money where the books know it. Pure.

The rows overlap (a job that failed may also have held idle cards), so they are not added up. What was measured
decorates a line and is no part of the books: idle time is an estimate, told with the coverage that it rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from accounting.rates.rating import MILLIGPU_SECONDS_PER_HOUR
from accounting.rates.rounding import half_even
from exporters.model import MILLI_PER_GPU, Disposition, Scheduler

STATES: Mapping[str, str] = {
    **dict.fromkeys(("FAILED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE", "LAUNCH_FAILED", "Failed"), "failed"),
    **dict.fromkeys(("NODE_FAIL", "BOOT_FAIL", "RECONFIG_FAIL"), "lost"),
    **dict.fromkeys(("REQUEUED", "PREEMPTED"), "requeued"),
}
"""How a job ended, as its scheduler says it -> what that is on the page."""

CHARGED = pl.col("disposition") == Disposition.CHARGED.value
OWN = pl.col("corrects") == ""


@dataclass(frozen=True, slots=True)
class Waste:
    """milliGPU-seconds, and minor units of money; None where nobody knows."""

    quantity: int | None
    minor: int | None


def pods_inside(lines: pl.DataFrame) -> pl.DataFrame:
    """What the pods held that Slurm jobs made: ``job`` (the Slurm job's) and ``inside``, of a whole month's lines."""
    shown = lines.filter((pl.col("disposition") == "") & OWN & (pl.col("linked") != 0))
    shown = shown.filter(pl.col("scheduler").cast(pl.String) == Scheduler.KUBERNETES.value)
    return shown.group_by(pl.col("linked").alias("job")).agg(pl.col("held").sum().alias("inside"))


def idle(lines: pl.DataFrame, minor_digits: int) -> Waste:
    """Cards that were held and did nothing, as far as it was measured, at the prices of their lines."""
    watched = (pl.col("samples_seen").round() != 0) & (pl.col("gpu_seconds") > 0)
    unused = ((pl.col("gpu_seconds") - pl.col("active_seconds")) * MILLI_PER_GPU).round().cast(pl.Int64)
    told = lines.filter(CHARGED & OWN & watched).select(
        pl.col("unit_price").cast(pl.String), unused.clip(0, pl.col("charged")).alias("unused")
    )
    if not told.height:
        return Waste(None, None)
    by_price = told.group_by("unit_price").agg(pl.col("unused").sum()).sort("unit_price")
    money = sum((Decimal(price) * unused for price, unused in by_price.iter_rows()), Decimal(0))
    return Waste(int(told["unused"].sum()), round(money.scaleb(minor_digits) / MILLIGPU_SECONDS_PER_HOUR))


def orphaned(lines: pl.DataFrame, inside: pl.DataFrame) -> Waste:
    """Cards of Slurm jobs that made pods, and that these pods did not hold."""
    slurm = pl.col("scheduler").cast(pl.String) == Scheduler.SLURM.value
    jobs = lines.filter(CHARGED & OWN & slurm).group_by("job").agg(pl.col("charged", "minor").sum())
    found = jobs.join(inside, on="job").filter(pl.col("charged") > pl.col("inside")).sort("job")
    rows = [
        (charged - held, minor, charged) for charged, minor, held in found.select("charged", "minor", "inside").rows()
    ]
    return Waste(sum(rest for rest, *_ in rows), sum(half_even(minor * rest, charged) for rest, minor, charged in rows))


def ended(jobs: pl.DataFrame) -> Mapping[str, Waste]:
    """What jobs held that failed, were lost with their machine, or were put back into the queue.

    ``jobs`` has ``state``, ``charged`` and ``minor``.
    """
    how = pl.col("state").cast(pl.String).str.split(" ").list.first().replace_strict(STATES, default="")
    sums = jobs.group_by(how.alias("how")).agg(pl.col("charged", "minor").sum())
    found = {how: Waste(quantity, minor) for how, quantity, minor in sums.iter_rows()}
    return {word: found.get(word, Waste(0, 0)) for word in dict.fromkeys(STATES.values())}
