"""Opens a ledger: connects, and brings the database to the tables of `accounting.store.tables` by the migrations."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from accounting.store.database import LedgerError, connect, of_schema, write

_MAKES = "correct ledger.url, or let `meterbridge ingest` or an exporter make one"


def open_ledger(url: str, *, create: bool = True) -> Engine:
    """Open a ledger, and bring it to this version's schema first. Where there is none, one is made if ``create``.

    Raises `LedgerError` when the database cannot be reached or read, was written by a newer version, or holds no ledger
    and none may be made: whoever only asks must not be answered out of an empty one.
    """
    engine = connect(url)
    try:
        if not create:
            _must_be_there(engine)
        revision = upgrade(engine)
    except LedgerError:
        engine.dispose()
        raise
    except DBAPIError as error:
        engine.dispose()
        raise LedgerError(f"cannot open the ledger {engine.url!r}: {error.orig}") from error
    return of_schema(engine, revision)


def _must_be_there(engine: Engine) -> None:
    """Raises `LedgerError` where a database holds no ledger. A file that is not there is not made by looking."""
    if engine.dialect.name == "sqlite":
        file = Path(engine.url.database or "")
        if not file.exists():
            raise LedgerError(f"there is no ledger {str(file)!r}: {_MAKES}")
        if not file.stat().st_size:
            raise LedgerError(f"the ledger {str(file)!r} is an empty file: put back the last copy of it, or {_MAKES}")
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() is None:
            raise LedgerError(f"there is no ledger in {engine.url!r}: {_MAKES}")


def upgrade(engine: Engine, to: str = "head") -> str:
    """Run the migrations that the database lacks, up to a revision; nothing is written when it lacks none.

    Returns this version's own revision, the newest.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    head = ScriptDirectory.from_config(config).get_current_head() or ""
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == head:
            return head
    with write(engine) as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, to)
        except CommandError as error:
            raise LedgerError(
                f"the ledger {engine.url!r} was written by a newer meterbridge ({error}): update this one"
            ) from error
    return head
