"""A real Alertmanager on a free loopback port, and a webhook that receives what it sends."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2
import yaml

from tests.lab.daemons import Daemon
from tests.lab.ports import free
from tests.lab.servers import program


class Webhook:
    """A receiver: keeps every notification that is posted to ``url``, in order."""

    def __init__(self) -> None:
        received: queue.Queue[dict[str, Any]] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass  # the test says what it received

        self._received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Webhook:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next(self, timeout: float = 30) -> dict[str, Any]:
        """The next notification. Raises TimeoutError when none comes."""
        try:
            return self._received.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"no notification within {timeout:g} s") from None


class Alertmanager:
    """One server below ``root`` that notifies ``webhook`` of every alert at once.

    ``config`` replaces that configuration, for tests of a site's own routing.
    """

    def __init__(self, root: Path, webhook: str, config: Mapping[str, Any] | None = None) -> None:
        self.root = root
        self.address = f"127.0.0.1:{free()[0]}"
        self.url = f"http://{self.address}"
        self._config = config or {
            "route": {
                "receiver": "test",
                "group_by": ["..."],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [{"name": "test", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
        }
        self._daemon: Daemon | None = None

    def __enter__(self) -> Alertmanager:
        file = self.root / "alertmanager.yml"
        file.write_text(yaml.safe_dump(dict(self._config)))
        self._daemon = Daemon(
            "alertmanager",
            [
                program("prometheus-alertmanager"),
                f"--config.file={file}",
                f"--storage.path={self.root / 'alertmanager'}",
                f"--web.listen-address={self.address}",
                "--cluster.listen-address=",
                "--log.level=warn",
            ],
            self.root / "alertmanager.log",
        )
        self._daemon.ready(self._answers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._daemon is not None:
            self._daemon.stop()

    def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Send alerts as Prometheus would (API v2: ``labels``, ``annotations``, ``startsAt``, ``endsAt``)."""
        httpx2.post(f"{self.url}/api/v2/alerts", json=list(alerts)).raise_for_status()

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts it knows."""
        found: list[dict[str, Any]] = httpx2.get(f"{self.url}/api/v2/alerts").raise_for_status().json()
        return found

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/-/ready").status_code == 200
        except httpx2.TransportError:
            return False


def timestamp(seconds_from_now: float = 0.0) -> str:
    """An instant in the form the API takes."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds_from_now))
