"""A real Dask cluster of two workers, each a process that a test may kill."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.daemons import Daemon
from tests.lab.ports import free

ROOT = Path(__file__).parent.parent.parent


class Cluster:
    """A Dask scheduler and two workers, each a process of its own."""

    def __init__(self, root: Path) -> None:
        self.address = f"tcp://127.0.0.1:{free()[0]}"
        self.daemons: dict[str, Daemon] = {}
        listen = ("--host", "127.0.0.1", "--port", self.address.rpartition(":")[2], "--no-dashboard")
        self._start(root, "scheduler", "distributed.cli.dask_scheduler", *listen)
        for name in ("one", "two"):
            self._start(
                root, name, "distributed.cli.dask_worker", self.address, "--name", name, "--nthreads", "1",
                "--no-nanny", "--no-dashboard", "--memory-limit", "0", "--local-directory", str(root / name),
            )  # fmt: skip

    def _start(self, root: Path, name: str, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", module, *arguments]
        self.daemons[name] = Daemon(name, command, root / f"{name}.log", {"PYTHONPATH": str(ROOT)})

    def stop(self) -> None:
        """End all of it, the workers first."""
        for daemon in reversed(self.daemons.values()):
            daemon.stop()


@contextmanager
def running() -> Iterator[Cluster]:
    """A cluster for as long as it is wanted."""
    root = Path(tempfile.mkdtemp(prefix="dask-lab-"))
    started = Cluster(root)
    try:
        yield started
    finally:
        started.stop()
        shutil.rmtree(root)
