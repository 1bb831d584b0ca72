"""Two slurmrestd beside the Slurm lab: one on a unix socket that trusts who may open it, one on HTTP with JSON web
tokens. One daemon cannot be both: towards slurmctld it is either itself (munge) or the bearer of its callers' tokens.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Self

from tests.lab import ports
from tests.lab.daemons import Daemon
from tests.lab.slurm import SlurmLab

RUNS_AS = "bob"
"""It refuses to run as root, and as the SlurmUser."""


class SlurmRest:
    """``socket`` and ``url`` are where they listen; `token` makes what the latter asks for."""

    def __init__(self, lab: SlurmLab) -> None:
        self.lab = lab
        [self.port] = ports.free()
        self.folder = lab.root / f"rest-{self.port}"
        self.socket = f"unix://{self.folder}/socket"
        self.url = f"http://127.0.0.1:{self.port}"
        self._daemons: list[Daemon] = []

    def __enter__(self) -> Self:
        self.folder.mkdir()
        self.folder.chmod(0o777)
        self._start("local", f"unix:{self.folder}/socket", {})
        self._start("jwt", f"127.0.0.1:{self.port}", {"SLURM_JWT": "daemon"})
        for daemon in self._daemons:
            daemon.ready(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in self._daemons:
            daemon.stop()

    def token(self, user: str = "alice", lifespan: int = 600) -> str:
        """A token of ``user``, good for ``lifespan`` seconds."""
        printed = self.lab.run("scontrol", "token", f"username={user}", f"lifespan={lifespan}")
        return printed.strip().removeprefix("SLURM_JWT=")

    def _start(self, kind: str, where: str, environment: dict[str, str]) -> None:
        command = self.lab.command("slurmrestd", "-u", RUNS_AS, "-g", RUNS_AS, "-a", f"rest_auth/{kind}", where)
        log = self.lab.layout.log / f"slurmrestd-{kind}.out"
        self._daemons.append(Daemon("slurmrestd", command, log, {**self.lab.environment, **environment}))

    def _listen(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0 and Path(self.folder, "socket").exists()
