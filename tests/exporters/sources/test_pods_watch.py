"""The pods source follows its server: events, pages, broken connections, 410."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporters.sources.kubernetes.pods import Pods
from exporters.sources.kubernetes.watch import collection
from exporters.sources.kubernetes.watch.collection import older
from tests.exporters.sources.pods_world import FINAL, WATCHES, lists, names, until
from tests.lab.kube_fake import CLAIM_PATH, NAMESPACE_PATH, NODE_PATH, POD_PATH, SLICE_PATH, KubeFake, node, pod
from tests.lab.kube_http import HttpError, Query


def test_events_arrive_and_nothing_is_asked_again(kube: KubeFake, pods: Pods) -> None:
    kube.put(POD_PATH, pod("a", node="n", scheduled=1000))
    kube.put(POD_PATH, pod("cpu-only", gpus=0, node="n", scheduled=1000))
    first = pods.poll(1.0)
    kube.put(POD_PATH, pod("b", node="n", scheduled=1100))
    until(pods, lambda s: names(s.claims) == {"a", "b"}, "b is held")
    kube.remove(POD_PATH, pod("a", node="n", scheduled=1000), **FINAL)
    found = until(pods, lambda s: names(s.ended) == {"a"}, "a has ended")

    assert {"a"} == names(first.claims)
    assert [(1000, 1500, "deleted")] == [(c.start, c.end, c.end_basis) for c in found.ended]
    assert 1 == lists(kube), "polls do not list"


def test_a_large_list_is_read_in_pages(kube: KubeFake, make_pods: Callable[..., Pods]) -> None:
    for n in range(7):
        kube.put(POD_PATH, pod(f"p{n}", node="n", scheduled=1000))

    found = make_pods(page=3).poll(1.0)

    assert {f"p{n}" for n in range(7)} == names(found.claims)
    assert ["", "3", "6"] == [
        q.get("continue", "") for path, q, _ in kube.requests if path == POD_PATH and "limit" in q
    ]


def test_a_broken_connection_is_resumed_where_it_broke(kube: KubeFake, pods: Pods) -> None:
    kube.put(POD_PATH, pod("a", node="n", scheduled=1000))
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)
    kube.cut()
    kube.put(POD_PATH, pod("b", node="n", scheduled=1100))

    until(pods, lambda s: names(s.claims) == {"a", "b"}, "b is held")

    assert 1 == lists(kube)


@pytest.mark.parametrize("by", ["bookmark", "silence"])
def test_a_rejection_is_dated_by_when_it_is_told_only_while_the_watch_is_in_step(
    kube: KubeFake, make_pods: Callable[..., Pods], by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "CATCH_UP_SECONDS", 2)
    now = 1500.0
    pods = make_pods(clock=lambda: now)
    for name in ("late", "now"):
        kube.put(POD_PATH, pod(name, node="n", scheduled=1000))
    pods.poll(1500.0)
    kube.wait_for_watch(WATCHES)
    before = len(_watches(kube))
    kube.cut()
    until(pods, lambda _: len(_watches(kube)) > before, "the watch is opened again", 1500.0)
    now = 9000.0
    kube.put(POD_PATH, _rejected("late"))
    first = until(pods, lambda s: names(s.ended) == {"late"}, "the replay is read", 1500.0)
    watches = len(_watches(kube))
    if by == "bookmark":
        kube.bookmark(POD_PATH)
    else:
        until(pods, lambda _: len(_watches(kube)) > watches, "a quiet watch has ended", 1500.0)
    kube.put(POD_PATH, _rejected("now"))
    then = until(pods, lambda s: names(s.ended) == {"late", "now"}, "the rejection is told", 1500.0)

    assert [(1000, 1500, "vanished")] == [(c.start, c.end, c.end_basis) for c in first.ended]
    assert [(1000, 9000, "finished")] == [(c.start, c.end, c.end_basis) for c in then.ended if "now" in c.native_id]


def _watches(kube: KubeFake) -> list[Query]:
    return [query for path, query, _ in kube.requests if path == POD_PATH and query.get("watch")]


def _rejected(name: str) -> Any:
    return pod(name, node="n", status={"phase": "Failed", "reason": "UnexpectedAdmissionError", "conditions": []})


def test_half_a_line_is_not_an_event(kube: KubeFake, pods: Pods) -> None:
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)
    line = json.dumps({"type": "ADDED", "object": pod("half", node="n", scheduled=1000)}).encode()
    kube.send(POD_PATH, line[: len(line) // 2])
    kube.put(NODE_PATH, node("m"))
    until(pods, lambda s: len(s.nodes) == 2, "the other watch goes on")
    kube.cut()
    kube.put(POD_PATH, pod("whole", node="n", scheduled=1000))

    found = until(pods, lambda s: bool(s.claims), "the next event is read")

    assert {"whole"} == names(found.claims)
    assert () == found.rejects


def test_a_whole_line_that_is_not_json_is_read_from_a_fresh_list(kube: KubeFake, pods: Pods) -> None:
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)
    kube.send(POD_PATH, b'{"type": "ADDED", "object": \n')
    kube.put(POD_PATH, pod("a", node="n", scheduled=1000))

    until(pods, lambda s: names(s.claims) == {"a"}, "a is held")

    assert 2 == lists(kube)


def test_a_bookmark_full_of_nulls_moves_the_resume_point(kube: KubeFake, pods: Pods) -> None:
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)
    kube.put(NODE_PATH, node("m"))  # the pods' watch hears nothing of it
    kube.bookmark(POD_PATH)
    kube.put(POD_PATH, pod("a", node="n", scheduled=1000))
    until(pods, lambda s: bool(s.claims), "the bookmark was read")
    kube.compact()
    kube.cut()
    kube.put(POD_PATH, pod("b", node="n", scheduled=1000))

    until(pods, lambda s: names(s.claims) == {"a", "b"}, "b is held")

    assert 1 == lists(kube)


def test_410_before_any_event_leads_to_a_list_and_closes_what_it_misses(kube: KubeFake, pods: Pods) -> None:
    kube.put(POD_PATH, pod("gone", node="n", scheduled=1000, started=1010))
    kube.put(POD_PATH, pod("here", node="n", scheduled=1000, started=1010))
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)
    kube.objects[POD_PATH].pop("uid-gone")  # no event, as after an outage
    kube.version += 10
    kube.compact()
    kube.cut()

    found = until(pods, lambda s: bool(s.ended), "the list misses it")

    assert [("lab/gone", 1000, 5000, "vanished")] == [(c.native_id, c.start, c.end, c.end_basis) for c in found.ended]
    assert {"here"} == names(found.claims)
    assert 2 == lists(kube)


def test_a_410_as_an_http_status_leads_to_a_list(kube: KubeFake, pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)
    watch, once = kube.watch, [HttpError(410, "too old resource version")]

    def refuse_once(path: str, query: Query) -> Iterator[Any]:
        if path == POD_PATH and once:
            raise once.pop()
        return watch(path, query)

    monkeypatch.setattr(kube, "watch", refuse_once)
    kube.put(POD_PATH, pod("a", node="n", scheduled=1000))
    kube.cut()

    for _ in range(200):
        pods.poll(1.0)  # raises nothing: the server has answered all the time
        if lists(kube) == 2:
            break
        threading.Event().wait(0.01)
    until(pods, lambda s: names(s.claims) == {"a"}, "a is held")

    assert [] == once


def test_another_error_in_the_stream_is_said_and_mended_by_a_list(kube: KubeFake, pods: Pods, testdata: Path) -> None:
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)
    kube.put(POD_PATH, pod("a", node="n", scheduled=1000))
    kube.send(POD_PATH, (testdata / "kube-1.36" / "extra-error-500-watchlist-old-etcd.jsonl").read_bytes())

    until(pods, lambda s: names(s.claims) == {"a"} and lists(kube) == 2, "it was listed again")


def test_devices_are_counted_once_their_claim_arrives(kube: KubeFake, pods: Pods) -> None:
    device = {"name": "gpu-0", "attributes": {"type": {"string": "gpu"}, "uuid": {"string": "GPU-0"}}}
    spec = {"driver": "gpu.nvidia.com", "nodeName": "n", "pool": {"name": "n", "generation": 1}, "devices": [device]}
    kube.put(SLICE_PATH, {"metadata": {"name": "s"}, "spec": spec})
    kube.put(POD_PATH, pod("a", gpus=0, node="n", scheduled=1000, claims={"c": "c"}))
    before = pods.poll(1.0)
    result = {"driver": "gpu.nvidia.com", "pool": "n", "device": "gpu-0"}
    status = {"allocation": {"devices": {"results": [result]}}, "reservedFor": [{"uid": "uid-a"}]}
    kube.put(CLAIM_PATH, {"metadata": {"name": "c", "namespace": "lab", "uid": "cu"}, "spec": {}, "status": status})

    found = until(pods, lambda s: bool(s.claims), "the claim was read")

    assert not before.complete
    assert [(1000, ("GPU-0",), "uid-a")] == [(c.milligpu, c.uuids, c.unit) for c in found.claims]


def test_one_watch_per_namespace_where_namespaces_are_named(kube: KubeFake, make_pods: Callable[..., Pods]) -> None:
    for namespace in ("one", "two", "three"):
        kube.put(POD_PATH, pod("a", uid=namespace, namespace=namespace, node="n", scheduled=1000))

    found = make_pods(namespaces=["one", "two"]).poll(1.0)

    assert {"one/a", "two/a"} == {c.native_id for c in found.claims}


def test_owners_are_read_as_metadata_only(kube: KubeFake, pods: Pods) -> None:
    resources = [{"name": "jobs", "kind": "Job", "namespaced": True}]
    kube.others["/apis/batch/v1"] = {"resources": resources}
    kube.others["/apis/batch/v1/namespaces/lab/jobs/j"] = {"metadata": {"name": "j", "uid": "ju", "labels": {"a": "b"}}}
    for name in ("a", "b"):
        kube.put(POD_PATH, pod(name, node="n", scheduled=1000, owner=("Job", "j", "ju")))

    found = pods.poll(1.0)

    assert [("lab/Job/j", {"a": "b"})] == [(job.display_id, job.labels) for job in found.jobs]
    asked = [accept for path, _, accept in kube.requests if path.endswith("/jobs/j")]
    assert ["application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"] == asked


def test_an_owner_is_forgotten_with_its_last_pod(kube: KubeFake, pods: Pods) -> None:
    owned: dict[str, Any] = {"node": "n", "scheduled": 1000, "owner": ("Job", "j", "ju")}
    kube.others["/apis/batch/v1"] = {"resources": [{"name": "jobs", "kind": "Job", "namespaced": True}]}
    kube.others["/apis/batch/v1/namespaces/lab/jobs/j"] = {"metadata": {"name": "j", "uid": "ju"}}
    kube.put(POD_PATH, pod("a", **owned))
    pods.poll(1.0)
    kube.remove(POD_PATH, pod("a", **owned), **FINAL)
    until(pods, lambda s: bool(s.ended), "a has ended")
    pods.poll(1.0)
    kube.put(POD_PATH, pod("b", **owned))
    until(pods, lambda s: names(s.claims) == {"b"}, "b is held")

    assert 2 == sum(1 for path, _, _ in kube.requests if path.endswith("/jobs/j"))


def test_a_pod_that_has_lost_its_key_is_still_followed_to_its_end(kube: KubeFake, pods: Pods) -> None:
    bridged: dict[str, Any] = {"gpus": 0, "node": "n", "scheduled": 1000}
    kube.put(POD_PATH, pod("a", labels={"scheduler.slinky.slurm.net/slurm-jobid": "7"}, **bridged))
    first = pods.poll(1.0)
    kube.put(POD_PATH, pod("a", **bridged))
    kube.remove(POD_PATH, pod("a", started=1010, finished=1300, **bridged))
    until(pods, lambda s: s.claims == (), "a has ended")

    assert {"a"} == names(first.claims)


def test_closing_is_quick_and_may_be_done_twice(kube: KubeFake, pods: Pods) -> None:
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)

    began = time.monotonic()
    pods.close()
    pods.close()

    assert time.monotonic() - began < 2
    assert [] == [t.name for t in threading.enumerate() if t.name.startswith("watch /")]


def test_versions_are_compared_as_numbers_and_only_as_numbers() -> None:
    assert older("99", "100")
    assert not older("100", "99")
    assert not older("100", "100")
    assert not older("abc", "100")


def test_who_asked_for_a_namespace_is_the_user_of_its_jobs_where_no_pod_names_one(kube: KubeFake, pods: Pods) -> None:
    asked_for = {"annotations": {"openshift.io/requester": "alice"}}
    kube.put(NAMESPACE_PATH, {"metadata": {"name": "lab", "uid": "ns-lab", **asked_for}})
    kube.put(POD_PATH, pod("a", node="n", scheduled=1000))
    kube.put(POD_PATH, pod("b", node="n", scheduled=1000, meta={"annotations": {"meterbridge.io/user": "bob"}}))

    found = pods.poll(1.0)

    assert {"a": "alice", "b": "bob"} == {job.name: job.user for job in found.jobs}


def test_without_the_right_to_read_namespaces_everything_else_is_read(kube: KubeFake, pods: Pods) -> None:
    kube.refuse(NAMESPACE_PATH)
    kube.put(POD_PATH, pod("a", node="n", scheduled=1000))

    found = pods.poll(1.0)

    assert ({"a"}, True, ()) == (names(found.claims), found.complete, found.problems)
