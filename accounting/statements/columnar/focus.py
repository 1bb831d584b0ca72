"""The month as a FOCUS 1.4 Cost and Usage dataset (FinOps Open Cost and Usage Specification, focus.finops.org).

A row is a line that somebody pays: the ``charged`` lines of the chargeback with what they cost, corrections of closed
months (``ChargeClass`` ``Correction``, booked in this period, with the time at which the use was) and what a rate card
shares out (``Adjustment``). ``BilledCost`` sums to the statement's amount, to the cent, and for each ``InvoiceId`` to
the statement of that project. Nobody's time is no row: FOCUS tells costs, not capacity.

``ContractedCost`` and ``ListCost`` are exactly the unit price times ``PricingQuantity``, as the specification asks;
``BilledCost`` is the line's amount, rounded once to the currency's minor unit. Where something beside GPU-hours is in
the amount (cores, memory, a minimum), no price of a GPU-hour gives it: such a line is priced as one job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO

import polars as pl
import pyarrow.parquet as pq

from accounting.rates.rating import SU_DIGITS
from accounting.statements.chargeback import decimals, whole_lines
from accounting.statements.columnar.parquet import DIGITS, Sink, longest
from accounting.statements.compose import Statement
from accounting.statements.csvtext import printable, safe, text
from accounting.statements.hours import DECIMALS
from accounting.statements.lines import PIECE
from accounting.store.calendar import Period
from exporters.model import Disposition

GPU_HOURS = "GPU-Hours"
JOBS = "Jobs"

_MOMENT = "%Y-%m-%dT%H:%M:%SZ"
_APPORTIONED = 2
"""Millionths of an hour by which printed hours may differ from exact ones: twice apportioned (`compose.totalled`)."""

_TAGS = ("user", "account", "partition", "qos")


@dataclass(frozen=True, slots=True)
class Bill:
    """Who bills, and for when: ``site`` is its name in the settings."""

    site: str
    period: Period


def focus_csv(statement: Statement, bill: Bill) -> Iterator[bytes]:
    """Yield ``focus-cost-and-usage-YYYY-MM.csv``, some lines at a time; no cell of it is a formula."""
    for n, part in enumerate(_parts(statement, bill, text)):
        buffer = BytesIO()
        part.write_csv(buffer, include_header=n == 0, line_terminator="\r\n")
        yield buffer.getvalue()


def focus_parquet(statement: Statement, bill: Bill) -> Iterator[bytes]:
    """Yield the same as Parquet: costs, prices and quantities are decimals, times are timestamps in UTC."""
    sink, writer = Sink(), None
    scales = _scales(statement)
    for part in _parts(statement, bill, printable):
        table = part.with_columns(
            *(pl.col(column).cast(pl.Decimal(DIGITS, scale)) for column, scale in scales.items()),
            *(pl.col(column).str.to_datetime(_MOMENT, time_unit="us", time_zone="UTC") for column in TIMES),
        ).to_arrow()
        writer = writer or pq.ParquetWriter(sink, table.schema, compression="zstd")
        writer.write_table(table)
        yield sink.taken()
    if writer is not None:
        writer.close()
    yield sink.taken()


TIMES = ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart")


def _price_digits(statement: Statement) -> int:
    return max(longest(statement.lines["unit_price"]), statement.minor_digits, 2)


def _scales(statement: Statement) -> Mapping[str, int]:
    """Decimals of the columns that are numbers."""
    price, money = _price_digits(statement), max(statement.minor_digits, 1)
    return {
        "BilledCost": money,
        "ConsumedQuantity": DECIMALS,
        "ContractedCost": price + DECIMALS,
        "ContractedUnitPrice": price,
        "EffectiveCost": money,
        "ListCost": price + DECIMALS,
        "ListUnitPrice": price,
        "PricingQuantity": DECIMALS,
        "x_ServiceUnits": SU_DIGITS,
    }


def _parts(statement: Statement, bill: Bill, name: Callable[[str], str]) -> Iterator[pl.DataFrame]:
    paid = statement.lines.filter(pl.col("disposition") == Disposition.CHARGED.value)
    statement = replace(statement, lines=paid)
    for first in range(0, max(paid.height, 1), PIECE):
        yield _rows(statement, bill, whole_lines(statement, first, PIECE), name)


def _rows(statement: Statement, bill: Bill, lines: pl.DataFrame, name: Callable[[str], str]) -> pl.DataFrame:
    """Lines as rows of texts, null for an empty cell; ``name`` makes a name from outside safe for its place."""
    outside = ("project", "cluster", "run", "job_name", "gpu_model", "price_rule", *_TAGS)
    lines = lines.with_columns(safe(lines[column].cast(pl.String), name).alias(column) for column in outside)
    lines = lines.with_columns(_priced(statement))
    cells = {**_who(statement, bill, name), **_when(bill), **_what(), **_cost(statement), **_ours(statement)}
    own = [column for column in sorted(cells) if not column.startswith("x_")]
    rows = lines.select(cells[column].cast(pl.String).alias(column) for column in (*own, *_ours(statement)))
    return rows.with_columns(pl.when(pl.col(column) != "").then(pl.col(column)).alias(column) for column in own)


_CORRECTION = pl.col("corrects").cast(pl.String) != ""
_SHARED_OUT = pl.col("run") == ""
_BY_HOUR = pl.col("by_hour")


def _priced(statement: Statement) -> list[pl.Expr]:
    """``price`` in its smallest unit, ``cost`` (price times hours) in that times millionths, and whether they agree."""
    digits = _price_digits(statement)
    wide = pl.Int128
    price = pl.col("unit_price").cast(pl.String).cast(pl.Decimal(DIGITS, digits)).to_physical().cast(wide)
    cost = price * pl.col("micro").cast(wide)
    cent = 10 ** (digits + DECIMALS - statement.minor_digits)
    away = (cost - pl.col("minor").cast(wide) * cent).abs()
    agrees = away <= price.abs() * _APPORTIONED + cent // 2
    return [price.alias("price"), cost.alias("cost"), (agrees & ~_SHARED_OUT).fill_null(False).alias("by_hour")]


def _who(statement: Statement, bill: Bill, name: Callable[[str], str]) -> Mapping[str, pl.Expr]:
    """Who bills whom. An open month has no invoice yet."""
    site = pl.lit(name(bill.site))
    invoice = pl.concat_str(pl.lit(f"{statement.billing_period}/"), "project")
    return {
        "BillingAccountId": site,
        "BillingAccountName": site,
        "HostProviderName": site,
        "InvoiceId": invoice if statement.as_of is None else pl.lit(None, pl.String),
        "InvoiceIssuerName": site,
        "ServiceProviderName": site,
        "SubAccountId": pl.col("project"),
        "SubAccountName": pl.col("project"),
        "SubAccountType": pl.lit("Project"),
    }


def _when(bill: Bill) -> Mapping[str, pl.Expr]:
    """The period, and the use: a line of no time, which is a share of a whole month, is about the whole period."""
    period = {"Start": bill.period.start, "End": bill.period.end}
    timed = pl.col("start") < pl.col("end")
    return {
        f"{kind}Period{edge}": pl.from_epoch(moment).dt.to_string(_MOMENT)
        for edge, whole in period.items()
        for kind, moment in (
            ("Billing", pl.lit(whole, pl.Int64)),
            ("Charge", pl.when(timed).then(pl.col(edge.lower())).otherwise(pl.lit(whole, pl.Int64))),
        )
    }


def _what() -> Mapping[str, pl.Expr]:
    """What is charged for."""
    slurm = pl.col("scheduler").cast(pl.String) == "slurm"
    kind = pl.when(slurm).then(pl.lit("Slurm job")).otherwise(pl.lit("Kubernetes workload"))
    job = pl.concat_str(kind, pl.lit(" "), "run", pl.lit(" in "), "cluster", pl.lit(" on "), "gpu_model")
    shared = pl.concat_str(pl.lit("Share of hours that nobody used: "), "gpu_model")
    told = pl.when(_SHARED_OUT).then(shared).otherwise(job)
    of_job = pl.when(~_SHARED_OUT)
    return {
        "ChargeCategory": pl.when(_SHARED_OUT).then(pl.lit("Adjustment")).otherwise(pl.lit("Usage")),
        "ChargeClass": pl.when(_CORRECTION).then(pl.lit("Correction")),
        "ChargeDescription": told,
        "ChargeFrequency": pl.when(_SHARED_OUT).then(pl.lit("One-Time")).otherwise(pl.lit("Usage-Based")),
        "ResourceId": of_job.then(
            pl.concat_str(pl.col("scheduler").cast(pl.String), pl.lit("://"), "cluster", pl.lit("/"), "run")
        ),
        "ResourceName": of_job.then("job_name"),
        "ResourceType": of_job.then(kind),
        "ServiceCategory": pl.lit("Compute"),
        "ServiceName": of_job.then(pl.concat_str(pl.lit("GPU cluster "), "cluster")).otherwise(pl.lit("GPU fleet")),
        "ServiceSubcategory": pl.lit("Other (Compute)"),
        "SkuId": pl.col("gpu_model"),
        "SkuMeter": pl.lit("GPU time"),
        "SkuPriceId": pl.col("price_rule"),
        "Tags": pl.struct(_TAGS).struct.json_encode(),
    }


def _cost(statement: Statement) -> Mapping[str, pl.Expr]:
    """What it costs: by the hour, as one job where no price of an hour gives the amount, else as a sum alone."""
    digits, money = _price_digits(statement), statement.minor_digits
    amount = decimals(pl.col("minor"), money) if money else pl.concat_str(decimals(pl.col("minor"), 0), pl.lit(".0"))
    whole = decimals(pl.col("minor").cast(pl.Int128) * 10 ** (digits - money), digits)
    whole_cost = decimals(pl.col("minor").cast(pl.Int128) * 10 ** (digits + DECIMALS - money), digits + DECIMALS)
    hours = decimals(pl.col("micro"), DECIMALS)
    as_job = ~_SHARED_OUT & ~_CORRECTION

    def priced(by_hour: pl.Expr, as_one: pl.Expr) -> pl.Expr:
        return pl.when(_BY_HOUR).then(by_hour).when(as_job).then(as_one)

    price = priced(decimals(pl.col("price"), digits), whole)
    cost = pl.when(_BY_HOUR).then(decimals(pl.col("cost"), digits + DECIMALS)).otherwise(whole_cost)
    return {
        "BilledCost": amount,
        "BillingCurrency": pl.lit(statement.currency),
        "ConsumedQuantity": pl.when(~_SHARED_OUT).then(hours),
        "ConsumedUnit": pl.when(~_SHARED_OUT).then(pl.lit(GPU_HOURS)),
        "ContractedCost": cost,
        "ContractedUnitPrice": price,
        "EffectiveCost": amount,
        "ListCost": cost,
        "ListUnitPrice": price,
        "PricingCategory": pl.lit("Standard"),
        "PricingQuantity": priced(hours, pl.lit(f"1.{'0' * DECIMALS}")),
        "PricingUnit": priced(pl.lit(GPU_HOURS), pl.lit(JOBS)),
    }


def _ours(statement: Statement) -> Mapping[str, pl.Expr]:
    """Columns of our own, after those of FOCUS: the line in the chargeback, and whether the month is final."""
    corrects = pl.col("corrects").cast(pl.String)
    return {
        "x_LineId": pl.col("line_id"),
        "x_Corrects": pl.when(corrects != "").then(corrects),
        "x_ServiceUnits": decimals(pl.col("su"), SU_DIGITS),
        "x_State": pl.lit(statement.state),
    }
