"""Opens a ledger: connects, and brings the database to the tables of `accounting.store.tables` by the migrations."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from accounting.store.database import LedgerError, connect, write


def open_ledger(url: str) -> Engine:
    """Open a ledger, creating it or bringing it to this version's schema first.

    Raises `LedgerError` when the database cannot be reached, or was written by a newer version.
    """
    engine = connect(url)
    try:
        upgrade(engine)
    except LedgerError:
        engine.dispose()
        raise
    except OperationalError as error:
        engine.dispose()
        raise LedgerError(f"cannot open the ledger {engine.url!r}: {error.orig}") from error
    return engine


def upgrade(engine: Engine, to: str = "head") -> None:
    """Run the migrations that the database lacks, up to a revision; nothing is written when it lacks none."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    head = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == head:
            return
    with write(engine) as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, to)
        except CommandError as error:
            raise LedgerError(
                f"the ledger {engine.url!r} was written by a newer meterbridge ({error}): update this one"
            ) from error
