"""Copies of a ledger while it is in use, and ledgers out of copies."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine import make_url

from accounting.store.database import INTEGRITY, LedgerError, connect, damage_told, read

_PAGES = 4096
"""Pages of SQLite that are copied before others may write again: 16 MiB at the usual 4 KiB."""


def backup(engine: Engine, file: Path) -> int:
    """Copy a ledger as it is at one moment into a new ``file``, while others read and write; its bytes.

    The file of a SQLite ledger is a SQLite ledger; that of a PostgreSQL one is pg_dump's (custom format). It is
    readable by our own user alone, appears whole or not at all, and is proved to be readable before it does.
    Raises `LedgerError` where it exists, or cannot be made.
    """
    if file.exists():
        raise LedgerError(f"{file} exists: a copy never replaces another; name a new file")
    new = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    new.unlink(missing_ok=True)
    try:
        new.touch(0o600, exist_ok=False)
        if engine.dialect.name == "sqlite":
            _copy(Path(engine.url.database or ""), new)
            _prove(new)
        else:
            _ask("pg_dump", engine, "--format=custom", f"--file={new}")
            _run(["pg_restore", "--list", str(new)], {})
        with new.open("rb+") as made:
            os.fsync(made.fileno())
        new.replace(file)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"{file} cannot be made: {error}") from error
    finally:
        new.unlink(missing_ok=True)
    return file.stat().st_size


def restore(url: str, file: Path) -> None:
    """Make a ledger at ``url`` out of a `backup`. Raises `LedgerError` where there is one, or the copy is none."""
    if not file.is_file():
        raise LedgerError(f"there is no copy {str(file)!r}")
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        _restore_file(Path(address.database or ""), file)
        return
    engine = connect(url)
    try:
        if inspect(engine).get_table_names():
            raise LedgerError(f"the database {engine.url!r} is not empty: create a new one, and name it in ledger.url")
        _ask("pg_restore", engine, "--exit-on-error", "--single-transaction", "--no-owner", str(file), database=True)
    finally:
        engine.dispose()


def vacuum(engine: Engine) -> tuple[int, int]:
    """Give back what deleted rows left, and plan anew; the bytes before and after. Others wait meanwhile."""
    before = _bytes(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in ("VACUUM", "ANALYZE") if engine.dialect.name == "sqlite" else ("VACUUM (ANALYZE)",):
            connection.connection.driver_connection.execute(statement)  # type: ignore[union-attr]
        if engine.dialect.name == "sqlite":
            connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    return before, _bytes(engine)


def _bytes(engine: Engine) -> int:
    if engine.dialect.name == "sqlite":
        name = engine.url.database or ""
        return sum(p.stat().st_size for suffix in ("", "-wal") if (p := Path(name + suffix)).exists())
    with read(engine) as connection:
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def _restore_file(place: Path, file: Path) -> None:
    left = [Path(f"{place}{suffix}") for suffix in ("", "-wal", "-shm") if Path(f"{place}{suffix}").exists()]
    if left:
        names = ", ".join(str(path) for path in left)
        raise LedgerError(f"{names}: a ledger is there already; stop what uses it, and move it away first")
    _prove(file)
    new = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        new.touch(0o600, exist_ok=False)
        _copy(file, new)
        new.replace(place)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"{place} cannot be made out of {file}: {error}") from error
    finally:
        new.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """By SQLite's own online copy: one moment of the source, whoever writes to it meanwhile."""
    old = sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=60)
    with closing(old), closing(sqlite3.connect(target)) as new:
        old.backup(new, pages=_PAGES)
        new.execute("PRAGMA journal_mode=DELETE")  # one file, without neighbours


def _prove(file: Path) -> None:
    """Raise `LedgerError` unless a file is a whole ledger of SQLite."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as copy:
            wrong = damage_told(copy.execute(INTEGRITY))
            tables = {row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise LedgerError(f"{file} is no copy of a ledger: {error}") from error
    if wrong:
        raise LedgerError(f"{file} is damaged: {wrong}")
    if not {"alembic_version", "claims", "postings"} <= tables:
        raise LedgerError(f"{file} is a database, but not a ledger")


def _ask(program: str, engine: Engine, *words: str, database: bool = False) -> None:
    """Run one of PostgreSQL's programs on a ledger's database; its password is not on the command line."""
    url = engine.url
    options = {"--host": url.host, "--port": url.port, "--username": url.username}
    command = [program, *(f"{key}={value}" for key, value in options.items() if value), "--no-password"]
    command += [f"--dbname={url.database}", *words] if database else [*words, url.database or ""]
    _run(command, {"PGPASSWORD": str(url.password)} if url.password else {})


def _run(command: list[str], environment: dict[str, str]) -> None:
    if shutil.which(command[0]) is None:
        raise LedgerError(f"no {command[0]} here: install PostgreSQL's client programs (postgresql-client)")
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:500]
        raise LedgerError(f"{command[0]} ended with {done.returncode}: {said}")
