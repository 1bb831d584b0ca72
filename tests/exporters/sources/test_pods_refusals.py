"""The pods source against a server that refuses, fails, or serves what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from exporters.sources.base import SourceError
from exporters.sources.kubernetes.api import Credentials, KubeApi, connect, resource_of
from exporters.sources.kubernetes.pods import Pods
from tests.exporters.sources.pods_world import WATCHES, lists, names, until, until_error
from tests.lab import ports
from tests.lab.kube_fake import CLAIM_PATH, NODE_PATH, POD_PATH, KubeFake, node, pod


def test_a_server_that_goes_away_is_an_error_and_its_return_mends_it(kube: KubeFake, pods: Pods) -> None:
    kube.put(POD_PATH, pod("a", node="n", scheduled=1000))
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)
    kube.refuse(POD_PATH, 503, "etcd has no leader")
    kube.cut()

    assert "503 etcd has no leader" in until_error(pods), "the last good data is not presented as fresh"
    kube.refused.clear()
    until(pods, lambda s: names(s.claims) == {"a"}, "it is back")


def test_a_server_that_is_not_there_is_an_error(make_pods: Callable[..., Pods], tmp_path: Path) -> None:
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
    pods = Pods("k", kubeconfig=str(kubeconfig), start_timeout=5)

    with pytest.raises(SourceError, match=f"127.0.0.1:{port}/apis/resource.k8s.io: NewConnectionError"):
        pods.poll(1.0)
    pods.close()


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_a_brief_refusal_keeps_the_position_of_the_watch(kube: KubeFake, pods: Pods, status: int) -> None:
    kube.put(POD_PATH, pod("a", node="n", scheduled=1000))
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)
    kube.refuse(POD_PATH, status, "for a moment")
    kube.cut()
    assert "for a moment" in until_error(pods)
    kube.put(POD_PATH, pod("brief", node="n", scheduled=1100, started=1110))
    kube.remove(POD_PATH, pod("brief", node="n", scheduled=1100, started=1110, finished=1200))
    kube.refused.clear()

    found = until(pods, lambda s: names(s.ended) == {"brief"}, "what came and went meanwhile is told")

    assert [(1100, 1200, "finished")] == [(c.start, c.end, c.end_basis) for c in found.ended]
    assert 1 == lists(kube)


def test_an_error_inside_the_stream_that_passes_keeps_the_position_too(kube: KubeFake, pods: Pods) -> None:
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)
    error = {"kind": "Status", "code": 401, "message": "Unauthorized"}
    kube.send(POD_PATH, json.dumps({"type": "ERROR", "object": error}).encode() + b"\n")
    kube.put(POD_PATH, pod("b", node="n", scheduled=1100))

    until(pods, lambda s: names(s.claims) == {"b"}, "the watch goes on")

    assert 1 == lists(kube)


def test_a_token_file_that_is_rotated_is_read_again(kube: KubeFake, tmp_path: Path) -> None:
    token, kubeconfig = tmp_path / "token", tmp_path / "config"
    token.write_text("first")
    config = {
        "clusters": [{"name": "c", "cluster": {"server": kube.client().configuration.host}}],
        "users": [{"name": "u", "user": {"tokenFile": str(token)}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    kubeconfig.write_text(json.dumps(config))
    api = KubeApi(connect(str(kubeconfig), None), credentials=Credentials(str(kubeconfig), None))

    api.get(POD_PATH)
    token.write_text("the second")
    api.get(POD_PATH)
    config["users"] = [{"name": "u", "user": {"token": "third"}}]
    kubeconfig.write_text(json.dumps(config))
    api.get(POD_PATH)
    kubeconfig.write_text("clusters: [")  # half written: the last good one goes on
    api.get(POD_PATH)

    assert {"Bearer first", "Bearer the second", "Bearer third"} == kube.credentials


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (POD_PATH, 'grant verb get and list on resource "pods" of apiGroup ""'),
        (NODE_PATH, 'grant verb get and list on resource "nodes" of apiGroup ""'),
    ],
)
def test_a_missing_right_is_named(kube: KubeFake, pods: Pods, path: str, sentence: str) -> None:
    kube.refuse(path)

    with pytest.raises(SourceError) as e:
        pods.poll(1.0)

    assert sentence in str(e.value)
    assert f"{path}: 403 forbidden: no such right" in str(e.value)


def test_refused_credentials_are_an_error(kube: KubeFake, pods: Pods) -> None:
    kube.refuse(NODE_PATH, 401, "Unauthorized")

    with pytest.raises(SourceError, match="401 Unauthorized; the credentials are not accepted"):
        pods.poll(1.0)


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
    with KubeFake(dra=False) as kube:
        kube.put(NODE_PATH, node("n"))
        kube.put(POD_PATH, pod("a", node="n", scheduled=1000))
        pods = Pods("k", api_client=kube.client(), pause=0.01)
        first, second = pods.poll(1.0), pods.poll(2.0)
        pods.close()

    assert "no Dynamic Resource Allocation" in first.problems[0]
    assert () == second.problems
    assert first.complete
    assert {"a"} == names(first.claims)


def test_dra_without_the_right_to_read_it_is_said_once_and_its_pods_are_not_counted(kube: KubeFake, pods: Pods) -> None:
    kube.refuse(CLAIM_PATH)
    kube.put(POD_PATH, pod("plain", node="n", scheduled=1000))
    first = pods.poll(1.0)
    kube.put(POD_PATH, pod("dra", gpus=0, node="n", scheduled=1000, claims={"c": "c"}))
    second = until(pods, lambda s: not s.complete, "the DRA pod was read")

    assert 'grant verb get and list on resource "resourceclaims" of apiGroup "resource.k8s.io"' in first.problems[0]
    assert first.complete
    assert ("1 pods cannot be counted yet: pod lab/dra: ResourceClaim lab/c cannot be read",) == second.problems
    assert {"plain"} == names(second.claims)


def test_a_pod_that_cannot_be_read_is_a_reject_and_the_rest_goes_on(kube: KubeFake, pods: Pods) -> None:
    kube.put(POD_PATH, pod("fine", node="n", scheduled=1000))
    broken = pod("broken", node="n", scheduled=1000)
    broken["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "lots"}}
    kube.put(POD_PATH, broken)
    kube.put(NODE_PATH, {**node("odd"), "status": {"capacity": {"nvidia.com/gpu": "-8"}}})

    found = pods.poll(1.0)

    assert {"fine"} == names(found.claims)
    assert {"n"} == {n.key.name for n in found.nodes}
    reasons = {r.reason for r in found.rejects}
    assert reasons == {
        "pod lab/broken: 'lots' is not a whole number of devices",
        "node odd: '-8' is not a whole number of devices",
    }
    assert all('"name": "' in r.record for r in found.rejects)


def test_an_answer_beyond_the_limit_is_an_error(kube: KubeFake, make_pods: Callable[..., Pods]) -> None:
    kube.put(POD_PATH, pod("big", node="n", scheduled=1000, labels={"x": "y" * 200_000}))

    with pytest.raises(SourceError, match=r"pods: the answer is larger than 100000 bytes \(max_response\)"):
        make_pods(max_response=100_000).poll(1.0)


def test_a_hundred_megabytes_are_not_read_on(kube: KubeFake, pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds while reading: what comes after it stays with the kube."""
    body = b'{"items": [' + b" " * (101 << 20) + b"]}"
    get = kube.get
    monkeypatch.setattr(kube, "get", lambda path, query: body if path == POD_PATH else get(path, query))

    with pytest.raises(SourceError, match="larger than 104857600 bytes"):
        pods.poll(1.0)


