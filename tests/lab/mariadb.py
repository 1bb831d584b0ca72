"""A throw-away MariaDB on loopback, for slurmdbd."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.lab import ports, servers
from tests.lab.daemons import Daemon


class MariaDB:
    """A server with one database and one user, its files under ``root``, as fast as a database to be lost can be."""

    def __init__(self, root: Path, database: str, user: str, password: str) -> None:
        self.root, self.database, self.user, self.password = root, database, user, password
        [self.port] = ports.free()
        self._daemon: Daemon | None = None

    def start(self) -> None:
        """Install, start, and create the database and its user."""
        data, socket = self.root / "data", self.root / "sock"
        temporary = (
            self.root / "tmp"
        )  # a server that starts clears away every server's temporary tables in a shared one
        temporary.mkdir(parents=True)
        subprocess.run(
            [
                servers.program("mariadb-install-db"),
                "--no-defaults",
                "--user=root",
                f"--datadir={data}",
                f"--tmpdir={temporary}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            check=True,
            capture_output=True,
        )
        init = self.root / "init.sql"
        init.write_text(
            f"create database if not exists {self.database};\n"
            f"create user if not exists '{self.user}'@'127.0.0.1' identified by '{self.password}';\n"
            f"grant all on {self.database}.* to '{self.user}'@'127.0.0.1';\n"
        )
        self._daemon = Daemon(
            "mariadbd",
            [
                servers.program("mariadbd"),
                "--no-defaults",
                "--user=root",
                f"--datadir={data}",
                f"--tmpdir={temporary}",
                f"--socket={socket}",
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                f"--init-file={init}",
                f"--pid-file={self.root / 'pid'}",
                "--skip-name-resolve",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-buffer-pool-size=128M",
                "--innodb-lock-wait-timeout=900",
                "--loose-innodb-snapshot-isolation=OFF",  # on by default since MariaDB 11.6; slurmdbd cannot have it
            ],
            self.root / "log",
        )
        self._daemon.ready(lambda: b"ready for connections" in (self.root / "log").read_bytes())

    def stop(self) -> None:
        """End it and forget its files."""
        if self._daemon is not None:
            self._daemon.stop()
        shutil.rmtree(self.root, ignore_errors=True)
