"""The lines of the chargeback as Parquet: the same cells as the CSV, typed. Money, prices and hours are exact decimals.

Times are timestamps in UTC; utilization, energy and coverage are decimals as the CSV prints them. What is empty in the
CSV is null. Names are `printable`, without the apostrophes that keep a spreadsheet from running one.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pyarrow.parquet as pq

from accounting.statements.chargeback import STATE, cells
from accounting.statements.compose import Statement
from accounting.statements.csvtext import printable
from accounting.statements.hours import DECIMALS
from accounting.statements.lines import PIECE

DIGITS = 38
"""Digits of a decimal: as many as Parquet's 128 bits hold."""

_SCALES = {
    "gpu_hours": DECIMALS,
    "charged_gpu_hours": DECIMALS,
    "avg_gpu_utilization": 4,
    "energy_kwh": 6,
    "telemetry_coverage": 4,
    "service_units": 6,
}
"""Decimals of the columns that are numbers, but for money."""


def chargeback_parquet(statement: Statement) -> Iterator[bytes]:
    """Yield ``chargeback-YYYY-MM.parquet``, some lines at a time; of an open month with the column `STATE`."""
    sink = Sink()
    scales = scales_of(statement)
    writer = None
    for first in range(0, max(statement.lines.height, 1), PIECE):
        part = typed(statement, first, PIECE, scales).to_arrow()
        writer = writer or pq.ParquetWriter(sink, part.schema, compression="zstd")
        writer.write_table(part)
        yield sink.taken()
    if writer is not None:
        writer.close()
    yield sink.taken()


def scales_of(statement: Statement) -> dict[str, int]:
    """The decimals of each column that is a number."""
    return {**_SCALES, "amount": statement.minor_digits, "unit_price": longest(statement.lines["unit_price"])}


def typed(statement: Statement, first: int, count: int, scales: dict[str, int]) -> pl.DataFrame:
    """Some lines with typed columns; ``scales`` are the decimals of those that are numbers."""
    texts = cells(statement, first, count, printable)
    texts = texts.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in texts.columns)
    numbers = (pl.col(name).cast(pl.Decimal(DIGITS, scale)) for name, scale in scales.items())
    times = (
        pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC") for name in ("start", "end")
    )
    made = texts.with_columns(*numbers, *times)
    return made if statement.as_of is None else made.with_columns(pl.lit(statement.state).alias(STATE))


def longest(prices: pl.Series) -> int:
    """The most decimals that a price has, so that none loses one."""
    longest = prices.unique().cast(pl.String).str.split(".").list.get(1, null_on_oob=True).str.len_chars().max()
    return int(longest) if isinstance(longest, int) else 0


class Sink:
    """Somewhere to write for Arrow, from which what was written is taken piece by piece."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Keep what Arrow wrote until it is taken."""
        self._parts.append(bytes(data))
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        """Bytes written until now, those that were taken included."""
        return self._at

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """No more is written; what was can still be taken."""
        self.closed = True

    def taken(self) -> bytes:
        """What was written since."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
