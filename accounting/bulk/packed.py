"""Many rows in one text that the database makes: to hand over each by itself would take most of the time.

What is asked for in one query comes in the same order of rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Text, cast, func, literal

from accounting.sweep.columns import Ints

_BETWEEN = "\x1e"
"""Between rows of texts: JSON has it only as an escape."""


def numbers(dialect: str, column: ColumnElement[Any]) -> ColumnElement[str]:
    """Whole numbers of many rows as one text: see `numbers_of`. Where the column is NULL there is none."""
    if dialect == "sqlite":
        return func.group_concat(column)  # with commas; to name a separator takes half as long again
    return func.aggregate_strings(cast(column, Text), ",")


def numbers_of(text: str | None) -> Ints:
    """The numbers of `numbers`; of no rows the database makes no text."""
    return np.fromstring(text or "", dtype=np.int64, sep=",")


def texts(dialect: str, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[str]:
    """Texts of many rows as one text: see `rows_of`."""
    row: ColumnElement[str]
    if dialect == "sqlite":
        row = func.json_array(*columns)
    else:
        row = cast(func.json_build_array(*columns), Text)
    return func.aggregate_strings(row, _BETWEEN)


def rows_of(text: str | None) -> list[str]:
    """The rows of `texts`, each as one text: those of equal rows are equal."""
    return text.split(_BETWEEN) if text else []


def texts_of(row: str) -> list[str]:
    """The texts of one row of `rows_of`."""
    found: list[str] = json.loads(row)
    return found


def joined(dialect: str, columns: Sequence[ColumnElement[str]], end: str) -> ColumnElement[str]:
    """Texts of many rows as one text, with ``end`` after each of them."""
    if dialect == "sqlite":
        row = func.printf(f"%s{end}" * len(columns), *columns)
    else:
        row = func.concat(*(part for column in columns for part in (column, literal(end))))
    return func.aggregate_strings(row, "")
