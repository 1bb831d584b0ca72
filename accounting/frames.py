"""A month's lines in a notebook: ``from accounting.frames import lines``, then ``lines("2026-10")``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from accounting.site import book
from accounting.site.known_months import known_month
from accounting.statements.columnar.parquet import scales_of, typed
from exporters.config import load


def lines(period: str, config: str | Path = "meterbridge.yaml") -> pd.DataFrame:
    """The lines of a month's chargeback, a row each, with the columns of its CSV (docs/statements.md).

    Hours, prices, amounts and what was measured are exact decimals and times are timestamps in UTC (columns of Arrow);
    what is empty in the CSV is null. An open month has a column ``state`` more. Nothing is written. Raises
    `exporters.errors.OperatorError`, which says how to mend it: no settings, no ledger, no such month, no price.
    """
    settings = load(Path(config))
    with book.opened(settings) as engine:
        month = book.statement(settings, engine, known_month(engine, period, book.zone(settings)))
        found = typed(month, 0, month.lines.height, scales_of(month))
    return found.to_pandas(use_pyarrow_extension_array=True)
