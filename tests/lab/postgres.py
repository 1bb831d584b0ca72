"""A throw-away PostgreSQL on loopback: its own cluster by initdb, its own port, ended by its own pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from tests.lab import ports, servers
from tests.lab.daemons import Daemon


class PostgreSQL:
    """A server with one empty database ``ledger``, its files under ``root``; as fast as one that may be lost can be.

    PostgreSQL refuses to run as root, so there it runs as user ``postgres``, which its packages create. With
    ``synchronous_commit`` on, what was committed is there after a `crash`.
    """

    def __init__(self, root: Path, synchronous_commit: str = "off") -> None:
        self.root, self.synchronous_commit = root, synchronous_commit
        [self.port] = ports.free()
        self._daemon: Daemon | None = None

    @property
    def url(self) -> str:
        """Address of the database, as `accounting.store.schema.open_ledger` takes it."""
        return self.address("ledger")

    def address(self, database: str) -> str:
        """Address of any database of the server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Make the cluster, start it, create the database."""
        self._make()
        self.run()
        subprocess.run(
            [servers.program("createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "ledger"],
            check=True,
            capture_output=True,
        )

    def _make(self) -> None:
        self.root.mkdir(parents=True)
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.root, user.pw_uid, user.pw_gid)
        subprocess.run(
            [*_become(), servers.program("initdb"), "-D", str(self.root / "data"), "-U", "postgres", "-A", "trust",
             "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"],
            check=True,
            capture_output=True,
            cwd=self.root,
        )  # fmt: skip

    def run(self) -> None:
        """Start it on the files that it has, also after `crash`."""
        data, log = self.root / "data", self.root / "log"
        log.unlink(missing_ok=True)
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",  # it survives the crash of its processes, not of the machine
            "synchronous_commit": self.synchronous_commit,
            "full_page_writes": "off",
            "max_wal_size": "512MB",
        }
        command = [*_become(), servers.program("postgres"), "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self._daemon = Daemon("postgres", command, log)
        self._daemon.ready(lambda: b"ready to accept connections" in log.read_bytes())

    def crash(self) -> None:
        """End all its processes at once, without a word and without a checkpoint; `run` recovers from its log."""
        if self._daemon is not None:
            self._daemon.process.send_signal(signal.SIGQUIT)
            self._daemon.process.wait(30)

    def cpu_seconds(self) -> float:
        """What all its processes have taken, those that have ended too."""
        if self._daemon is None:
            return 0.0
        pid = self._daemon.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ticks = _ticks(pid, slice(11, 15)) + sum(_ticks(int(child), slice(11, 13)) for child in children)
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it and forget its files."""
        if self._daemon is not None:
            self._daemon.process.send_signal(signal.SIGINT)  # fast shutdown, open connections are cut
            self._daemon.process.wait(30)
        shutil.rmtree(self.root, ignore_errors=True)


def _ticks(pid: int, fields: slice) -> int:
    """Fields of a process' CPU time: its own in user mode and in the kernel, then those of its ended children."""
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[fields]))


def _become() -> list[str]:
    """What goes before a command of its own when root runs the tests."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
