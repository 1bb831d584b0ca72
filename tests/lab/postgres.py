"""A throw-away PostgreSQL on loopback: its own cluster by initdb, its own port, ended by its own pid."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from tests.lab import ports, servers
from tests.lab.daemons import Daemon


class PostgreSQL:
    """A server with one empty database ``ledger``, its files under ``root``; as fast as one that may be lost can be.

    PostgreSQL refuses to run as root, so there it runs as user ``postgres``, which its packages create.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        [self.port] = ports.free()
        self._daemon: Daemon | None = None

    @property
    def url(self) -> str:
        """Address of the database, as `accounting.schema.open_ledger` takes it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/ledger"

    def start(self) -> None:
        """Make the cluster, start it, create the database."""
        self.root.mkdir(parents=True)
        become: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.root, user.pw_uid, user.pw_gid)
            become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        data, log = self.root / "data", self.root / "log"
        subprocess.run(
            [*become, servers.program("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8",
             "--locale=C", "--no-sync", "--no-instructions"],
            check=True,
            capture_output=True,
            cwd=self.root,
        )  # fmt: skip
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_wal_size": "512MB",
        }
        command = [*become, servers.program("postgres"), "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self._daemon = Daemon("postgres", command, log)
        self._daemon.ready(lambda: b"ready to accept connections" in log.read_bytes())
        subprocess.run(
            [servers.program("createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "ledger"],
            check=True,
            capture_output=True,
        )

    def stop(self) -> None:
        """End it and forget its files."""
        if self._daemon is not None:
            self._daemon.process.send_signal(2)  # SIGINT: fast shutdown, open connections are cut
            self._daemon.process.wait(30)
        shutil.rmtree(self.root, ignore_errors=True)
