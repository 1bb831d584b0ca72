"""Slurm's history straight from the slurmdbd database, for a tenth of the time and memory that sacct takes.

    Slurmdbd("hpc1", "mariadb+pymysql://meterbridge@dbhost/slurm_acct_db", password_file=...).records(start, end)

It reads and nothing else: every transaction of its session is READ ONLY, and all it needs is
``GRANT SELECT ON slurm_acct_db.* TO 'meterbridge'@'%'``. The tables are not an interface that Slurm promises: a
version of the schema that is not known here is refused, by its number, and so is a table that lacks a column, or has
another kind of column (`exporters.sources.slurm.history.dbd_schema`).

Rows come as one text, cut by a delimiter made up for the call (as `exporters.sources.slurm.history.rows` does with
sacct): a client in Python pays for each value, not for its length. A month of 200,000 rows takes less than a second of
processor time, here and in the server together, and two more to become records.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from exporters.masking import masked
from exporters.model import NodeEvent, Record, Reject
from exporters.sources.base import SourceError
from exporters.sources.slurm import runs
from exporters.sources.slurm.history import dbd_rows, dbd_schema, events, rows, windows

MEND = (
    "Check that the address and the password are right, that the database lets this host in, and that the user may "
    "read it (GRANT SELECT ON slurm_acct_db.*)"
)

_TIMES = "j.time_eligible >= :since AND j.time_eligible < :end AND (j.time_end >= :start OR j.time_end = 0)"
_WINDOW = f"j.deleted = 0 AND {_TIMES}"
"""The rows that sacct tells of a window: what was or could have been running in it."""
_TOGETHER = 20_000
"""So many rows are asked for as one text: a server's packet holds that many of eight hundred bytes, by default."""


_Piece = tuple[Mapping[str, Any], str]
"""The values of a piece of an answer, and the condition that says which rows it has."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Rows as one text each, of which `exporters.sources.slurm.history.dbd_rows` says the parts, cut by ``delimiter``.

    ``suspended`` by DBIndex; names by number.
    """

    lines: Sequence[str]
    delimiter: str
    sluids: bool
    suspended: Mapping[str, str]
    qos: dbd_rows.Names
    tres: dbd_rows.Names


