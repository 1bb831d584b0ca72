"""The API server of a case: its objects as lists and watches (`tests.lab.kube_fake`), and its pages of endpoints."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.lab.kube_fake import CLAIM_PATH, NODE_PATH, POD_PATH, SLICE_PATH, KubeFake, Object
from tests.lab.kube_http import Query

PATHS = {
    "nodes": NODE_PATH,
    "pods": POD_PATH,
    "resourceslices": SLICE_PATH,
    "resourceclaims": CLAIM_PATH,
    "deviceclasses": "/apis/resource.k8s.io/v1/deviceclasses",
}


class Cluster(KubeFake):
    """Serves the lists of a kube.yaml, and ``pages`` at /pages/NAME and /metrics as text."""

    def __init__(self) -> None:
        super().__init__(dra=False)
        self.pages: dict[str, str] = {}
        self.begun = False

    def show(self, lists: dict[str, list[Object]], *, expire: bool = False) -> None:
        """Take over the objects of a kube.yaml; what differs from before is told as changes.

        ``expire``: the server forgot the changes, and watches from before are told so (410).
        """
        if not self.begun:  # which API groups there are does not change later
            self.begun = True
            for kind in lists:
                if PATHS[kind] not in self.objects:
                    self.objects[PATHS[kind]], self._events[PATHS[kind]] = {}, []
        for kind, found in lists.items():
            path = PATHS[kind]
            now = {str(o["metadata"].get("uid") or o["metadata"]["name"]): o for o in found}
            for key, old in list(self.objects[path].items()):
                if key not in now:
                    self.remove(path, old)
            for key, new in now.items():
                if _plain(self.objects[path].get(key)) != new:
                    self.put(path, new)
        if expire:
            self.compact()
            self.cut()

    def get(self, path: str, query: Query) -> bytes | Object:
        found = super().get(path, query)
        wanted = [term.split("=", 1) for term in query.get("labelSelector", "").replace("==", "=").split(",") if term]
        if isinstance(found, dict) and wanted:
            kept = [o for o in found["items"] if all(_label(o, *term) for term in wanted)]
            return {**found, "items": kept}
        return found

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        page = self.pages.get(path.removeprefix("/pages/") if path.startswith("/pages/") else path.lstrip("/"))
        if page is None:
            super()._answer(handler)
            return
        body = page.encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "text/plain; version=0.0.4")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def _plain(obj: Any) -> Any:
    """An object as it was put, without the version that the server gave it."""
    if obj is None:
        return None
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}


def _label(obj: Object, key: str, value: str = "") -> bool:
    return bool(obj["metadata"].get("labels", {}).get(key) == value)
