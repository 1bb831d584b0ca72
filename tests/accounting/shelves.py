"""Ledgers that are put aside as they are and taken out again, as often as wanted, on either database."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

import psycopg

from accounting.store.schema import open_ledger
from tests.lab.postgres import PostgreSQL


class Shelf(Protocol):
    """Ledgers in places, and copies of them by name. Different places may be used at once."""

    def new(self, place: str) -> str:
        """An empty, migrated ledger; its address."""
        ...

    def keep(self, place: str, name: str) -> None:
        """Put a copy aside. Nobody may have the ledger open."""
        ...

    def take(self, place: str, name: str) -> str:
        """Put what was put aside as ``name`` in this place; its address."""
        ...

    def close(self) -> None:
        """Forget all of it."""
        ...


class SqliteShelf:
    """Files, with what is in their write-ahead logs. ``empty`` is a ledger to begin with."""

    def __init__(self, folder: Path, empty: Path) -> None:
        self.folder, self.empty = folder, empty

    def new(self, place: str) -> str:
        shutil.copy(self.empty, self._file(place))
        return f"sqlite:///{self._file(place)}"

    def keep(self, place: str, name: str) -> None:
        self._copy(place, f"kept {name}")

    def take(self, place: str, name: str) -> str:
        self._file(place, "-shm").unlink(missing_ok=True)
        self._copy(f"kept {name}", place)
        return f"sqlite:///{self._file(place)}"

    def close(self) -> None:
        shutil.rmtree(self.folder)

    def _file(self, place: str, part: str = "") -> Path:
        return self.folder / f"{place}.db{part}"

    def _copy(self, of: str, to: str) -> None:
        for part in ("", "-wal"):
            self._file(to, part).unlink(missing_ok=True)
            if self._file(of, part).exists():
                shutil.copy(self._file(of, part), self._file(to, part))


class PostgresShelf:
    """Databases of a server, made from each other."""

    def __init__(self, server: PostgreSQL) -> None:
        self.server = server
        self.names: set[str] = set()

    def new(self, place: str) -> str:
        url = self._copy("template0", place)
        open_ledger(url).dispose()
        return url

    def keep(self, place: str, name: str) -> None:
        self._copy(place, f"kept {name}")

    def take(self, place: str, name: str) -> str:
        return self._copy(f"kept {name}", place)

    def close(self) -> None:
        self._say(*(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)' for name in self.names))

    def _copy(self, of: str, to: str) -> str:
        self.names.add(to)
        self._say(f'DROP DATABASE IF EXISTS "{to}" WITH (FORCE)', f'CREATE DATABASE "{to}" TEMPLATE "{of}"')
        return self.server.address(to)

    def _say(self, *statements: str) -> None:
        with psycopg.connect(self.server.address("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())