class Slurmdbd:
    """A history. ``cluster`` is the cluster's name at this site, and in the database unless ``stored_as`` says other:
    in any letter case, since slurmdbd names its tables in lower case whatever slurm.conf says.

    ``url`` is SQLAlchemy's, ``mariadb+pymysql://user@host:3306/slurm_acct_db``; the password may stand in it or in
    ``password_file``, which is read at each connection. ``timeout`` is seconds for one answer of the server.
    """

    name = "slurmdbd"

    def __init__(
        self,
        cluster: str,
        url: str,
        *,
        password_file: Path | None = None,
        stored_as: str = "",
        timeout: float = 600.0,
        step: int = 86_400,
        identity: str = "auto",
    ) -> None:
        if step <= 0:
            raise ValueError(f"step must be a positive number of seconds, not {step}")
        self.cluster = cluster
        self.step = step
        self._stored_as = (stored_as or cluster).lower()
        self._where = f"the slurmdbd database {masked(url)}"
        self._engine = read_only_engine(url, password_file, timeout)
        self._sluids = runs.by_sluid(identity)
        self._known: frozenset[str] = frozenset()  # columns of the job table, after one look at all tables

    def records(self, start: int, end: int) -> Iterator[Record | Reject]:
        """Every run that was or could have been running in ``[start, end)`` (epoch seconds), each once.

        Raises `SourceError` where the database cannot be read; what was yielded until then is whole and true.
        """
        yield from windows.records(
            self._rows, start, end, self.step, self.cluster, self.name, ours=windows.Ours(), sluids=self._sluids
        )

    def again(self, native_ids: Sequence[str]) -> Iterator[Record | Reject]:
        """Every run of these jobs, however old. Raises as `records` does."""
        for some in windows.together(sorted({int(number) for number in native_ids})):
            among = f"j.deleted = 0 AND j.id_job IN ({', '.join(map(str, some))})"
            told = self._read(self._fetched(among, lambda _, where, among=among: [(where, among)], {}))  # type: ignore[misc]
            yield from windows.as_records(told, self.cluster, self.name, ours=windows.Ours(), sluids=self._sluids)

    def events(self, start: int, end: int) -> Iterator[NodeEvent | Reject]:
        """When nodes were down, drained or unknown within ``[start, end)`` (epoch seconds).

        Events still open have end None. Raises `SourceError` as `records` does.
        """
        columns = "node_name, time_start, time_end, state, tres, reason"
        where = "node_name <> '' AND time_start < :end AND (time_end >= :start OR time_end = 0)"
        with self._reading() as connection:
            table = self._name("event_table")
            names = _numbered(connection, "SELECT id, type, name FROM tres_table")
            query = text(f"SELECT {columns} FROM {table} WHERE {where} ORDER BY node_name, time_start")  # noqa: S608
            found = connection.execute(query, {"start": start, "end": end}).all()
        for row in found:
            yield from self._event(["" if value is None else str(value) for value in row], names)

    def close(self) -> None:
        """Release the connections."""
        self._engine.dispose()

    def _event(self, told: list[str], names: dbd_rows.Names) -> Iterator[NodeEvent | Reject]:
        name, start, end, state, tres, reason = told
        try:
            words, number = dbd_rows.tres_words(tres, names), int(state)
            found = events.event(
                self.cluster,
                name,
                int(start),
                int(end) or None,
                dbd_rows.node_word(number),
                words,
                reason,
                number=number,
            )
        except ValueError as error:
            yield Reject(self.name, rows.SEPARATOR.join(told)[: rows.RECORD_LIMIT], str(error))
            return
        if found is not None:
            yield found

    def fetch(self, start: int, end: int, *, new: bool = False) -> Fetched:
        """What the database has of one window, as it comes, from one snapshot of it. Raises `SourceError`.

        ``new``: without what could start before ``start``, which an index finds without looking at older rows.
        """

        def pieces(connection: Connection, where: Mapping[str, Any]) -> Iterable[_Piece]:
            before = [] if new else [({**where, "end": start}, _WINDOW)]
            return (*before, *_pieces(connection, self._name("job_table"), {**where, "since": start}))

        return self._fetched(_WINDOW, pieces, {"start": start, "end": end, "since": start if new else 1})

    def _fetched(
        self, of: str, pieces: Callable[[Connection, Mapping[str, Any]], Iterable[_Piece]], values: Mapping[str, Any]
    ) -> Fetched:
        """The rows ``of`` a condition, in pieces of it, from one snapshot; ``values`` are those that the SQL names."""
        delimiter = f"|{secrets.token_urlsafe(6)}|"
        where = {**values, "delimiter": delimiter, "row_end": f"|{secrets.token_urlsafe(6)}|"}
        with self._reading() as connection:
            table = self._name("job_table")
            sluids = "sluid" in self._known
            qos = _numbered(connection, "SELECT id, '', name FROM qos_table")
            tres = _numbered(connection, "SELECT id, type, name FROM tres_table")
            query = text(_suspensions(table, self._name("suspend_table"), of))
            suspended = {str(row[0]): str(row[1]) for row in connection.execute(query, where)}
            lines: list[str] = []
            for piece, among in pieces(connection, where):
                lines += _lines(connection, table, self._name("assoc_table"), among, piece, sluids=sluids)
        return Fetched(lines, delimiter, sluids, suspended, qos, tres)

    def _rows(self, start: int, end: int, *, new: bool) -> Iterator[rows.Row | Reject]:
        """Rows of one sub-window: what sacct would print of it."""
        yield from self._read(self.fetch(start, end, new=new))

    def _read(self, found: Fetched) -> Iterator[rows.Row | Reject]:
        reader = dbd_rows.Reader(self._stored_as, found.qos, found.tres, found.suspended, sluids=found.sluids)
        for line in found.lines:
            values = line.split(found.delimiter)
            try:
                yield reader.row(values)
            except ValueError as error:
                raw = rows.SEPARATOR.join(values)[: rows.RECORD_LIMIT]
                yield Reject(self.name, raw, f"job {reader.native_id(values)}: {error}")

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                self._known = self._known or dbd_schema.look(connection, self._stored_as)
                yield connection
        except dbd_schema.SchemaError as error:
            raise SourceError(f"{self._where} cannot be read: {error}") from error
        except SQLAlchemyError as error:
            self._known = frozenset()  # the release may be another next time
            said = " ".join(str(getattr(error, "orig", None) or error).split())[:500]
            raise SourceError(f"{self._where} cannot be read: {said}. {MEND}") from error
        except ModuleNotFoundError as error:
            raise SourceError(f"{self._where} needs a driver: pip install 'meterbridge[mariadb]' ({error})") from error

    def _name(self, table: str) -> str:
        return f"`{self._stored_as.replace('`', '``')}_{table}`"


