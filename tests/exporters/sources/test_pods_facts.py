from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.sources.kubernetes.pod_facts import effective_request, pod_facts
from exporters.sources.kubernetes.raw import quantity, seconds
from tests.lab.kube_fake import iso, pod

GPU = "nvidia.com/gpu"


def container(gpus: int, *, sidecar: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {"resources": {"limits": {GPU: str(gpus)}, "requests": {GPU: str(gpus)}}}
    return found | ({"restartPolicy": "Always"} if sidecar else {})


COUNTS = st.integers(min_value=0, max_value=8)


@given(st.lists(COUNTS, min_size=1, max_size=4), st.lists(st.tuples(COUNTS, st.booleans()), max_size=5))
def test_effective_request_is_the_most_that_runs_at_one_moment(mains: list[int], inits: list[tuple[int, bool]]) -> None:
    """The oracle walks through a pod's life: sidecars stay, other init containers come and go, then all mains run."""
    running, most = 0, 0
    for gpus, sidecar in inits:
        most = max(most, running + gpus)
        running += gpus if sidecar else 0
    most = max(most, running + sum(mains))

    actual = effective_request(
        {
            "containers": [container(n) for n in mains],
            "initContainers": [container(n, sidecar=s) for n, s in inits],
        }
    )

    assert most == actual.get(GPU, 0)


def test_every_gpu_resource_counts_on_its_own_and_others_do_not() -> None:
    resources = {
        "nvidia.com/gpu.shared": "2",
        "nvidia.com/mig-1g.10gb": "3",
        "nvidia.com/mig-1g.10gb.shared": "1",
        "amd.com/gpu": "4",
        "nvidia.com/gpumem": "1000",
        "rdma/hca": "1",
        "cpu": "8",
        "memory": "64Gi",
    }

    actual = effective_request({"containers": [{"resources": {"limits": resources}}]})

    assert {"nvidia.com/gpu.shared": 2, "nvidia.com/mig-1g.10gb": 3, "nvidia.com/mig-1g.10gb.shared": 1} | {
        "amd.com/gpu": 4
    } == actual


def test_nulls_are_read_as_absent() -> None:
    assert {} == effective_request({"containers": None, "initContainers": [None], "overhead": None})


def test_a_pod_holds_from_its_binding_or_from_its_first_container() -> None:
    facts = pod_facts(pod("a", node="n", created=1000, scheduled=1010, started=1100))

    assert (1010, 1100) == (facts.held_from("scheduled"), facts.held_from("started"))


def test_a_pod_bound_without_a_scheduler_holds_from_its_creation() -> None:
    facts = pod_facts(pod("a", node="n", created=1000, started=1100, status={"conditions": []}))

    assert 1000 == facts.held_from("scheduled")


def test_a_pod_without_a_node_holds_nothing() -> None:
    facts = pod_facts(pod("a"))

    assert (None, None) == (facts.held_from("scheduled"), facts.held_from("started"))


def test_the_end_is_the_last_container_of_a_terminal_pod_only() -> None:
    ended = {"terminated": {"startedAt": iso(1100), "finishedAt": iso(1200)}}
    late = {"terminated": {"startedAt": iso(1100), "finishedAt": iso(1300)}}
    statuses = {
        "initContainerStatuses": [{"name": "side", "state": late}],
        "containerStatuses": [{"name": "a", "state": ended}, {"name": "b", "state": ended}],
    }

    over = pod_facts(pod("a", node="n", status={"phase": "Failed", **statuses}))
    restarting = pod_facts(pod("a", node="n", status={"phase": "Running", **statuses}))

    assert (True, 1300) == (over.terminal, over.finished)
    assert (False, None) == (restarting.terminal, restarting.finished)


def test_the_first_start_is_found_behind_one_restart() -> None:
    state = {
        "name": "main",
        "restartCount": 1,
        "state": {"running": {"startedAt": iso(1500)}},
        "lastState": {"terminated": {"startedAt": iso(1100), "finishedAt": iso(1400)}},
    }

    facts = pod_facts(pod("a", node="n", status={"phase": "Running", "containerStatuses": [state]}))

    assert 1100 == facts.started


def test_after_more_restarts_the_kubelets_start_time_is_the_evidence() -> None:
    state = {
        "name": "main",
        "restartCount": 2,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"startedAt": iso(1500), "finishedAt": iso(1600)}},
    }
    status = {"phase": "Running", "startTime": iso(1050), "containerStatuses": [state]}

    assert 1050 == pod_facts(pod("a", node="n", status=status)).started


def test_a_terminal_pod_without_container_statuses_ends_when_its_conditions_turned() -> None:
    lost = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": iso(1400)}
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": iso(1300)}
    status = {"phase": "Failed", "reason": "NodeLost", "conditions": [unready, lost]}

    found = pod_facts(pod("a", node="n", status=status))

    assert (None, 1400) == (found.finished, found.turned)


