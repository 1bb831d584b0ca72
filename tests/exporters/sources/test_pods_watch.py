"""The pods source against a server that does what servers do on bad days."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporters.model import Claim, Snapshot
from exporters.sources.base import SourceError
from exporters.sources.kube.api import KubeApi, resource_of
from exporters.sources.kube.watch import older
from exporters.sources.pods import Pods
from tests.lab import ports
from tests.lab.kube_fake import CLAIM_PATH, NODE_PATH, POD_PATH, SLICE_PATH, KubeFake, iso, node, pod
from tests.lab.kube_http import HttpError, Query

WATCHES = 4
FINAL: dict[str, Any] = {"deletionTimestamp": iso(1500), "deletionGracePeriodSeconds": 0}


@pytest.fixture
def server() -> Iterator[KubeFake]:
    with KubeFake() as found:
        found.put(NODE_PATH, node("n"))
        yield found


@pytest.fixture
def make(server: KubeFake) -> Iterator[Callable[..., Pods]]:
    made: list[Pods] = []

    def build(**settings: Any) -> Pods:
        settings = {"pause": 0.01, "clock": lambda: 5000.0, "start_timeout": 10.0, **settings}
        made.append(Pods("k", api_client=server.client(), **settings))
        return made[-1]

    yield build
    for source in made:
        source.close()


@pytest.fixture
def source(make: Callable[..., Pods]) -> Pods:
    return make()


def until(source: Pods, condition: Callable[[Snapshot], bool], what: str) -> Snapshot:
    """Poll until the snapshot is as expected: events take a moment to arrive."""
    found: Snapshot | SourceError | None = None
    for _ in range(1000):
        try:
            found = source.poll(1.0)
        except SourceError as e:
            found = e
        if isinstance(found, Snapshot) and condition(found):
            return found
        threading.Event().wait(0.01)
    raise AssertionError(f"never: {what}; last was {found}")


def until_error(source: Pods) -> str:
    """Poll until that fails; what it says."""
    for _ in range(1000):
        try:
            source.poll(1.0)
        except SourceError as e:
            return str(e)
        threading.Event().wait(0.01)
    raise AssertionError("no poll has failed")


def names(claims: tuple[Claim, ...]) -> set[str]:
    return {c.native_id.removeprefix("lab/") for c in claims}


def lists(server: KubeFake, path: str = POD_PATH) -> int:
    return sum(1 for asked, query, _ in server.requests if asked == path and not query.get("watch"))


def test_events_arrive_and_nothing_is_asked_again(server: KubeFake, source: Pods) -> None:
    server.put(POD_PATH, pod("a", node="n", scheduled=1000))
    server.put(POD_PATH, pod("cpu-only", gpus=0, node="n", scheduled=1000))
    first = source.poll(1.0)
    server.put(POD_PATH, pod("b", node="n", scheduled=1100))
    until(source, lambda s: names(s.claims) == {"a", "b"}, "b is held")
    server.remove(POD_PATH, pod("a", node="n", scheduled=1000), **FINAL)
    found = until(source, lambda s: names(s.ended) == {"a"}, "a has ended")

    assert {"a"} == names(first.claims)
    assert [(1000, 1500, "deleted")] == [(c.start, c.end, c.end_basis) for c in found.ended]
    assert 1 == lists(server), "polls do not list"


def test_a_large_list_is_read_in_pages(server: KubeFake, make: Callable[..., Pods]) -> None:
    for n in range(7):
        server.put(POD_PATH, pod(f"p{n}", node="n", scheduled=1000))

    found = make(page=3).poll(1.0)

    assert {f"p{n}" for n in range(7)} == names(found.claims)
    assert ["", "3", "6"] == [
        q.get("continue", "") for path, q, _ in server.requests if path == POD_PATH and "limit" in q
    ]


def test_a_broken_connection_is_resumed_where_it_broke(server: KubeFake, source: Pods) -> None:
    server.put(POD_PATH, pod("a", node="n", scheduled=1000))
    source.poll(1.0)
    server.wait_for_watch(WATCHES)
    server.cut()
    server.put(POD_PATH, pod("b", node="n", scheduled=1100))

    until(source, lambda s: names(s.claims) == {"a", "b"}, "b is held")

    assert 1 == lists(server)


def test_half_a_line_is_not_an_event(server: KubeFake, source: Pods) -> None:
    source.poll(1.0)
    server.wait_for_watch(WATCHES)
    line = json.dumps({"type": "ADDED", "object": pod("half", node="n", scheduled=1000)}).encode()
    server.send(POD_PATH, line[: len(line) // 2])
    server.put(NODE_PATH, node("m"))
    until(source, lambda s: len(s.nodes) == 2, "the other watch goes on")
    server.cut()
    server.put(POD_PATH, pod("whole", node="n", scheduled=1000))

    found = until(source, lambda s: bool(s.claims), "the next event is read")

    assert {"whole"} == names(found.claims)
    assert () == found.rejects


def test_a_whole_line_that_is_not_json_is_read_from_a_fresh_list(server: KubeFake, source: Pods) -> None:
    source.poll(1.0)
    server.wait_for_watch(WATCHES)
    server.send(POD_PATH, b'{"type": "ADDED", "object": \n')
    server.put(POD_PATH, pod("a", node="n", scheduled=1000))

    until(source, lambda s: names(s.claims) == {"a"}, "a is held")

    assert 2 == lists(server)


def test_a_bookmark_full_of_nulls_moves_the_resume_point(server: KubeFake, source: Pods) -> None:
    source.poll(1.0)
    server.wait_for_watch(WATCHES)
    server.put(NODE_PATH, node("m"))  # the pods' watch hears nothing of it
    server.bookmark(POD_PATH)
    server.put(POD_PATH, pod("a", node="n", scheduled=1000))
    until(source, lambda s: bool(s.claims), "the bookmark was read")
    server.compact()
    server.cut()
    server.put(POD_PATH, pod("b", node="n", scheduled=1000))

    until(source, lambda s: names(s.claims) == {"a", "b"}, "b is held")

    assert 1 == lists(server)


def test_410_before_any_event_leads_to_a_list_and_closes_what_it_misses(server: KubeFake, source: Pods) -> None:
    server.put(POD_PATH, pod("gone", node="n", scheduled=1000, started=1010))
    server.put(POD_PATH, pod("here", node="n", scheduled=1000, started=1010))
    source.poll(1.0)
    server.wait_for_watch(WATCHES)
    server.objects[POD_PATH].pop("uid-gone")  # no event, as after an outage
    server.version += 10
    server.compact()
    server.cut()

    found = until(source, lambda s: bool(s.ended), "the list misses it")

    assert [("lab/gone", 1000, 5000, "vanished")] == [(c.native_id, c.start, c.end, c.end_basis) for c in found.ended]
    assert {"here"} == names(found.claims)
    assert 2 == lists(server)


def test_a_410_as_an_http_status_leads_to_a_list(
    server: KubeFake, source: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.poll(1.0)
    server.wait_for_watch(WATCHES)
    watch, once = server.watch, [HttpError(410, "too old resource version")]

    def refuse_once(path: str, query: Query) -> Iterator[Any]:
        if path == POD_PATH and once:
            raise once.pop()
        return watch(path, query)

    monkeypatch.setattr(server, "watch", refuse_once)
    server.put(POD_PATH, pod("a", node="n", scheduled=1000))
    server.cut()

    for _ in range(200):
        source.poll(1.0)  # raises nothing: the server has answered all the time
        if lists(server) == 2:
            break
        threading.Event().wait(0.01)
    until(source, lambda s: names(s.claims) == {"a"}, "a is held")

    assert [] == once


def test_another_error_in_the_stream_is_said_and_mended_by_a_list(
    server: KubeFake, source: Pods, testdata: Path
) -> None:
    source.poll(1.0)
    server.wait_for_watch(WATCHES)
    server.put(POD_PATH, pod("a", node="n", scheduled=1000))
    server.send(POD_PATH, (testdata / "kube-1.36" / "extra-error-500-watchlist-old-etcd.jsonl").read_bytes())

    until(source, lambda s: names(s.claims) == {"a"} and lists(server) == 2, "it was listed again")


def test_a_server_that_goes_away_is_an_error_and_its_return_mends_it(server: KubeFake, source: Pods) -> None:
    server.put(POD_PATH, pod("a", node="n", scheduled=1000))
    source.poll(1.0)
    server.wait_for_watch(WATCHES)
    server.refuse(POD_PATH, 503, "etcd has no leader")
    server.cut()

    assert "503 etcd has no leader" in until_error(source), "the last good data is not presented as fresh"
    server.refused.clear()
    until(source, lambda s: names(s.claims) == {"a"}, "it is back")


def test_a_server_that_is_not_there_is_an_error(make: Callable[..., Pods], tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    [port] = ports.free()
    kubeconfig.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": "secret"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    source = Pods("k", kubeconfig=str(kubeconfig), start_timeout=5)

    with pytest.raises(SourceError, match=f"127.0.0.1:{port}/apis/resource.k8s.io: NewConnectionError"):
        source.poll(1.0)
    source.close()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (POD_PATH, 'grant verb get and list on resource "pods" of apiGroup ""'),
        (NODE_PATH, 'grant verb get and list on resource "nodes" of apiGroup ""'),
    ],
)
def test_a_missing_right_is_named(server: KubeFake, source: Pods, path: str, sentence: str) -> None:
    server.refuse(path)

    with pytest.raises(SourceError) as e:
        source.poll(1.0)

    assert sentence in str(e.value)
    assert f"{path}: 403 forbidden: no such right" in str(e.value)


def test_refused_credentials_are_an_error(server: KubeFake, source: Pods) -> None:
    server.refuse(NODE_PATH, 401, "Unauthorized")

    with pytest.raises(SourceError, match="401 Unauthorized; the credentials are not accepted"):
        source.poll(1.0)


def test_no_configuration_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    broken = tmp_path / "config"
    broken.write_text("clusters: [")

    with pytest.raises(SourceError, match="no access to the Kubernetes API by the pod's service account"):
        Pods("k").poll(1.0)
    for path in (tmp_path / "none", broken):
        with pytest.raises(SourceError, match=f"no access to the Kubernetes API by kubeconfig {path}"):
            Pods("k", kubeconfig=str(path)).poll(1.0)


def test_a_server_without_dra_is_no_error_and_is_said_once() -> None:
    with KubeFake(dra=False) as server:
        server.put(NODE_PATH, node("n"))
        server.put(POD_PATH, pod("a", node="n", scheduled=1000))
        source = Pods("k", api_client=server.client(), pause=0.01)
        first, second = source.poll(1.0), source.poll(2.0)
        source.close()

    assert "no Dynamic Resource Allocation" in first.problems[0]
    assert () == second.problems
    assert first.complete
    assert {"a"} == names(first.claims)


def test_dra_without_the_right_to_read_it_is_said_once_and_its_pods_are_not_counted(
    server: KubeFake, source: Pods
) -> None:
    server.refuse(CLAIM_PATH)
    server.put(POD_PATH, pod("plain", node="n", scheduled=1000))
    first = source.poll(1.0)
    server.put(POD_PATH, pod("dra", gpus=0, node="n", scheduled=1000, claims={"c": "c"}))
    second = until(source, lambda s: not s.complete, "the DRA pod was read")

    assert 'grant verb get and list on resource "resourceclaims" of apiGroup "resource.k8s.io"' in first.problems[0]
    assert first.complete
    assert ("1 pods cannot be counted yet: pod lab/dra: ResourceClaim lab/c cannot be read",) == second.problems
    assert {"plain"} == names(second.claims)


def test_devices_are_counted_once_their_claim_arrives(server: KubeFake, source: Pods) -> None:
    device = {"name": "gpu-0", "attributes": {"type": {"string": "gpu"}, "uuid": {"string": "GPU-0"}}}
    spec = {"driver": "gpu.nvidia.com", "nodeName": "n", "pool": {"name": "n", "generation": 1}, "devices": [device]}
    server.put(SLICE_PATH, {"metadata": {"name": "s"}, "spec": spec})
    server.put(POD_PATH, pod("a", gpus=0, node="n", scheduled=1000, claims={"c": "c"}))
    before = source.poll(1.0)
    result = {"driver": "gpu.nvidia.com", "pool": "n", "device": "gpu-0"}
    status = {"allocation": {"devices": {"results": [result]}}, "reservedFor": [{"uid": "uid-a"}]}
    server.put(CLAIM_PATH, {"metadata": {"name": "c", "namespace": "lab", "uid": "cu"}, "spec": {}, "status": status})

    found = until(source, lambda s: bool(s.claims), "the claim was read")

    assert not before.complete
    assert [(1000, ("GPU-0",), "uid-a")] == [(c.milligpu, c.uuids, c.unit) for c in found.claims]


def test_a_pod_that_cannot_be_read_is_a_reject_and_the_rest_goes_on(server: KubeFake, source: Pods) -> None:
    server.put(POD_PATH, pod("fine", node="n", scheduled=1000))
    broken = pod("broken", node="n", scheduled=1000)
    broken["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "lots"}}
    server.put(POD_PATH, broken)
    server.put(NODE_PATH, {**node("odd"), "status": {"capacity": {"nvidia.com/gpu": "-8"}}})

    found = source.poll(1.0)

    assert {"fine"} == names(found.claims)
    assert {"n"} == {n.key.name for n in found.nodes}
    reasons = {r.reason for r in found.rejects}
    assert reasons == {
        "pod lab/broken: 'lots' is not a whole number of devices",
        "node odd: '-8' is not a whole number of devices",
    }
    assert all('"name": "' in r.record for r in found.rejects)


def test_an_answer_beyond_the_limit_is_an_error(server: KubeFake, make: Callable[..., Pods]) -> None:
    server.put(POD_PATH, pod("big", node="n", scheduled=1000, labels={"x": "y" * 200_000}))

    with pytest.raises(SourceError, match=r"pods: the answer is larger than 100000 bytes \(max_response\)"):
        make(max_response=100_000).poll(1.0)


def test_a_hundred_megabytes_are_not_read_on(server: KubeFake, source: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds while reading: what comes after it stays with the server."""
    body = b'{"items": [' + b" " * (101 << 20) + b"]}"
    get = server.get
    monkeypatch.setattr(server, "get", lambda path, query: body if path == POD_PATH else get(path, query))

    with pytest.raises(SourceError, match="larger than 104857600 bytes"):
        source.poll(1.0)