def read_only_engine(url: str, password_file: Path | None, timeout: float) -> Engine:
    """An engine whose sessions cannot write. Raises `SourceError` for no address of a database, or without a driver."""
    try:
        address = make_url(url)
        options = {"connect_timeout": min(timeout, 30.0), "read_timeout": timeout, "charset": "utf8mb4"}
        engine = create_engine(address, connect_args=options, pool_size=1)
    except (ArgumentError, NoSuchModuleError) as error:
        raise SourceError(
            f"{masked(url)!r} is no address of a database, such as mariadb+pymysql://reader@host/slurm_acct_db"
        ) from error
    except ModuleNotFoundError as error:
        raise SourceError(f"{masked(url)} needs a driver: pip install 'meterbridge[mariadb]' ({error})") from error

    @event.listens_for(engine, "do_connect")
    def with_password(_dialect: Any, _record: Any, _args: Any, params: dict[str, Any]) -> None:
        if password_file is not None:
            try:
                params["password"] = password_file.read_text("utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise SourceError(f"the password file {password_file} cannot be read: {error}") from error

    @event.listens_for(engine, "connect")
    def read_only(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute("SET SESSION group_concat_max_len = 1073741824")

    return engine


def _lines(
    connection: Connection, jobs: str, associations: str, among: str, where: Mapping[str, Any], *, sluids: bool
) -> Sequence[str]:
    """One text per row: its numbers, its texts and its user. Joined by the server where that fits one packet."""
    numbers = [f"j.`{name}`" for name in (("sluid", *dbd_rows.NUMBERS) if sluids else dbd_rows.NUMBERS)]
    several = ", ".join(f"j.`{name}`" for name in dbd_rows.SEVERAL)
    texts = [f"IFNULL(j.`{name}`, '')" if name in dbd_rows.NULLABLE else f"j.`{name}`" for name in dbd_rows.TEXTS]
    together = f"CONCAT_WS(',', {', '.join(numbers)})"
    of_several = f"IF(j.id_array_job = 0 AND j.het_job_id = 0, '', CONCAT_WS(',', {several}))"  # most are alone
    row = f"CONCAT_WS(:delimiter, {together}, {of_several}, {', '.join(texts)}, IFNULL(a.user, ''))"
    rest = f"FROM {jobs} j LEFT JOIN {associations} a ON a.id_assoc = j.id_assoc WHERE {among}"
    joined = f"SELECT COUNT(*), GROUP_CONCAT(CONCAT({row}, :row_end) SEPARATOR '') {rest}"
    count, whole = connection.execute(text(joined), where).one()
    if not count:
        return ()
    lines = str(whole).split(str(where["row_end"]))
    if whole is not None and len(lines) == count + 1 and not lines.pop():
        return lines
    # Longer than the server's max_allowed_packet, which cuts it short with a mere warning.
    return connection.execute(text(f"SELECT {row} {rest}"), where).scalars().all()


def _pieces(connection: Connection, jobs: str, where: Mapping[str, Any]) -> Iterator[_Piece]:
    """A window's new rows, some at a time: the values of each piece, and which rows those are.

    Rows lie in the order of DBIndex, mostly that of submission: where those of a piece lie together, the server reads
    them in one go, for half of what it takes to look each one up. First, last and count come out of an index alone.
    """
    query = f"SELECT MIN(j.job_db_inx), MAX(j.job_db_inx), COUNT(*) FROM {jobs} j WHERE {_TIMES}"  # noqa: S608
    first, last, count = connection.execute(text(query), where).one()
    since, end = where["since"], where["end"]
    if count > _TOGETHER and end - since > 1:
        middle = (since + end) // 2
        yield from _pieces(connection, jobs, {**where, "end": middle})
        yield from _pieces(connection, jobs, {**where, "since": middle})
    elif count:
        yield {**where, "first": first, "last": last}, f"j.job_db_inx BETWEEN :first AND :last AND {_WINDOW}"


def _suspensions(jobs: str, suspensions: str, among: str) -> str:
    """DBIndex as text, and when that row's job was suspended: ``start-end``, commas between. ``among`` says which rows.

    Few jobs ever are: the suspensions come first, and not the window's jobs.
    """
    stretches = "GROUP_CONCAT(CONCAT(s.time_start, '-', s.time_end) ORDER BY s.time_start)"
    return (
        f"SELECT CAST(s.job_db_inx AS CHAR), {stretches} FROM {suspensions} s"  # noqa: S608
        f" STRAIGHT_JOIN {jobs} j ON j.job_db_inx = s.job_db_inx WHERE {among} GROUP BY s.job_db_inx"
    )


def _numbered(connection: Connection, query: str) -> dbd_rows.Names:
    """Names by number: ``1001`` -> ``gres/gpu``."""
    return {
        str(number): f"{kind}/{name}" if kind and name else str(kind or name)
        for number, kind, name in connection.execute(text(query))
    }