def test_an_event_beyond_the_limit_is_an_error_until_a_list_is_readable(
    kube: KubeFake, make_pods: Callable[..., Pods]
) -> None:
    pods = make_pods(max_response=100_000)
    pods.poll(1.0)
    kube.wait_for_watch(WATCHES)
    kube.put(POD_PATH, pod("big", node="n", scheduled=1000, labels={"x": "y" * 200_000}))

    assert "larger than 100000 bytes" in until_error(pods)
    kube.remove(POD_PATH, pod("big", node="n", scheduled=1000))
    kube.compact()
    until(pods, lambda s: s.claims == (), "the list can be read again")


def test_a_known_pod_that_cannot_be_read_any_more_goes_on_as_it_was(kube: KubeFake, pods: Pods) -> None:
    good = pod("a", node="n", scheduled=1000)
    broken = pod("a", node="n", scheduled=1000)
    broken["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "lots"}}
    kube.put(POD_PATH, good)
    pods.poll(1.0)
    kube.put(POD_PATH, broken)
    found = until(pods, lambda s: bool(s.rejects), "it was rejected")
    kube.version += 1
    kube.compact()
    kube.cut()
    again = until(pods, lambda _: lists(kube) == 2, "it was listed again")

    assert {"a"} == names(found.claims) == names(again.claims)
    assert () == again.ended


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


def test_the_clients_credentials_are_used(kube: KubeFake) -> None:
    client = kube.client()
    client.configuration.api_key["BearerToken"] = "Bearer abc"
    seen: list[str] = []
    client.configuration.refresh_api_key_hook = lambda c: seen.append(c.host)

    KubeApi(client).get(NODE_PATH)

    assert [kube.url] == seen, "asked for before every request: tokens are renewed"
    assert {"Bearer abc"} == kube.credentials
