"""A stand-in for Grafana, which no package installs here: it says that it is one.

It keeps folders, data sources and boards as Grafana's HTTP API does, adds what Grafana adds (numbers, versions), and
answers 404, 401 and 412 where Grafana does. Paths and answers are those of Grafana's API documentation, release 11.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "glsa_stand-in"


class FakeGrafana:
    """A context manager; ``url`` is its address, ``writes`` what was written so far, as (method, path)."""

    def __init__(self, prefix: str = "") -> None:
        self.folders: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.boards: dict[str, dict[str, Any]] = {}
        self.writes: list[tuple[str, str]] = []
        self.refuse: dict[str, int] = {}
        """Path -> status with which requests to it are refused."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Quiet."""

            def _serve(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    status, answer = 401, {"message": "Invalid API key"}
                else:
                    status, answer = outer._answer(self.command, self.path.removeprefix(prefix), body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server calls

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{prefix}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> FakeGrafana:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path in self.refuse:
            return self.refuse[path], {"message": "refused"}
        if method != "GET":
            self.writes.append((method, path))
        parts = path.removeprefix("/api/").split("/")
        match method, parts:
            case "GET", ["folders", uid]:
                return _get(self.folders, uid, "folder not found")
            case "POST", ["folders"]:
                if body["uid"] in self.folders:
                    return 412, {"message": "a folder with the same uid already exists"}
                self.folders[body["uid"]] = {"id": len(self.folders) + 1, "version": 1, **body}
                return 200, self.folders[body["uid"]]
            case "PUT", ["folders", uid]:
                self.folders[uid] |= {"title": body["title"]}
                return 200, self.folders[uid]
            case "GET", ["datasources", "uid", uid]:
                return _get(self.sources, uid, "Data source not found")
            case "POST", ["datasources"]:
                self.sources[body["uid"]] = {"id": 1, "jsonData": {}, "readOnly": False, **body}
                return 200, {"datasource": self.sources[body["uid"]], "message": "Datasource added"}
            case "PUT", ["datasources", "uid", uid]:
                self.sources[uid] = body
                return 200, {"datasource": body, "message": "Datasource updated"}
            case "GET", ["dashboards", "uid", uid]:
                return _get(self.boards, uid, "Dashboard not found")
            case "POST", ["dashboards", "db"]:
                board = body["dashboard"]
                version = self.boards.get(board["uid"], {}).get("dashboard", {}).get("version", 0) + 1
                kept = {**board, "id": len(self.boards) + 1, "version": version}
                self.boards[board["uid"]] = {"dashboard": kept, "meta": {"folderUid": body["folderUid"]}}
                return 200, {"status": "success", "uid": board["uid"], "version": version}
        return 404, {"message": "Not found"}


def _get(there: dict[str, Any], uid: str, missing: str) -> tuple[int, Any]:
    return (200, there[uid]) if uid in there else (404, {"message": missing})
