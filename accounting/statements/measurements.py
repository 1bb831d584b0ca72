"""What was measured, as it is printed beside a line: it decorates the line, and never changes an amount."""

from __future__ import annotations

import polars as pl

from accounting.statements.usage import MEASURES
from exporters.model import MILLI_PER_GPU

JOULES_PER_KWH = 3_600_000


def measurements(lines: pl.DataFrame) -> pl.DataFrame:
    """``avg_gpu_utilization``, ``energy_kwh`` and ``telemetry_coverage`` of lines, null where nothing was measured.

    Never 0 for "not known". Rounds that the exporter itself missed expected no sample, so coverage is also never more
    than the part of the held time that was observed. ``lines`` has the columns ``held`` and
    `accounting.statements.usage.MEASURES`.
    """
    observed, active, joules = (pl.col(name) for name in ("gpu_seconds", "active_seconds", "energy_joules"))
    seen, expected = pl.col("samples_seen").round(), pl.col("samples_expected").round()
    there = (seen != 0) & ((observed > 0) | (joules > 0))
    watched = pl.when(pl.col("held") != 0).then(observed * MILLI_PER_GPU / pl.col("held")).otherwise(1.0)
    lines = lines.select("held", pl.col(MEASURES).cast(pl.Float64))
    numbers = lines.select(
        pl.when(there & (observed > 0)).then(active / observed).alias("avg_gpu_utilization"),
        # a card that is there draws power: 0 is "not measured"
        pl.when(there & (joules > 0)).then(_kwh(lines["energy_joules"])).alias("energy_kwh"),
        pl.when(there & (expected != 0)).then(pl.min_horizontal(seen / expected, watched)).alias("telemetry_coverage"),
    )
    decimals = {"avg_gpu_utilization": 4, "energy_kwh": 6, "telemetry_coverage": 4}
    return numbers.select(_printed(numbers[name], digits) for name, digits in decimals.items())


def _kwh(joules: pl.Series) -> pl.Series:
    """Divided as IEEE 754 has it: Polars would multiply by the reciprocal, which is another number now and then."""
    return pl.Series(joules.to_numpy() / JOULES_PER_KWH)


def _printed(numbers: pl.Series, decimals: int) -> pl.Series:
    if numbers.null_count() == len(numbers):
        return numbers.cast(pl.String)
    texts = [None if number is None else f"{number:.{decimals}f}" for number in numbers.to_list()]
    return pl.Series(numbers.name, texts, dtype=pl.String)
