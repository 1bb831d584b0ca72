"""Large answers of the ledger as Arrow tables, out of both databases through one function.

    with read(engine) as connection, columns(connection) as ledger:
        table = ledger.table(select(jobs.c.id, jobs.c.run).where(among(jobs.c.id, ids)))

`Columns.table` gives a `pyarrow.Table` whose columns are named as those of the query and typed by them, whatever the
database and however many rows: whole numbers are ``int64``, truths ``bool``, `Float` ``float64`` (to the last bit),
`Text` ``string``, `LargeBinary` ``binary``; NULL is null. ``polars.from_arrow`` takes it without a copy. The rows come
in any order, also where the query has one. A sum is a NUMERIC to PostgreSQL: ``cast(func.sum(c), BigInteger)``. What is
too large to be in memory twice is asked for in pieces (a day, a range of ids): `Columns.tables` gives a table for each,
and reads the next one while the caller works on the one before.

What is read is what ``connection`` sees: in SQLite, whose own library makes one text of each column
(docs/adr/0018-columns-out-of-sqlite.md), it is the connection itself. PostgreSQL is asked through ADBC, by a second
connection on the snapshot of the first, which therefore must be one of `accounting.store.database.read`; what a
transaction has written itself and not committed is not in it.

Raises `LedgerError` in one sentence where the database fails, or where there is no driver for it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock
from typing import Any, Protocol
from weakref import WeakKeyDictionary, finalize

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import (
    JSON,
    Boolean,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Integer,
    LargeBinary,
    Select,
    Text,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from accounting.arrow import array_of, listed, pieces, strings
from accounting.store.ahead import ahead
from accounting.store.database import LedgerError

_NULL = -(1 << 63)
"""What stands for NULL among whole numbers on their way out of SQLite, where nothing we count comes near."""

_BETWEEN = '","'

_TYPES: tuple[tuple[type[TypeEngine[Any]], pa.DataType], ...] = (
    (Boolean, pa.bool_()),
    (Integer, pa.int64()),
    (Float, pa.float64()),
    (LargeBinary, pa.binary()),
    (Text, pa.string()),
)


class Columns(Protocol):
    """Reads tables in one snapshot. Not to be used by two threads at once, nor its connection meanwhile."""

    @property
    def connection(self) -> Connection:
        """Whose snapshot it is; for small statements."""
        ...

    def table(self, query: Select[Any]) -> pa.Table:
        """All rows of a query, in any order."""
        ...

    def tables(self, queries: Iterable[Select[Any]]) -> Iterator[pa.Table]:
        """The rows of each of some queries; one is read while the caller works on the one before."""
        ...


@contextmanager
def columns(connection: Connection) -> Iterator[Columns]:
    """Read the ledger as tables, as ``connection`` sees it."""
    if connection.dialect.name == "sqlite":
        yield _Sqlite(connection)
        return
    reader = _postgres(connection)
    try:
        yield reader
    finally:
        reader.close()


def among(wanted: ColumnElement[Any], values: Sequence[int] | Sequence[str], dialect: str) -> ColumnElement[bool]:
    """Whether a column is one of some numbers or texts, however many they are: they are looked up in its index."""
    told = literal(json.dumps(list(values), ensure_ascii=False), Text)
    if dialect == "sqlite":
        return wanted.in_(select(func.json_each(told).table_valued("value").c.value))
    each = func.json_array_elements_text(cast(told, JSON)).table_valued(column("value", Text)).c.value
    return wanted.in_(select(each if isinstance(wanted.type, Text) else cast(each, wanted.type)))


class _Reader(ABC):
    """What both have in common: one is read ahead."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @abstractmethod
    def table(self, query: Select[Any]) -> pa.Table:
        """All rows of a query, in any order."""

    def tables(self, queries: Iterable[Select[Any]]) -> Iterator[pa.Table]:
        """The rows of each of some queries; one is read while the caller works on the one before."""
        return ahead(self.table, queries)


def _fields(query: Select[Any]) -> list[tuple[str, pa.DataType]]:
    """The names and types of a query's columns."""
    found = []
    for told in query.selected_columns:
        kind = next((arrow for own, arrow in _TYPES if isinstance(told.type, own)), None)
        if kind is None:
            raise TypeError(f"column {told!s} is of type {told.type!r}: cast it to one that a table can have")
        found.append((str(getattr(told, "key", "") or told), kind))
    return found


class _Sqlite(_Reader):
    """Each column as one text, which SQLite makes: to hand over every row by itself takes four times as long."""

    def table(self, query: Select[Any]) -> pa.Table:
        """All rows of a query, in any order."""
        fields = _fields(query)
        try:
            if any(kind == pa.float64() for _, kind in fields):  # whose text SQLite does not make to the last bit
                rows = self.connection.execute(query).all()
                found = zip(*rows, strict=True) if rows else [()] * len(fields)
                arrays = [listed(column, kind) for column, (_, kind) in zip(found, fields, strict=True)]
                return pa.table(arrays, pa.schema(fields))
            inner = query.subquery("told")
            texts = [_told(column, kind) for column, (_, kind) in zip(inner.c, fields, strict=True)]
            told = self.connection.execute(select(*texts)).one()
        except DBAPIError as error:
            raise _unreadable(self.connection, error.orig or error) from error
        return pa.table([_column(t, kind) for t, (_, kind) in zip(told, fields, strict=True)], pa.schema(fields))


