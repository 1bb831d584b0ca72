"""What was used in some months, by whatever people ask it by."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from accounting.rates.rating import SU_DIGITS
from accounting.site import book
from accounting.site.known_months import known_month, month_names
from accounting.statements.grouped import added, grouped
from accounting.statements.hours import DECIMALS
from accounting.store.database import LedgerError
from exporters.config import Config


def usage_rows(
    config: Config, months: Sequence[str], by: Sequence[str], project: str | None = None
) -> tuple[list[str], list[list[str]]]:
    """The columns, and the rows of `accounting.statements.grouped` over some months (none: the latest), as texts.

    Rows come by month where it is asked by, and the largest first. Raises `LedgerError` of a month of which nothing is
    booked, or where nothing is.
    """
    with book.opened(config) as engine:
        names = list(dict.fromkeys(months)) or month_names(engine)[-1:]
        if not names:
            raise LedgerError("nothing was reconciled yet; meterbridge reconcile books what was read")
        found, digits = [], {}
        for name in names:
            period = known_month(engine, name, book.zone(config))
            statement = book.served(engine, period, book.prices(config, engine, period))
            digits[statement.currency] = statement.minor_digits
            found.append(grouped(statement, by, project))
    keys = [*by, "currency"]
    rows = added(pl.concat(found, how="vertical_relaxed"), keys)
    first = ["month"] if "month" in by else []
    rest = [key for key in keys if key not in first]
    order = [*first, "charged_gpu_hours", "amount", *rest]
    rows = rows.sort(order, descending=[name in {"charged_gpu_hours", "amount"} for name in order])
    counted = bool((rows["service_units"] != 0).any())
    columns = [*by, "charged_gpu_hours", "amount", "currency", *(["service_units"] if counted else [])]

    def text(row: dict[str, object], column: str) -> str:
        if column == "charged_gpu_hours":
            return f"{row[column]:.{DECIMALS}f}"
        if column == "amount":
            return f"{row[column]:.{digits[str(row['currency'])]}f}"
        return f"{row[column]:.{SU_DIGITS}f}" if column == "service_units" else str(row[column])

    return columns, [[text(row, column) for column in columns] for row in rows.iter_rows(named=True)]
