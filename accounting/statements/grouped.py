"""What was used, added up by whatever people ask it by: sums of a statement's own lines, as they are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from accounting.statements.chargeback import cells
from accounting.statements.compose import Statement
from accounting.statements.csvtext import printable
from accounting.statements.lines import PIECE
from exporters.model import Disposition

BY: Mapping[str, str] = {
    "month": "billing_period",
    "project": "project",
    "user": "user",
    "account": "account_or_namespace",
    "model": "gpu_model",
    "scheduler": "scheduler",
    "cluster": "cluster",
    "partition": "partition_or_queue",
}
"""What usage may be asked by, each with the column of the chargeback that tells it; accounts are namespaces, too."""

SUMS = ("charged_gpu_hours", "amount", "service_units")
"""The columns that are added up."""

_EXACT = pl.Decimal(38, 6)


def grouped(statement: Statement, by: Sequence[str], project: str | None = None) -> pl.DataFrame:
    """Sums of a statement's lines that are charged, or cost something, one row for each group of ``by`` (of `BY`).

    Columns are those of ``by``, then `SUMS` as exact decimals, and ``currency``. With ``project`` it is only that one's
    lines. All rows sum to what the statement charges: no line is left out, and none is in two groups.
    """
    keys = [*by, "currency"]
    found: list[pl.DataFrame] = []
    for first in range(0, statement.lines.height, PIECE):
        texts = cells(statement, first, PIECE, printable).fill_null("")
        counted = texts.filter(
            (pl.col("disposition") == Disposition.CHARGED.value) | pl.col("amount").str.contains("[1-9]")
        )
        if project is not None:
            counted = counted.filter(pl.col("project") == printable(project))
        named = counted.with_columns(pl.col(column).alias(name) for name, column in BY.items())
        sums = (pl.when(pl.col(c) != "").then(pl.col(c)).cast(_EXACT).fill_null(0) for c in SUMS)
        found.append(added(named.with_columns(sums), keys))
    return added(pl.concat(found), keys) if found else pl.DataFrame(schema=dict.fromkeys([*keys, *SUMS], pl.String))


def added(lines: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The `SUMS` of some lines, or of some groups, a row for each group of ``keys`` in the order of their first one."""
    return lines.group_by(keys, maintain_order=True).agg(pl.col(c).sum() for c in SUMS)