def _told(told: ColumnElement[Any], kind: pa.DataType) -> ColumnElement[Any]:
    """A column of all rows as one text."""
    if kind == pa.string():
        return func.json_group_array(told)
    if kind == pa.binary():
        return func.json_group_array(func.hex(told))
    return func.group_concat(func.coalesce(told, literal_column(str(_NULL))))


def _bytes(told: Sequence[str]) -> pa.Array:
    """Bytes that are told in hexadecimal."""
    if None in told:
        return listed([None if one is None else bytes.fromhex(one) for one in told], pa.binary())
    ends = np.cumsum([0, *map(len, told)], dtype=np.int64) // 2
    return pieces(bytes.fromhex("".join(told)), ends, None).cast(pa.binary())


def _column(text: str | None, kind: pa.DataType) -> pa.Array:
    """The column behind such a text."""
    if kind == pa.string():
        return _texts(text or "[]")
    if kind == pa.binary():
        return _bytes(json.loads(text or "[]"))
    numbers = np.fromstring(text or "", dtype=np.int64, sep=",")
    return array_of(numbers if kind == pa.int64() else numbers != 0, numbers == _NULL)


def _texts(told: str) -> pa.Array:
    """The texts of a JSON array; where none of them holds what JSON escapes, it is cut at what is between them."""
    plain = "\\" not in told and told.startswith('["') and told.endswith('"]')
    if plain and 2 * (told.count(_BETWEEN) + 1) == told.count('"'):  # and none of them is null
        data = told[2:-2].encode()
        whole = pieces(data, np.array([0, len(data)]), None).cast(pa.large_string())
        return pc.split_pattern(whole, _BETWEEN).values.cast(pa.string())
    texts = json.loads(told)
    return listed(texts, pa.string()) if None in texts else strings(texts)


class _Postgres(_Reader):
    """Through ADBC, on a snapshot that another connection holds open.

    Not by way of its dbapi module, which loads every library of data frames that there is.
    """

    def __init__(self, connection: Connection, driver: Any, manager: Any) -> None:
        super().__init__(connection)
        self._driver, self._manager = driver, manager
        self._open = ExitStack()
        self._own: Any = None

    def table(self, query: Select[Any]) -> pa.Table:
        """All rows of a query, in any order."""
        schema = pa.schema(_fields(query))
        text = str(query.compile(dialect=_postgres_text(), compile_kwargs={"literal_binds": True}))
        try:
            with self._manager.AdbcStatement(self._connected()) as statement:
                statement.set_sql_query(text)
                stream, _ = statement.execute_query()
                found = pa.RecordBatchReader._import_from_c(stream.address).read_all()
        except (self._manager.Error, pa.ArrowException, OSError) as error:
            raise _unreadable(self.connection, error) from error
        return found.rename_columns(schema.names).cast(schema)

    def _connected(self) -> Any:
        if self._own is None:
            snapshot = self.connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
            database = _server(self.connection.engine, self._driver)
            self._own = self._open.enter_context(self._manager.AdbcConnection(database))
            for text in (
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                f"SET TRANSACTION SNAPSHOT '{snapshot}'",
            ):
                with self._manager.AdbcStatement(self._own) as statement:
                    statement.set_sql_query(text)
                    statement.execute_update()
        return self._own

    def close(self) -> None:
        """Let go of the second connection."""
        self._open.close()


_SERVERS: WeakKeyDictionary[Engine, Any] = WeakKeyDictionary()
"""What ADBC knows of the server behind an engine. It holds no connection open."""

_SERVERS_LOCK = Lock()


def _server(engine: Engine, driver: Any) -> Any:
    """What ADBC asks a server once before it reads anything: its catalogue of types, which takes ten times as long as
    to connect. Asked for each answer anew it was two thirds of a small month's time.
    """
    with _SERVERS_LOCK:
        if engine not in _SERVERS:
            address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
            _SERVERS[engine] = driver.connect(address)
            finalize(engine, _SERVERS[engine].close)
        return _SERVERS[engine]


def _postgres(connection: Connection) -> _Postgres:
    try:
        import adbc_driver_manager  # noqa: PLC0415 - an extra, which a ledger in SQLite does not need
        import adbc_driver_postgresql  # noqa: PLC0415
    except ImportError as error:
        raise LedgerError(
            f"the ledger {connection.engine.url!r} is read by adbc-driver-postgresql, which is not installed: "
            "pip install 'meterbridge[postgres]'"
        ) from error
    return _Postgres(connection, adbc_driver_postgresql, adbc_driver_manager)


@cache
def _postgres_text() -> Any:
    """The dialect for a text that is sent as it is; that of a driver would write each ``%`` twice."""
    return postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


def _unreadable(connection: Connection, error: BaseException) -> LedgerError:
    why = " ".join(str(error).split())
    return LedgerError(f"the ledger {connection.engine.url!r} cannot be read: {why}")
