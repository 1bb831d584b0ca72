"""The ledger's database: connections, transactions, and the few statements that the two databases write differently.

There is one writer at a time: SQLite by ``BEGIN IMMEDIATE``, PostgreSQL by an advisory lock held to the end of the
transaction. So ids are handed out densely, in the order of writing, and a run that crashed and was repeated leaves the
same rows as one that did not. Readers never wait: each reads one snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    select,
    text,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, RootTransaction, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from exporters.errors import OperatorError

T = TypeVar("T")

BUSY_SECONDS = 60
"""How long a writer waits for another one before it gives up."""

CHUNK = 1000
"""Most values in one ``IN (...)``: both databases take more, but the text of the statement grows with it."""

INTEGRITY = "PRAGMA integrity_check(3)"
"""Has SQLite look through a whole file, and name three faults at the most."""

_LOCK = 0x6D65746572
_BUSY = {"55P03", "SQLITE_BUSY"}  # PostgreSQL's lock_not_available, SQLite's database is locked
_WRITING = "meterbridge_writing"
_SCHEMA = "meterbridge_schema"
_COPY_FROM = 50
_LIVELY = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A server that vanished without a word (a firewall, a machine without power) is noticed within half a minute."""
_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]


class LedgerError(OperatorError):
    """The ledger cannot be opened or used as asked. The message names what, where and how to mend it."""


def connect(url: str) -> Engine:
    """An engine for ``sqlite:///FILE`` or ``postgresql://USER@HOST/DATABASE``. Raises `LedgerError` on any other."""
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise LedgerError(f"not a database address: {url!r}; write sqlite:///FILE or postgresql://…") from error
    backend = address.get_backend_name()
    if backend == "sqlite":
        return _sqlite(address)
    if backend == "postgresql":
        # a plan prepared while a table was small stays when it has grown: plan each statement anew
        options = {"prepare_threshold": None, **_LIVELY}
        return _impatient(
            create_engine(address.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=options)
        )
    raise LedgerError(f"a ledger lives in SQLite or PostgreSQL, not in {backend}: {address!r}")


