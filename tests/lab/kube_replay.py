"""Serves a recorded world (tests/testdata/kube-1.36) to the real client, connection by connection, in fast time.

Every watch the recorder had open is played again: the lines it received, then its end (a clean one, one in mid-line, a
broken connection). A list is answered with the one the recorder got at that point. A watch that asks for another
resourceVersion than the recorder did is an error that the test reads in ``mismatches``. After the last recorded
connection the next watch stays open and silent, and the resource counts as played.
"""

from __future__ import annotations

import csv
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.lab.kube_http import CUT, HttpError, KubeHttp, Query

NAMESPACE_PATH = "/api/v1/namespaces"
RESOURCES = ("pods", "nodes", "resourceclaims", "resourceslices")


@dataclass
class Connection:
    """One recorded watch: what was asked, the pieces received (the last may be half a line), how it ended."""

    path: str
    version: str
    pieces: list[bytes] = field(default_factory=list)
    cut: bool = False
    relist: str = ""  # the list that was read after it


def read(folder: Path, name: str) -> bytes:
    """A file of the recording, packed or not."""
    packed = folder / f"{name}.gz"
    return gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / name).read_bytes()


def connections(folder: Path, resource: str) -> list[Connection]:
    """The recorded watches of one resource, in order."""
    lines = read(folder, f"watch-{resource}.jsonl").split(b"\n")
    found: dict[int, Connection] = {}
    for line in read(folder, f"watch-{resource}.connections.jsonl").splitlines():
        event = json.loads(line)
        if event["event"] == "open":
            asked = urlsplit(event["request"])
            found[event["conn"]] = Connection(asked.path, dict(parse_qsl(asked.query))["resourceVersion"])
        elif event["event"] == "relist":
            found[event["conn"]].relist = event["file"]
        else:
            found[event["conn"]].cut = event["why"] not in ("eof", "error-event")
    for line in read(folder, f"watch-{resource}.recv.jsonl").splitlines():
        got = json.loads(line)
        piece = lines[got["line"] - 1] + (b"\n" if got["complete"] else b"")
        found[got["conn"]].pieces.append(piece)
    return [found[n] for n in sorted(found)]


def truth(folder: Path, name: str = "TRUTH.csv") -> list[dict[str, str]]:
    """The intervals an accountant must find."""
    return list(csv.DictReader(read(folder, name).decode().splitlines()))


class KubeReplay(KubeHttp):
    """The recorded API server. ``objects`` adds what the recorder did not ask for (owners): path -> object."""

    def __init__(self, folder: Path, objects: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.mismatches: list[str] = []
        self.objects = objects or {}
        self._folder = folder
        self._turn = threading.Condition()
        self._left = {r: connections(folder, r) for r in RESOURCES}
        self._paths = {watches[0].path: r for r, watches in self._left.items()}
        self._lists = {r: f"list-{r}.start.json" for r in RESOURCES}
        self._played: set[str] = set()

    def wait(self, timeout: float) -> bool:
        """Wait until everything recorded has been played and the client waits for more."""
        with self._turn:
            return self._turn.wait_for(lambda: self._played == set(RESOURCES), timeout)

    def get(self, path: str, query: Query) -> bytes | dict[str, Any]:
        if path == "/apis/resource.k8s.io":
            version = {"groupVersion": "resource.k8s.io/v1", "version": "v1"}
            return {"kind": "APIGroup", "name": "resource.k8s.io", "versions": [version], "preferredVersion": version}
        if path in self._paths:
            if not query.get("limit"):
                self.mismatches.append(f"{path}: listed in one piece")
            return read(self._folder, self._lists[self._paths[path]])
        if path == NAMESPACE_PATH:  # the recorder did not ask for them
            return {"kind": "NamespaceList", "metadata": {"resourceVersion": "1"}, "items": []}
        if path in self.objects:
            found: dict[str, Any] = self.objects[path]
            return found
        raise HttpError(403, f"{path} is forbidden", "Forbidden")

    def watch(self, path: str, query: Query) -> Iterator[Any]:
        if path == NAMESPACE_PATH:
            yield b""
            self.stopping.wait()
            return
        resource = self._paths[path]
        if not self._left[resource]:
            with self._turn:
                self._played.add(resource)
                self._turn.notify_all()
            yield b""
            self.stopping.wait()
            return
        now = self._left[resource].pop(0)
        if query.get("resourceVersion") != now.version:
            self.mismatches.append(f"{resource}: watched from {query.get('resourceVersion')}, recorded {now.version}")
        if query.get("allowWatchBookmarks") != "true" or not query.get("timeoutSeconds"):
            self.mismatches.append(f"{resource}: watched with {query}")
        if now.relist:
            self._lists[resource] = now.relist
        yield from now.pieces or [b""]
        if now.cut:
            yield CUT


def owner_objects(folder: Path) -> dict[str, Any]:
    """The owners of the recorded pods, as far as pods and truth tell: metadata, and discovery of their kinds.

    The recorder asked for none, so these are made: each pod's controller from its owner reference, and above it the
    truth's root where that is another object (ReplicaSet -> Deployment -> InferenceService, Job -> JobSet).
    """
    pods: dict[str, Any] = {}
    for item in json.loads(read(folder, "list-pods.start.json"))["items"]:
        pods[item["metadata"]["uid"]] = item
    for connection in connections(folder, "pods"):
        for piece in connection.pieces:
            if piece.endswith(b"\n"):
                obj = json.loads(piece)["object"]
                if obj.get("metadata", {}).get("uid"):
                    pods[obj["metadata"]["uid"]] = obj
    kinds: dict[str, dict[str, str]] = {}
    objects: dict[str, Any] = {}

    def add(namespace: str, ref: dict[str, Any], above: dict[str, Any] | None) -> None:
        plural = ref["kind"].lower() + "s"
        kinds.setdefault(ref["apiVersion"], {})[ref["kind"]] = plural
        meta = {"name": ref["name"], "namespace": namespace, "uid": ref["uid"]}
        if above is not None:
            meta["ownerReferences"] = [{**above, "controller": True}]
        objects[f"/apis/{ref['apiVersion']}/namespaces/{namespace}/{plural}/{ref['name']}"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta,
        }

    for row in truth(folder):
        pod = pods[row["pod_uid"]]
        for ref in pod["metadata"].get("ownerReferences", ()):
            root = {"kind": row["root_owner_kind"], "name": row["root_owner_name"], "uid": row["root_owner_uid"]}
            if ref["uid"] == root["uid"]:
                add(row["namespace"], ref, None)
            elif ref["kind"] == "ReplicaSet":
                name = ref["name"].rsplit("-", 1)[0]
                deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": f"{name}-uid"}
                add(row["namespace"], ref, deployment)
                root["apiVersion"] = "serving.kserve.io/v1beta1"
                add(row["namespace"], deployment, root)
                add(row["namespace"], root, None)
            else:
                root["apiVersion"] = "jobset.x-k8s.io/v1alpha2"
                add(row["namespace"], ref, root)
                add(row["namespace"], root, None)
    for api_version, plurals in kinds.items():
        objects[f"/apis/{api_version}"] = {
            "kind": "APIResourceList",
            "groupVersion": api_version,
            "resources": [{"name": plural, "kind": kind, "namespaced": True} for kind, plural in plurals.items()],
        }
    return objects
