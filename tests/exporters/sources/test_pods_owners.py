from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from exporters.sources.kubernetes.api import ApiError
from exporters.sources.kubernetes.claims import Root
from exporters.sources.kubernetes.owners import ATTEMPTS, MAX_DEPTH, Owners
from exporters.sources.kubernetes.pod_facts import PodFacts, pod_facts
from tests.lab.kube_fake import pod

KINDS = {
    "/apis/apps/v1": {"ReplicaSet": "replicasets", "Deployment": "deployments", "StatefulSet": "statefulsets"},
    "/apis/batch/v1": {"Job": "jobs"},
    "/apis/ray.io/v1": {"RayCluster": "rayclusters", "RayJob": "rayjobs"},
    "/apis/site.example/v1": {"Fleet": "fleets"},
}


class Server:
    """Answers metadata reads from a table; what is not in it is 404, what is refused or broken says so."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.errors: dict[str, int] = {}
        self.asked: Counter[str] = Counter()

    def add(self, api: str, kind: str, name: str, above: tuple[str, str, str] | None = None, **meta: Any) -> None:
        refs = []
        if above:
            refs = [{"apiVersion": above[0], "kind": above[1], "name": above[2], "uid": f"uid-{above[2]}"}]
            refs = [refs[0] | {"controller": True}]
        plural = KINDS[f"/apis/{api}"][kind]
        found = {"metadata": {"name": name, "uid": f"uid-{name}", "ownerReferences": refs, **meta}}
        middle = "" if kind == "Fleet" else "/namespaces/lab"
        self.objects[f"/apis/{api}{middle}/{plural}/{name}"] = found

    def get(self, path: str, *, accept: str = "", timeout: float = 0.0) -> Any:
        assert timeout > 0
        self.asked[path] += 1
        for prefix, status in self.errors.items():
            if path.startswith(prefix):
                raise ApiError(status, f"{path}: {status}")
        if path in KINDS:
            return {
                "resources": [
                    {"kind": kind, "name": plural, "namespaced": kind != "Fleet"}
                    for kind, plural in KINDS[path].items()
                ]
                + [{"kind": "Scale", "name": "replicasets/scale", "namespaced": True}]
            }
        if path in self.objects:
            assert "PartialObjectMetadata" in accept, "nothing but metadata is read"
            return self.objects[path]
        raise ApiError(404, f"{path}: 404")


@pytest.fixture
def server() -> Server:
    return Server()


def owned(name: str, api: str, kind: str, owner: str, labels: dict[str, str] | None = None) -> PodFacts:
    return pod_facts(pod(name, owner=(kind, owner, f"uid-{owner}"), owner_version=api, labels=labels or {}))


def root_of(server: Server, facts: PodFacts) -> tuple[str, str, str]:
    root = Owners(server).roots([facts])[facts.uid]
    return root.kind, root.name, root.uid


def test_the_climb_ends_at_the_object_without_a_controller(server: Server) -> None:
    server.add("apps/v1", "ReplicaSet", "web-1", ("apps/v1", "Deployment", "web"))
    server.add("apps/v1", "Deployment", "web", ("site.example/v1", "Fleet", "all"), labels={"team": "a"})
    server.add("site.example/v1", "Fleet", "all", labels={"cost": "7"}, creationTimestamp="2026-11-22T05:00:55Z")

    root = Owners(server).roots([owned("p", "apps/v1", "ReplicaSet", "web-1")])["uid-p"]

    assert Root("Fleet", "all", "uid-all", {"cost": "7"}, 1795323655) == root


def test_a_bare_pod_is_its_own_root(server: Server) -> None:
    assert ("Pod", "p", "uid-p") == root_of(server, pod_facts(pod("p")))
    assert not server.asked


def test_siblings_cost_one_climb(server: Server) -> None:
    server.add("batch/v1", "Job", "j")
    owners = Owners(server)

    found = owners.roots([owned(f"p{n}", "batch/v1", "Job", "j") for n in range(50)])
    owners.roots([owned("late", "batch/v1", "Job", "j")])

    assert {"uid-j"} == {root.uid for root in found.values()}
    assert {"/apis/batch/v1": 1, "/apis/batch/v1/namespaces/lab/jobs/j": 1} == server.asked
    owners.forget_all_but(set())
    owners.roots([owned("p", "batch/v1", "Job", "j")])
    assert 2 == server.asked["/apis/batch/v1/namespaces/lab/jobs/j"]


@pytest.mark.parametrize("status", [403, 404])
def test_where_nothing_more_may_be_read_the_last_known_owner_is_the_root(server: Server, status: int) -> None:
    server.add("apps/v1", "ReplicaSet", "web-1", ("apps/v1", "Deployment", "web"))
    server.errors["/apis/apps/v1/namespaces/lab/deployments"] = status

    assert ("Deployment", "web", "uid-web") == root_of(server, owned("p", "apps/v1", "ReplicaSet", "web-1"))


def test_another_object_under_the_same_name_is_not_followed(server: Server) -> None:
    server.add("batch/v1", "Job", "j", ("apps/v1", "Deployment", "x"), uid="another")

    assert ("Job", "j", "uid-j") == root_of(server, owned("p", "batch/v1", "Job", "j"))


def test_a_loop_of_owners_ends(server: Server) -> None:
    server.add("apps/v1", "ReplicaSet", "a", ("apps/v1", "Deployment", "b"))
    server.add("apps/v1", "Deployment", "b", ("apps/v1", "ReplicaSet", "a"))

    root_of(server, owned("p", "apps/v1", "ReplicaSet", "a"))

    assert sum(server.asked.values()) == MAX_DEPTH + 1


LABELS = [
    (
        {"jobset.sigs.k8s.io/jobset-name": "sweep", "jobset.sigs.k8s.io/jobset-uid": "u"},
        ("batch/v1", "Job", "sweep-w-0"),
        ("JobSet", "sweep", "u"),
    ),
    ({"serving.kserve.io/inferenceservice": "g"}, ("apps/v1", "ReplicaSet", "g-1"), ("InferenceService", "g", "")),
    (
        {"app.kubernetes.io/part-of": "llminferenceservice", "app.kubernetes.io/name": "l"},
        ("apps/v1", "ReplicaSet", "l-1"),
        ("LLMInferenceService", "l", ""),
    ),
    (
        {"ray.io/originated-from-cr-name": "tune", "ray.io/originated-from-crd": "RayJob"},
        ("ray.io/v1", "RayCluster", "tune-x"),
        ("RayJob", "tune", ""),
    ),
    (
        {"training.kubeflow.org/job-name": "ft", "training.kubeflow.org/operator-name": "pytorchjob-controller"},
        ("site.example/v1", "Fleet", "x"),
        ("PyTorchJob", "ft", ""),
    ),
    (
        {"serving.knative.dev/service": "hello", "serving.knative.dev/revision": "hello-00001"},
        ("apps/v1", "ReplicaSet", "hello-00001-deployment-1"),
        ("Service", "hello", ""),
    ),
]


@pytest.mark.parametrize(("labels", "owner", "expected"), LABELS)
def test_labels_name_the_root_that_may_not_be_read(
    server: Server, labels: dict[str, str], owner: tuple[str, str, str], expected: tuple[str, str, str]
) -> None:
    server.errors["/apis"] = 403

    assert expected == root_of(server, owned("p", *owner, labels))


def test_labels_do_not_undo_what_was_climbed(server: Server) -> None:
    """TrainJob-like: the labels name a JobSet that lies below what the climb has reached."""
    labels = {"ray.io/originated-from-cr-name": "tune", "ray.io/originated-from-crd": "RayCluster"}
    server.add("ray.io/v1", "RayCluster", "tune", ("ray.io/v1", "RayJob", "nightly"))
    server.errors["/apis/ray.io/v1/namespaces/lab/rayjobs"] = 403

    assert ("RayJob", "nightly", "uid-nightly") == root_of(
        server, owned("p", "ray.io/v1", "RayCluster", "tune", labels)
    )


def test_a_server_that_fails_is_asked_again_before_labels_are_believed(server: Server) -> None:
    server.errors["/apis/batch/v1/namespaces"] = 503
    owners = Owners(server)
    facts = owned("p", "batch/v1", "Job", "j")

    answers = [owners.roots([facts]) for _ in range(ATTEMPTS)]

    assert [{}] * (ATTEMPTS - 1) == answers[:-1]
    assert {"uid-p": Root("Job", "j", "uid-j", {})} == answers[-1]
    assert "503" in owners.problems[0]


def test_no_read_is_begun_after_the_time_is_up(server: Server) -> None:
    found = Owners(server).roots([owned("p", "batch/v1", "Job", "j")], give_up=lambda: True)

    assert {} == found
    assert not server.asked
