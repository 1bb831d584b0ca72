"""The replayed API server, asked by the official client and by hand."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from threading import Event as Signal
from threading import Thread
from typing import Any

import pytest
from kubernetes import client, watch

from demo.kube_replay import FIRST_VERSION, Event, KubeReplay
from tests.lab.daemons import wait_for


def pod(name: str, phase: str = "Running") -> dict[str, Any]:
    meta = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "creationTimestamp": "2026-10-01T00:00:00Z"}
    return {"metadata": meta, "spec": {"containers": [{"name": "c"}]}, "status": {"phase": phase}}


EVENTS = [
    Event(10, "pods", "ADDED", pod("a")),
    Event(10, "nodes", "ADDED", {"metadata": {"name": "n1"}, "spec": {}, "status": {}}),
    Event(20, "pods", "ADDED", pod("b", "Pending")),
    Event(30, "pods", "MODIFIED", pod("b")),
    Event(40, "pods", "DELETED", pod("a")),
]
STATIC = {"/apis/apps/v1": {"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": []}}


@pytest.fixture
def replay() -> Iterator[KubeReplay]:
    server = KubeReplay(EVENTS, STATIC)
    server.start()
    yield server
    server.close()


@pytest.fixture
def api(replay: KubeReplay) -> Iterator[client.CoreV1Api]:
    with client.ApiClient(client.Configuration(host=replay.url)) as connection:
        yield client.CoreV1Api(connection)


def get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_a_list_holds_what_there_is_at_the_moment_that_was_reached(replay: KubeReplay, api: client.CoreV1Api) -> None:
    replay.advance(20)

    listed = api.list_pod_for_all_namespaces()

    assert [(p.metadata.name, p.status.phase) for p in listed.items] == [("a", "Running"), ("b", "Pending")]
    assert listed.metadata.resource_version == str(FIRST_VERSION + 3)


def test_a_watch_tells_what_happened_after_the_list_as_it_happens(replay: KubeReplay, api: client.CoreV1Api) -> None:
    replay.advance(10)
    version = api.list_pod_for_all_namespaces().metadata.resource_version

    def happen() -> None:
        wait_for(lambda: replay.read_to, 10, "watch")
        for moment in (20, 30, 40):
            replay.advance(moment)

    happening = Thread(target=happen)
    happening.start()
    told = []
    for event in watch.Watch().stream(api.list_pod_for_all_namespaces, resource_version=version):
        told.append((event["type"], event["object"].metadata.name))
        if len(told) == 3:
            break
    happening.join()

    assert told == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]


def watch_once(replay: KubeReplay, version: int) -> int:
    """One watch to its end; the version that it reached."""
    path = f"{replay.url}/api/v1/pods?watch=1&timeoutSeconds=20&resourceVersion={version}"
    with urllib.request.urlopen(path, timeout=30) as answer:
        for line in answer.read().splitlines():
            version = int(json.loads(line)["object"]["metadata"]["resourceVersion"])
    return version


def test_settling_waits_until_the_reader_asks_for_what_comes_next(replay: KubeReplay) -> None:
    replay.advance(10)
    go_on = Signal()

    def follow() -> None:
        version = watch_once(replay, FIRST_VERSION + 2)
        go_on.wait(20)
        with suppress(http.client.IncompleteRead):  # cut at the end of the test
            watch_once(replay, version)

    reader = Thread(target=follow)
    reader.start()
    wait_for(lambda: replay.read_to, 10, "reader")
    replay.settle(0)
    replay.advance(20)
    with pytest.raises(TimeoutError):
        replay.settle(0.2)
    go_on.set()
    replay.settle(10)
    read_to = replay.read_to
    replay.close()
    reader.join(10)

    assert read_to == {"pods": FIRST_VERSION + 3}
    assert not reader.is_alive()


def test_an_unreadable_server_cuts_its_watches_and_refuses_everything(replay: KubeReplay) -> None:
    replay.advance(10)
    cuts: list[Exception] = []

    def follow() -> None:
        try:
            watch_once(replay, FIRST_VERSION + 2)
        except http.client.IncompleteRead as cut:
            cuts.append(cut)

    reader = Thread(target=follow)
    reader.start()
    wait_for(lambda: replay.read_to, 10, "reader")
    replay.advance(15, readable=False)
    reader.join(10)
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{replay.url}/api/v1/pods")
    replay.advance(15)

    assert len(cuts) == 1
    assert refused.value.code == 503
    assert json.load(refused.value)["reason"] == "ServiceUnavailable"
    assert [p["metadata"]["name"] for p in get(f"{replay.url}/api/v1/pods")["items"]] == ["a"]


def test_what_is_not_there_is_a_status_as_the_api_serves_it(replay: KubeReplay) -> None:
    with pytest.raises(urllib.error.HTTPError) as missing:
        get(f"{replay.url}/apis/resource.k8s.io/v1/resourceclaims")

    status = json.load(missing.value)
    assert (missing.value.code, status["kind"], status["reason"]) == (404, "Status", "NotFound")
    assert get(f"{replay.url}/apis/apps/v1") == STATIC["/apis/apps/v1"]