def _sqlite(address: URL) -> Engine:
    if not address.database or address.database == ":memory:":
        raise LedgerError("a ledger in memory forgets: give SQLite a file, sqlite:///meterbridge.db")
    engine = create_engine(address, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def settings(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-65536"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get(_WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _impatient(engine: Engine) -> Engine:
    """PostgreSQL waits for ever for a lock; a writer gives up after `BUSY_SECONDS`, as it does on SQLite."""
    patience = f"SET lock_timeout = {int(BUSY_SECONDS * 1000)}"

    @event.listens_for(engine, "connect")
    def settings(connection: Any, _: object) -> None:
        connection.execute(patience)
        connection.commit()

    return engine


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """One transaction that changes the ledger: commits at the end, rolls back on any error, alone at its work.

    Raises `LedgerError` when another writer does not make room within `BUSY_SECONDS`.
    """
    with engine.connect() as connection, write_on(connection) as writer:
        yield writer


@contextmanager
def write_on(connection: Connection) -> Iterator[Connection]:
    """`write` on a connection that is there, and in no transaction."""
    writer = connection.execution_options(**{_WRITING: True})
    with _alone(writer):
        _must_be_ours(writer)
        yield writer


def of_schema(engine: Engine, revision: str) -> Engine:
    """The engine, whose writers make sure that the ledger still has this schema: a process may outlive an upgrade."""
    return engine.execution_options(**{_SCHEMA: revision})


def _must_be_ours(writer: Connection) -> None:
    wanted = writer.get_execution_options().get(_SCHEMA)
    if wanted is None:
        return
    found = writer.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found != wanted:
        raise LedgerError(
            f"the ledger {writer.engine.url!r} has schema {found}, and this process began with {wanted}: it was "
            "migrated meanwhile, so nothing was written; start this process again with the newer meterbridge"
        )


def _alone(writer: Connection) -> RootTransaction:
    """A transaction begun as the only writer."""
    try:
        transaction = writer.begin()
        if writer.dialect.name == "postgresql":
            writer.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    except OperationalError as error:
        if not {getattr(error.orig, "sqlstate", ""), getattr(error.orig, "sqlite_errorname", "")} & _BUSY:
            raise
        raise LedgerError(
            f"another process has been writing to the ledger {writer.engine.url!r} for {BUSY_SECONDS:g} s, so nothing "
            "was written: try again when it has ended (an ingest, a reconcile or a service)"
        ) from error
    return transaction


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """One snapshot of the ledger: whatever is written meanwhile is not seen."""
    options: dict[str, Any] = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with engine.connect() as connection:
        reader = connection.execution_options(**options)
        with reader.begin():
            yield reader


def damage(engine: Engine) -> str:
    """What the database finds wrong with its own file, or nothing. PostgreSQL proves its pages when it reads them."""
    if engine.dialect.name != "sqlite":
        return ""
    with read(engine) as connection:
        return damage_told(connection.exec_driver_sql(INTEGRITY))


def damage_told(rows: Iterable[Any]) -> str:
    """What SQLite answered to `INTEGRITY`, as a sentence, or nothing."""
    found = [str(row[0]) for row in rows]
    return "" if found == ["ok"] else "; ".join(" ".join(line.split()) for line in found)


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """``values`` in lists of at most ``size``."""
    rest = iter(values)
    while part := list(islice(rest, size)):
        yield part


def next_id(connection: Connection, table: Table) -> int:
    """The first free id of a table. Only a writer may ask."""
    found = connection.exec_driver_sql(f'SELECT coalesce(max(id), 0) + 1 FROM "{table.name}"')  # noqa: S608
    return int(found.scalar_one())


def insert_many(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many rows, the fast way of each database (COPY on PostgreSQL). Values are in the order of ``columns``.

    Values are plain Python numbers, truths, text and bytes, or None.
    """
    if not rows:
        return
    if connection.dialect.name == "postgresql" and len(rows) >= _COPY_FROM:
        statement, types = _copying(table, tuple(columns))
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            put = copy.write_row
            for row in rows:
                put(row)
        return
    connection.exec_driver_sql(_inserting(table, tuple(columns), connection.dialect.name), list(rows))


@cache
def _copying(table: Table, columns: tuple[str, ...]) -> tuple[str, list[str]]:
    """A COPY in PostgreSQL's binary form, which both sides read faster than text, and the types of its columns."""
    types = [table.c[name].type.compile(_POSTGRESQL) for name in columns]
    return f'COPY "{table.name}" ({_quoted(columns)}) FROM STDIN (FORMAT BINARY)', [t.lower() for t in types]


@cache
def _inserting(table: Table, columns: tuple[str, ...], dialect: str) -> str:
    marks = ", ".join(["%s" if dialect == "postgresql" else "?"] * len(columns))
    return f'INSERT INTO "{table.name}" ({_quoted(columns)}) VALUES ({marks})'  # noqa: S608


def _quoted(columns: Sequence[str]) -> str:
    return ", ".join(f'"{c}"' for c in columns)


def of_each(query: Select[Any], column: ColumnElement[str], dialect: str) -> Select[Any]:
    """A query for the rows whose text ``column`` is one of ``values``: one parameter (`listed`), however many they are.

    So the statement is the same for any number, and is put together once. On PostgreSQL each value is looked up by
    itself (``OFFSET 0`` keeps it so): while a table grows, the planner does not know it, and would read all of it.
    """
    if dialect == "postgresql":
        values = func.json_array_elements_text(cast(bindparam("values", type_=Text), JSON))
        told = values.table_valued("value", name="told").render_derived()
        found = query.where(column == told.c.value).offset(0).lateral("found")
        return select(found).select_from(told.join(found, true()))
    return query.where(
        column.in_(select(func.json_each(bindparam("values", type_=Text)).table_valued("value").c.value))
    )


def listed(values: Iterable[str]) -> str:
    """Storable text as the parameter ``values`` of `of_each`."""
    return json.dumps(list(values), ensure_ascii=False)


def upsert(table: Table, dialect: str) -> Any:
    """An INSERT that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``, in the given dialect."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> None:
    """Insert rows whose ``key`` columns are not there yet; leave the others as they are."""
    if rows:
        connection.execute(
            upsert(table, connection.dialect.name).on_conflict_do_nothing(index_elements=list(key)),
            [dict(r) for r in rows],
        )


def storable(value: str) -> str:
    r"""Text that both databases take: bytes that were not UTF-8, and NUL, become ``\xNN``. Raw records are kept apart.

    >>> storable("caf\udce9")
    'caf\\xe9'
    """
    if value.isascii() and "\0" not in value:
        return value
    try:
        data = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate out of a JSON escape
        data = value.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def storables(values: tuple[str, ...]) -> tuple[str, ...]:
    """Each of ``values`` made `storable`; mostly they all are."""
    together = "".join(values)
    if together.isascii() and "\0" not in together:
        return values
    return tuple(map(storable, values))


def raw_bytes(value: str) -> bytes:
    """The bytes of a record that was read with surrogateescape."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