def test_a_deletion_timestamp_in_the_future_is_no_end() -> None:
    graceful = pod_facts(
        pod("a", node="n", meta={"deletionTimestamp": iso(2000), "deletionGracePeriodSeconds": 30}),
    )
    final = pod_facts(pod("a", node="n", meta={"deletionTimestamp": iso(1970), "deletionGracePeriodSeconds": 0}))

    assert (None, 1970) == (graceful.removed, final.removed)


def test_the_controller_is_the_owner_and_a_node_is_none() -> None:
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "1"}
    node = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "2", "controller": True}
    job = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "3", "controller": True}

    owners = [pod_facts(pod("a", meta={"ownerReferences": refs})).owner for refs in ([plain, job], [node], [plain])]

    assert ["j", None, None] == [o.name if o else None for o in owners]


def test_claims_made_for_the_pod_are_its_own_and_an_extended_resource_is_not_counted_twice() -> None:
    raw = pod(
        "a",
        node="n",
        spec={
            "containers": [container(1), {"resources": {"limits": {"amd.com/gpu": "1"}}}],
            "resourceClaims": [
                {"name": "mine", "resourceClaimTemplateName": "t"},
                {"name": "ours", "resourceClaimName": "shared"},
                {"name": "later", "resourceClaimTemplateName": "t"},
            ],
        },
        status={
            "resourceClaimStatuses": [{"name": "mine", "resourceClaimName": "a-mine-x"}],
            "extendedResourceClaimStatus": {
                "resourceClaimName": "a-extended",
                "requestMappings": [{"containerName": "main", "resourceName": GPU, "requestName": "r"}],
            },
        },
    )

    facts = pod_facts(raw)

    assert [("a-mine-x", True), ("shared", False), ("a-extended", True)] == [(c.name, c.own) for c in facts.claims]
    assert {"amd.com/gpu": 1} == facts.requests


@pytest.mark.parametrize(
    ("labels", "spec", "expected"),
    [
        ({"nodeset.slinky.slurm.net/pod-hostname": "h-1"}, {"hostname": "other"}, "h-1"),
        ({"app.kubernetes.io/name": "slurmd", "slinky.slurm.net/cluster": "c"}, {"hostname": "h-2"}, "h-2"),
        ({"app.kubernetes.io/name": "slurmd", "app.kubernetes.io/managed-by": "slurm-operator"}, {}, "a"),
        (
            {
                "app.kubernetes.io/name": "slurmd",
                "slinky.slurm.net/cluster": "c",
                "nodeset.slinky.slurm.net/scaling-mode": "StatefulSet",
            },
            {"hostNetwork": True, "nodeName": "gn01"},
            "gn01",
        ),
        (
            {
                "app.kubernetes.io/name": "slurmd",
                "slinky.slurm.net/cluster": "hpc1",
                "nodeset.slinky.slurm.net/scaling-mode": "StatefulSet",
            },
            {"hostname": "h-5", "nodeName": "gn01"},  # on a network of its own
            "h-5",
        ),
        ({"app.kubernetes.io/name": "slurmd"}, {"hostname": "h-3"}, ""),
        ({}, {"hostname": "h-4"}, ""),
    ],
)
def test_a_slurmd_pod_tells_its_slurm_name(labels: dict[str, str], spec: dict[str, Any], expected: str) -> None:
    assert expected == pod_facts(pod("a", labels=labels, spec=spec)).slurm_name


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("8", 8),
        (8, 8),
        ("1k", 1000),
        ("3M", 3_000_000),
        ("1G", 1_000_000_000),
        ("2Ki", 2048),
        ("2Mi", 2_097_152),
        ("1Gi", 1_073_741_824),
        (" 4 ", 4),
    ],
)
def test_quantities(text: object, count: int) -> None:
    assert count == quantity(text, 10**10)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "500m", "many", None])
def test_a_quantity_that_is_no_count_is_an_error(text: object) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        quantity(text)


def test_times_need_a_zone() -> None:
    assert (None, 1000) == (seconds(None), seconds(iso(1000)))
    with pytest.raises(ValueError, match="no zone"):
        seconds("2026-11-22T05:00:55")


@pytest.mark.parametrize("field", ["uid", "name", "creationTimestamp"])
def test_a_pod_without_identity_is_an_error(field: str) -> None:
    with pytest.raises(ValueError, match="without metadata"):
        pod_facts(pod("a", meta={field: None}))


@pytest.mark.parametrize(
    "key",
    [
        "kueue.x-k8s.io/queue-name",
        "scheduling.volcano.sh/queue-name",
        "volcano.sh/queue-name",
        "kai.scheduler/queue",
        "slurmjob.slinky.slurm.net/partition",
    ],
)
def test_a_queue_is_told_by_the_label_of_whoever_queues(key: str) -> None:
    assert "team" == pod_facts(pod("a", labels={key: "team"})).queue


def test_a_text_that_anybody_may_write_is_cut() -> None:
    user = pod_facts(pod("a", meta={"annotations": {"meterbridge.io/user": "x" * 200_000}})).user

    assert ("x" * 255 + "…") == user