def test_an_event_beyond_the_limit_is_an_error_until_a_list_is_readable(
    server: KubeFake, make: Callable[..., Pods]
) -> None:
    source = make(max_response=100_000)
    source.poll(1.0)
    server.wait_for_watch(WATCHES)
    server.put(POD_PATH, pod("big", node="n", scheduled=1000, labels={"x": "y" * 200_000}))

    assert "larger than 100000 bytes" in until_error(source)
    server.remove(POD_PATH, pod("big", node="n", scheduled=1000))
    server.compact()
    until(source, lambda s: s.claims == (), "the list can be read again")


def test_one_watch_per_namespace_where_namespaces_are_named(server: KubeFake, make: Callable[..., Pods]) -> None:
    for namespace in ("one", "two", "three"):
        server.put(POD_PATH, pod("a", uid=namespace, namespace=namespace, node="n", scheduled=1000))

    found = make(namespaces=["one", "two"]).poll(1.0)

    assert {"one/a", "two/a"} == {c.native_id for c in found.claims}


def test_owners_are_read_as_metadata_only(server: KubeFake, source: Pods) -> None:
    resources = [{"name": "jobs", "kind": "Job", "namespaced": True}]
    server.others["/apis/batch/v1"] = {"resources": resources}
    server.others["/apis/batch/v1/namespaces/lab/jobs/j"] = {
        "metadata": {"name": "j", "uid": "ju", "labels": {"a": "b"}}
    }
    for name in ("a", "b"):
        server.put(POD_PATH, pod(name, node="n", scheduled=1000, owner=("Job", "j", "ju")))

    found = source.poll(1.0)

    assert [("lab/Job/j", {"a": "b"})] == [(job.display_id, job.labels) for job in found.jobs]
    asked = [accept for path, _, accept in server.requests if path.endswith("/jobs/j")]
    assert ["application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"] == asked


