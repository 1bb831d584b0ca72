"""Many rows in one text that the database makes: to hand over each by itself would take most of the time.

What is asked for in one query comes in the same order of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Text, cast, func, literal

from accounting.sweep.columns import Ints


def numbers(dialect: str, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[str]:
    """Whole numbers of many rows as one text, NULL as 0: see `numbers_of`."""
    if dialect == "sqlite":
        row = func.printf(" ".join(["%d"] * len(columns)), *columns)  # writes NULL as 0
    else:
        row = func.concat_ws(" ", *(func.coalesce(column, 0) for column in columns))
    return func.aggregate_strings(row, " ")


def numbers_of(text: str | None, columns: int) -> Ints:
    """The rows of `numbers`, shape (rows, columns); of no rows the database makes no text."""
    if not text:
        return np.empty((0, columns), dtype=np.int64)
    found: Ints = np.fromstring(text, dtype=np.int64, sep=" ")
    return found.reshape(-1, columns)


def texts(dialect: str, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[str]:
    """Texts of many rows as one list in JSON, those of one row as one text: see `texts_of`."""
    first = columns[:-1]
    if dialect == "sqlite":
        form = "%d " * len(first) + "%s" * len(columns)
        return func.json_group_array(func.printf(form, *(func.length(column) for column in first), *columns))
    lengths = [part for column in first for part in (func.length(column), literal(" "))]
    return cast(func.json_agg(func.concat(*lengths, *columns)), Text)


def texts_of(row: str, columns: int) -> list[str]:
    """The texts of one row of `texts`."""
    *lengths, rest = row.split(" ", columns - 1)
    found = []
    for length in map(int, lengths):
        found.append(rest[:length])
        rest = rest[length:]
    return [*found, rest]


def joined(dialect: str, columns: Sequence[ColumnElement[str]], end: str) -> ColumnElement[str]:
    """Texts of many rows as one text, with ``end`` after each of them."""
    if dialect == "sqlite":
        row = func.printf(f"%s{end}" * len(columns), *columns)
    else:
        row = func.concat(*(part for column in columns for part in (column, literal(end))))
    return func.aggregate_strings(row, "")
