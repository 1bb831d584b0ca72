"""Child processes of the lab: started in the foreground, watched while they come up, ended by their own pid."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def wait_for(condition: Callable[[], object], timeout: float, what: str, poll: float = 0.05) -> object:
    """Call ``condition`` until it returns something true, and return that; TimeoutError names ``what``."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout:g} s still no {what}")
        time.sleep(poll)


class Daemon:
    """One server process in the foreground, its output in ``log``, in a session of its own."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def ready(self, condition: Callable[[], object], timeout: float = 30) -> None:
        """Wait until ``condition`` holds; RuntimeError with the end of the log when the process dies first."""

        def alive_and_ready() -> object:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            return condition()

        try:
            wait_for(alive_and_ready, timeout, f"answer from {self.name}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}:\n{self.tail()}") from error

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def terminate(self) -> None:
        """Ask it to end (SIGTERM); `stop` waits for it."""
        if self.process.poll() is None:
            self.process.terminate()

    def stop(self, patience: float = 5) -> None:
        """End it: SIGTERM, and SIGKILL when it does not go. Safe to call twice."""
        self.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def sweep(variable: str, value: str, root: Path) -> list[int]:
    """Kill every process whose environment holds ``variable=value``, or that listens on a socket below ``root``.

    That is what a daemon of the lab left behind: job steps leave their daemon's session, so no pid file or process
    group finds them; and slurmstepd writes its title over its environment, but its socket is in the lab's own folder.
    Nobody else's process has either. This process itself is never meant.
    """
    needle = f"{variable}={value}".encode()
    sockets = _sockets_below(root)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if needle in (folder / "environ").read_bytes().split(b"\0") or sockets & _open_files(folder):
                os.kill(pid, signal.SIGKILL)
                found.append(pid)
    return found


def _sockets_below(root: Path) -> set[str]:
    """Unix sockets bound to a path below ``root``, as /proc names them (``socket:[4711]``)."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return {f"socket:[{row[6]}]" for row in rows if len(row) > 7 and row[7].startswith(f"{root}/")}


def _open_files(process: Path) -> set[str]:
    """What a process' descriptors point at."""
    names = set()
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            names.add(str(descriptor.readlink()))
    return names