def test_an_owner_is_forgotten_with_its_last_pod(server: KubeFake, source: Pods) -> None:
    owned: dict[str, Any] = {"node": "n", "scheduled": 1000, "owner": ("Job", "j", "ju")}
    server.others["/apis/batch/v1"] = {"resources": [{"name": "jobs", "kind": "Job", "namespaced": True}]}
    server.others["/apis/batch/v1/namespaces/lab/jobs/j"] = {"metadata": {"name": "j", "uid": "ju"}}
    server.put(POD_PATH, pod("a", **owned))
    source.poll(1.0)
    server.remove(POD_PATH, pod("a", **owned), **FINAL)
    until(source, lambda s: bool(s.ended), "a has ended")
    source.poll(1.0)
    server.put(POD_PATH, pod("b", **owned))
    until(source, lambda s: names(s.claims) == {"b"}, "b is held")

    assert 2 == sum(1 for path, _, _ in server.requests if path.endswith("/jobs/j"))


def test_a_known_pod_that_cannot_be_read_any_more_goes_on_as_it_was(server: KubeFake, source: Pods) -> None:
    good = pod("a", node="n", scheduled=1000)
    broken = pod("a", node="n", scheduled=1000)
    broken["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "lots"}}
    server.put(POD_PATH, good)
    source.poll(1.0)
    server.put(POD_PATH, broken)
    found = until(source, lambda s: bool(s.rejects), "it was rejected")
    server.version += 1
    server.compact()
    server.cut()
    again = until(source, lambda _: lists(server) == 2, "it was listed again")

    assert {"a"} == names(found.claims) == names(again.claims)
    assert () == again.ended


def test_a_pod_that_has_lost_its_key_is_still_followed_to_its_end(server: KubeFake, source: Pods) -> None:
    bridged: dict[str, Any] = {"gpus": 0, "node": "n", "scheduled": 1000}
    server.put(POD_PATH, pod("a", labels={"scheduler.slinky.slurm.net/slurm-jobid": "7"}, **bridged))
    first = source.poll(1.0)
    server.put(POD_PATH, pod("a", **bridged))
    server.remove(POD_PATH, pod("a", started=1010, finished=1300, **bridged))
    until(source, lambda s: s.claims == (), "a has ended")

    assert {"a"} == names(first.claims)


# --- over a restart


def test_a_restart_tells_exactly_what_happened_meanwhile(
    server: KubeFake, make: Callable[..., Pods], tmp_path: Path
) -> None:
    resume = tmp_path / "state" / "resume.json"
    for name in ("finishes", "forced", "stays"):
        server.put(POD_PATH, pod(name, node="n", scheduled=1000, started=1010))
    before = make(resume_file=resume)
    before.poll(1.0)
    before.close()
    server.remove(POD_PATH, pod("finishes", node="n", scheduled=1000, started=1010, finished=1300))
    server.remove(POD_PATH, pod("forced", node="n", scheduled=1000, started=1010), **FINAL)
    brief = pod("brief", node="n", scheduled=1100, started=1110)
    server.put(POD_PATH, brief)
    server.remove(POD_PATH, pod("brief", node="n", scheduled=1100, started=1110, finished=1200))
    server.put(POD_PATH, pod("new", node="n", scheduled=1400))

    found = make(resume_file=resume).poll(2.0)

    assert {"stays", "new"} == names(found.claims)
    assert {(c.native_id, c.start, c.end, c.end_basis) for c in found.ended} == {
        ("lab/finishes", 1000, 1300, "finished"),
        ("lab/forced", 1000, 1500, "deleted"),
        ("lab/brief", 1100, 1200, "finished"),
    }


def test_a_restart_after_the_server_forgot_closes_at_its_first_list(
    server: KubeFake, make: Callable[..., Pods], tmp_path: Path
) -> None:
    resume = tmp_path / "resume.json"
    gone = pod("gone", node="n", scheduled=1000, started=1010)
    server.put(POD_PATH, gone)
    before = make(resume_file=resume)
    before.poll(1.0)
    before.close()
    server.remove(POD_PATH, pod("gone", node="n", scheduled=1000, started=1010, finished=1300))
    server.compact()

    found = make(resume_file=resume, clock=lambda: 7000.5).poll(2.0)

    assert [("lab/gone", 1000, 7000, "vanished")] == [(c.native_id, c.start, c.end, c.end_basis) for c in found.ended]
    assert ["lab/Pod/gone"] == [job.display_id for job in found.jobs], "with the job it belonged to"


def test_on_a_quiet_server_the_end_of_the_first_watch_is_the_end_of_the_replay(
    server: KubeFake, make: Callable[..., Pods], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporters.sources.kube.watch.CATCH_UP_SECONDS", 2)
    resume = tmp_path / "resume.json"
    server.put(POD_PATH, pod("gone", node="n", scheduled=1000, started=1010))
    before = make(resume_file=resume)
    before.poll(1.0)
    before.close()
    server.objects[POD_PATH].clear()  # no event tells
    server.put(NODE_PATH, node("m"))

    found = make(resume_file=resume).poll(2.0)

    assert [("lab/gone", "vanished")] == [(c.native_id, c.end_basis) for c in found.ended]


def test_what_nobody_acknowledged_is_told_again_after_a_crash(
    server: KubeFake, make: Callable[..., Pods], tmp_path: Path
) -> None:
    resume = tmp_path / "resume.json"
    for name in ("kept", "lost"):
        server.put(POD_PATH, pod(name, node="n", scheduled=1000, started=1010))
    crashed = make(resume_file=resume)
    crashed.poll(1.0)
    server.remove(POD_PATH, pod("kept", node="n", scheduled=1000, started=1010, finished=1300))
    until(crashed, lambda s: bool(s.ended), "kept has ended")
    crashed.acknowledge(1.0)
    crashed.poll(2.0)
    server.remove(POD_PATH, pod("lost", node="n", scheduled=1000, started=1010, finished=1400))
    until(crashed, lambda s: bool(s.ended), "lost has ended")
    aside = tmp_path / "crashed.json"
    aside.write_bytes(resume.read_bytes())  # what the crash leaves

    found = make(resume_file=aside).poll(3.0)

    assert [("lab/lost", 1400)] == [(c.native_id, c.end) for c in found.ended]


def test_a_resume_file_that_is_none_is_set_aside(make: Callable[..., Pods], tmp_path: Path) -> None:
    resume = tmp_path / "resume.json"
    resume.write_text('{"cluster": "k", "kept":')

    found = make(resume_file=resume).poll(1000.0)

    assert "is not one of ours" in found.problems[0]
    assert '{"cluster": "k", "kept":' == (tmp_path / "resume.json.broken").read_text()
    assert json.loads(resume.read_text())["cluster"] == "k"


def test_a_resume_file_of_another_cluster_is_refused(make: Callable[..., Pods], tmp_path: Path) -> None:
    resume = tmp_path / "resume.json"
    resume.write_text('{"cluster": "other"}')

    with pytest.raises(SourceError, match="is of cluster 'other', not 'k'"):
        make(resume_file=resume).poll(1.0)


def test_a_resume_file_that_cannot_be_written_is_said_and_the_rest_goes_on(
    server: KubeFake, make: Callable[..., Pods], tmp_path: Path
) -> None:
    server.put(POD_PATH, pod("a", node="n", scheduled=1000))
    resume = tmp_path / "resume.json"
    source = make(resume_file=resume)
    (tmp_path / "resume.json.new").mkdir()

    source.poll(1.0)
    found = source.poll(2.0)

    assert {"a"} == names(found.claims)
    assert "cannot be written" in found.problems[0]


# --- small parts


def test_closing_is_quick_and_may_be_done_twice(server: KubeFake, source: Pods) -> None:
    source.poll(1.0)
    server.wait_for_watch(WATCHES)

    began = time.monotonic()
    source.close()
    source.close()

    assert time.monotonic() - began < 2
    assert [] == [t.name for t in threading.enumerate() if t.name.startswith("watch /")]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", ("", "pods")),
        ("/api/v1/namespaces/x/pods", ("", "pods")),
        ("/api/v1/nodes/n", ("", "nodes")),
        ("/apis/batch/v1/namespaces/x/jobs/y", ("batch", "jobs")),
        ("/apis/resource.k8s.io/v1/resourceslices", ("resource.k8s.io", "resourceslices")),
        ("/apis/resource.k8s.io", ("resource.k8s.io", "")),
    ],
)
def test_a_path_names_its_resource(path: str, expected: tuple[str, str]) -> None:
    assert expected == resource_of(path)


def test_versions_are_compared_as_numbers_and_only_as_numbers() -> None:
    assert older("99", "100")
    assert not older("100", "99")
    assert not older("100", "100")
    assert not older("abc", "100")


def test_the_clients_credentials_are_used(server: KubeFake) -> None:
    client = server.client()
    client.configuration.api_key["BearerToken"] = "Bearer abc"
    seen: list[str] = []
    client.configuration.refresh_api_key_hook = lambda c: seen.append(c.host)

    KubeApi(client).get(NODE_PATH)

    assert [server.url] == seen, "asked for before every request: tokens are renewed"
    assert {"Bearer abc"} == server.credentials
