"""Many rows in one text that the database makes: to hand over each by itself would take most of the time.

What is asked for in one query comes in the same order of rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, LargeBinary, Text, cast, func, literal, literal_column

from accounting.reconcile.sweep.columns import Ints

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
    return apart(array(dialect, columns))


def array(dialect: str, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[str]:
    """Some columns of a row as one text, a JSON array."""
    if dialect == "sqlite":
        return func.json_array(*columns)
    return cast(func.json_build_array(*columns), Text)


def apart(column: ColumnElement[str]) -> ColumnElement[str]:
    """A column of many rows, JSON or nothing, as one text: see `rows_of`."""
    return func.aggregate_strings(column, _BETWEEN)


def rows_of(text: str | None) -> list[str]:
    """The rows of `texts` or `apart`, each as one text: those of equal rows are equal."""
    return [] if text is None else text.split(_BETWEEN)


def texts_of(row: str) -> list[str]:
    """The texts of one row of `rows_of`."""
    found: list[str] = json.loads(row)
    return found


def listed(dialect: str, column: ColumnElement[str]) -> ColumnElement[str]:
    """A column of many rows, texts of any kind, as one text: see `list_of`."""
    return func.json_group_array(column) if dialect == "sqlite" else cast(func.json_agg(column), Text)


def list_of(text: str | None) -> list[str]:
    """The texts of `listed`."""
    found: list[str] = json.loads(text or "[]")
    return found


def digests(dialect: str, column: ColumnElement[bytes]) -> ColumnElement[bytes]:
    """A column of bytes, of one length in many rows, without anything between them; NULL of no rows."""
    if dialect == "sqlite":
        return cast(func.group_concat(column, literal_column("''")), LargeBinary)
    return func.string_agg(column, literal_column("''::bytea"))


def joined(dialect: str, columns: Sequence[ColumnElement[str]], end: str) -> ColumnElement[str]:
    """Texts of many rows as one text, with ``end`` after each of them."""
    if dialect == "sqlite":
        row = func.printf(f"%s{end}" * len(columns), *columns)
    else:
        row = func.concat(*(part for column in columns for part in (column, literal(end))))
    return func.aggregate_strings(row, "")
