"""The chargeback: one CSV line per project, job run and GPU model, and one per model of what nobody had.

Columns, in this order (docs/statements.md explains each to its reader):

    billing_period,project,scheduler,cluster,job_id,job_name,user,account_or_namespace,partition_or_queue,gpu_model,
    start,end,gpu_hours,charged_gpu_hours,avg_gpu_utilization,energy_kwh,telemetry_coverage,unit_price,amount,currency,
    disposition,linked_record,line_id,service_units,price_rule

A month that is open has one more, ``state``, after all others.

Every GPU-second of the fleet is on exactly one line that has a disposition: ``charged_gpu_hours`` of the charged lines
plus ``gpu_hours`` of the lines of the other five words is capacity, to the last printed digit. A line without a
disposition is a linked record: it is shown, and its cards are counted on the record that ``linked_record`` names. A
line whose ``linked_record`` is ``correction/2026-09/LINE_ID`` says what was learnt about that line of a closed month
since: its quantities and its amount are differences, and the only ones that may be negative. With ``none`` in the place
of the line it is about a job, or about cards, of which that month has no line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO

import polars as pl

from accounting.rates.rating import SU_DIGITS
from accounting.statements.compose import Statement
from accounting.statements.csvtext import cell, csv_lines, safe
from accounting.statements.hours import DECIMALS, micro_hours
from accounting.statements.known.jobs import IDENTITY
from accounting.statements.lines import PIECE, line_text, linked_text, of_some
from accounting.statements.measurements import measurements
from accounting.store.ahead import ahead
from exporters.model import Disposition

NO_LINE = "none"
"""What a correction names where the closed month has no line that it could correct."""


@dataclass(frozen=True, slots=True)
class Cell:
    """How a column is filled: an expression over the columns of a line (`whole_lines`), null for an empty cell.

    ``outside`` are names that somebody chose: they are made safe for the place where they are printed.
    """

    value: pl.Expr
    outside: bool = False


def _moment(name: str) -> pl.Expr:
    """Epoch seconds as ISO 8601 in UTC, ``2026-10-01T00:00:00Z``; nothing for a line of no time."""
    printed = pl.from_epoch(pl.col(name)).dt.to_string("%Y-%m-%dT%H:%M:%SZ")
    return pl.when(pl.col("start") < pl.col("end")).then(printed)


def decimals(value: pl.Expr, places: int) -> pl.Expr:
    """Whole numbers with so many decimals, exactly: ``1500000`` with six is ``1.500000``."""
    if not places:
        return value.cast(pl.String)
    size, unit = value.abs(), 10**places
    sign = pl.when(value < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    part = (size % unit).cast(pl.String).str.zfill(places)
    return pl.concat_str(sign, (size // unit).cast(pl.String), pl.lit("."), part)


_CHARGED = pl.col("disposition") == Disposition.CHARGED.value
_SHOWN = pl.col("disposition") == ""
_GPU_HOURS = (
    pl.when(_SHOWN | (_CHARGED & (pl.col("held") != pl.col("charged"))))
    .then(micro_hours(pl.col("held")))
    .otherwise(pl.col("micro"))
)
_CORRECTION = pl.concat_str(
    pl.lit("correction/"), pl.col("corrects").cast(pl.String), pl.lit("/"), pl.col("corrected").fill_null(NO_LINE)
)

CELLS: Mapping[str, Cell] = {
    "billing_period": Cell(pl.col("billing_period")),
    "project": Cell(pl.col("project"), outside=True),
    "scheduler": Cell(pl.col("scheduler")),
    "cluster": Cell(pl.col("cluster"), outside=True),
    "job_id": Cell(pl.col("run"), outside=True),
    "job_name": Cell(pl.col("job_name"), outside=True),
    "user": Cell(pl.col("user"), outside=True),
    "account_or_namespace": Cell(pl.col("account"), outside=True),
    "partition_or_queue": Cell(pl.col("partition"), outside=True),
    "gpu_model": Cell(pl.col("gpu_model"), outside=True),
    "start": Cell(_moment("start")),
    "end": Cell(_moment("end")),
    "gpu_hours": Cell(decimals(_GPU_HOURS, DECIMALS)),
    "charged_gpu_hours": Cell(decimals(pl.when(_CHARGED).then("micro").otherwise(0), DECIMALS)),
    "avg_gpu_utilization": Cell(pl.col("avg_gpu_utilization")),
    "energy_kwh": Cell(pl.col("energy_kwh")),
    "telemetry_coverage": Cell(pl.col("telemetry_coverage")),
    "unit_price": Cell(pl.col("unit_price")),
    "amount": Cell(pl.col("amount")),
    "currency": Cell(pl.col("currency")),
    "disposition": Cell(pl.col("disposition")),
    "linked_record": Cell(
        pl.when(pl.col("corrects") == "").then(pl.col("linked_record")).otherwise(_CORRECTION), outside=True
    ),
    "line_id": Cell(pl.col("line_id")),
    "service_units": Cell(decimals(pl.col("su"), SU_DIGITS)),
    "price_rule": Cell(pl.col("price_rule"), outside=True),
}
"""The columns of ``chargeback-YYYY-MM.csv``, each with how it is filled. Only ever extended at the end."""

COLUMNS = tuple(CELLS)

STATE = "state"
"""The last column of an open month's files, after whatever others there are: a draft must not look like an invoice."""


