"""A real node_exporter over a folder that stands for /sys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import httpx2

from tests.lab.daemons import Daemon
from tests.lab.ports import free
from tests.lab.servers import program


class NodeExporter:
    """One node_exporter with these collectors alone. ``sysfs`` may be a symbolic link that is turned while it runs."""

    def __init__(self, sysfs: Path, log: Path, collectors: Sequence[str] = ("infiniband",)) -> None:
        self.url = f"http://127.0.0.1:{free()[0]}"
        self._log = log
        self._command = [
            program("prometheus-node-exporter"),
            "--collector.disable-defaults",
            *(f"--collector.{name}" for name in collectors),
            f"--path.sysfs={sysfs}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]
        self._daemon: Daemon | None = None

    def __enter__(self) -> NodeExporter:
        self._daemon = Daemon("node_exporter", self._command, self._log)
        self._daemon.ready(self._answers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._daemon is not None:
            self._daemon.stop()

    def page(self) -> str:
        """What a scrape gets."""
        return httpx2.get(f"{self.url}/metrics").raise_for_status().text

    def _answers(self) -> bool:
        try:
            return httpx2.get(self.url).status_code == 200
        except httpx2.TransportError:
            return False
