"""Large answers, some rows at a time, without what SQLAlchemy adds to each row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Executable, Select, Text, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

PAGE = 50_000
"""Rows at a time."""


def among_ids(column: ColumnElement[int], dialect: str) -> ColumnElement[bool]:
    """Whether a column is one of ``ids`` (`listed_ids`): one parameter, however many they are."""
    if dialect == "postgresql":
        return column == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    return column.in_(select(func.json_each(bindparam("ids", type_=Text)).table_valued("value").c.value))


def listed_ids(ids: Sequence[int], dialect: str) -> dict[str, Any]:
    """The parameter of `among_ids`."""
    return {"ids": list(ids) if dialect == "postgresql" else json.dumps(list(ids))}


def among_texts(column: ColumnElement[str], dialect: str) -> ColumnElement[bool]:
    """Whether a column is one of ``texts`` (`listed_texts`): one parameter, however many they are."""
    if dialect == "postgresql":
        return column == any_(bindparam("texts", type_=ARRAY(Text)))
    return column.in_(select(func.json_each(bindparam("texts", type_=Text)).table_valued("value").c.value))


def listed_texts(texts: Sequence[str], dialect: str) -> dict[str, Any]:
    """The parameter of `among_texts`."""
    return {"texts": list(texts) if dialect == "postgresql" else json.dumps(list(texts), ensure_ascii=False)}


def every(connection: Connection, query: Executable, parameters: dict[str, Any] | None = None) -> list[Sequence[Any]]:
    """All rows of a query, as the driver has them: that takes a third of the time."""
    cursor = connection.execute(query, parameters or {}).cursor
    assert cursor is not None  # noqa: S101 - it has rows
    return list(cursor.fetchall())


def pages(connection: Connection, query: Select[Any], size: int = PAGE) -> Iterator[Sequence[Sequence[Any]]]:
    """The rows of a query, some at a time: they are never all in memory, on either side of the connection."""
    if connection.dialect.name == "postgresql":  # whose driver would fetch all of them, but for a cursor on the server
        result = connection.execute(query.execution_options(stream_results=True, max_row_buffer=size))
        yield from result.partitions(size)
        return
    cursor = connection.execute(query).cursor
    assert cursor is not None  # noqa: S101 - it has rows
    while rows := cursor.fetchmany(size):
        yield rows
