"""Values that are not of their column's type: SQLite keeps text in a column of numbers, and text where bytes were.

PostgreSQL refuses such a value; in SQLite an edit by hand or a dump that was read back makes one, and whoever reads it
fails in ways of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Text,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.sql.schema import Column, Table

from accounting.store.tables import metadata, records

MOST = 3
"""Rows of a table that are named."""

_MAY_BE = {
    Boolean: ("integer",),
    Integer: ("integer",),
    BigInteger: ("integer",),
    Float: ("real", "integer"),
    Text: ("text",),
    LargeBinary: ("blob",),
}


_BYTES = {records.c.meaning: 16}
"""Columns whose bytes are read as so many, and no other number."""


class Mistyped(NamedTuple):
    """A value of another type than its column's: where it is, and what it is instead."""

    table: str
    column: str
    row: int
    found: str

    def __str__(self) -> str:
        of = " of another length than it has" if self.found == "blob" and self.column == "meaning" else ""
        return f"row {self.row} of {self.table}: {self.column} is {self.found}{of}"


def mistyped(connection: Connection) -> Iterator[Mistyped]:
    """The first few such values of each table; on PostgreSQL there are none."""
    if connection.dialect.name != "sqlite":
        return
    for table in metadata.sorted_tables:
        wrong = {column.name: _wrong(column) for column in table.columns}
        kinds = (func.typeof(table.c[name]) for name in wrong)
        rows = select(_rowid(table), *kinds, *wrong.values()).where(or_(*wrong.values())).limit(MOST)
        for number, *told in connection.execute(rows):
            for name, kind, is_wrong in zip(wrong, told[: len(wrong)], told[len(wrong) :], strict=True):
                if is_wrong:
                    yield Mistyped(table.name, name, number, kind)


def _rowid(table: Table) -> ColumnElement[int]:
    return literal_column(f'"{table.name}".rowid')


def _wrong(column: Column[object]) -> ColumnElement[bool]:
    """Whether a value is none that the column may hold."""
    may_be = next(kinds for kind, kinds in _MAY_BE.items() if isinstance(column.type, kind))
    wrong = func.typeof(column).not_in([*may_be, *(["null"] if column.nullable else [])])
    return or_(wrong, func.length(column) != _BYTES[column]) if column in _BYTES else wrong