def chargeback_csv(statement: Statement) -> Iterator[bytes]:
    """Yield ``chargeback-YYYY-MM.csv``, many lines at a time; of an open month with the column `STATE`."""
    draft = {} if statement.as_of is None else {STATE: pl.lit(cell(statement.state))}
    yield from (line.encode() for line in csv_lines((*COLUMNS, *draft), []))

    def piece(first: int) -> bytes:
        buffer = BytesIO()
        filled = cells(statement, first, PIECE, cell).with_columns(**draft)
        # with their quotation marks: to look for more takes longer
        filled.write_csv(buffer, include_header=False, line_terminator="\r\n", quote_style="never")
        return buffer.getvalue()

    yield from ahead(piece, range(0, statement.lines.height, PIECE))


def chargeback_rows(
    statement: Statement, name: Callable[[str], str], first: int = 0, count: int | None = None
) -> Iterator[dict[str, str]]:
    """Yield the cells of lines, ``count`` after the ``first`` ones; ``name`` makes a name safe for its place."""
    found = cells(statement, first, statement.lines.height if count is None else count, name)
    return found.fill_null("").iter_rows(named=True)


def cells(statement: Statement, first: int, count: int, name: Callable[[str], str]) -> pl.DataFrame:
    """Some lines of a statement as texts, a column for each of `COLUMNS`; null or empty where a cell is empty."""
    lines = whole_lines(statement, first, count)
    made = lines.select(filling.value.alias(column) for column, filling in CELLS.items())
    outside = [safe(made[column], name) for column, filling in CELLS.items() if filling.outside]
    return made.with_columns(outside).cast(pl.String)


def whole_lines(statement: Statement, first: int, count: int) -> pl.DataFrame:
    """Some lines of a statement with all that is known of each.

    The columns are those of `accounting.statements.lines` and of `accounting.statements.known.jobs.JOB`, those of
    `accounting.statements.measurements`, and ``billing_period``, ``currency``, ``amount``, ``linked_record`` (the other
    job, as people write it), ``line_id`` and ``corrected`` (names of lines as they are printed).
    """
    lines = statement.lines.slice(first, count)
    own, linked = (
        statement.words(lines["job"]),
        of_some(lines["linked"], lambda ids: linked_text(statement.words(ids, IDENTITY))),
    )
    return lines.with_columns(own).with_columns(
        *measurements(lines).get_columns(),
        line_text(lines["line"]).alias("line_id"),
        line_text(lines["corrected"].cast(pl.Binary)).alias("corrected"),
        linked.alias("linked_record"),
        decimals(pl.col("minor"), statement.minor_digits).alias("amount"),
        billing_period=pl.lit(statement.billing_period),
        currency=pl.lit(statement.currency),
    )
