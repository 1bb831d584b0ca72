"""Pods of a whole life on an API server, a fake one, and a real one where METERBRIDGE_TEST_KUBECONFIG names one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporters.model import Claim, Snapshot
from exporters.sources.kubernetes.watch import resume
from tests.exporters.sources import kube_server
from tests.exporters.sources.kube_server import KUBECONFIG, ApiServer, wait_for
from tests.lab.kube_fake import iso

NO_SERVER = pytest.mark.skipif(not KUBECONFIG, reason="METERBRIDGE_TEST_KUBECONFIG names no API server")


@pytest.fixture(params=["fake", pytest.param("real", marks=NO_SERVER)])
def server(request: pytest.FixtureRequest) -> Iterator[ApiServer]:
    with {"fake": kube_server.fake, "real": kube_server.real}[request.param]() as found:
        yield found


def held(snapshot: Snapshot) -> dict[str, Claim]:
    return {c.native_id.partition("/")[2]: c for c in snapshot.claims}


def running(since: int, **more: Any) -> dict[str, Any]:
    state = {"running": {"startedAt": iso(since)}}
    return {"phase": "Running", "containerStatuses": [_container(state)], **more}


def _container(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "main", "image": "example.org/none", "imageID": "", "ready": False, "restartCount": 0, "state": state,
    }  # fmt: skip


def test_a_pod_that_ran_and_that_its_kubelet_rejects_ends_with_the_rejection(server: ApiServer) -> None:
    server.put_node(2)
    source = server.source()
    try:
        server.put_pod("a", 2)
        server.put_status("a", running(int(time.time())))
        before = wait_for(source, lambda s: bool(s.claims))
        time.sleep(1.1)
        rejected = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "Pod was rejected"}
        server.put_status("a", rejected)
        after = wait_for(source, lambda s: bool(s.ended))
    finally:
        source.close()

    assert {"a": 2000} == {name: c.milligpu for name, c in held(before).items()}
    assert {} == held(after)
    [end] = after.ended
    assert end.end is not None
    assert (held(before)["a"].start, "finished") == (end.start, end.end_basis)
    assert end.start < end.end <= after.at + 1


def test_an_evicted_pod_ends_with_its_last_container(server: ApiServer) -> None:
    server.put_node(2)
    source = server.source()
    try:
        server.put_pod("a", 1)
        began = int(time.time())
        server.put_status("a", running(began))
        wait_for(source, lambda s: bool(s.claims) and s.at > began + 2)
        ended = began + 1
        over = {"terminated": {"exitCode": 137, "startedAt": iso(began), "finishedAt": iso(ended)}}
        why = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
        server.put_status("a", {**why, "containerStatuses": [_container(over)]})
        after = wait_for(source, lambda s: bool(s.ended))
    finally:
        source.close()

    assert [(1000, ended, "finished")] == [(c.milligpu, c.end, c.end_basis) for c in after.ended]


def test_a_node_whose_device_plugin_is_away_keeps_its_cards_and_its_pods_keep_theirs(server: ApiServer) -> None:
    server.put_node(2)
    source = server.source()
    try:
        server.put_pod("a", 1)
        wait_for(source, lambda s: bool(s.claims))
        server.put_node(0)
        away = wait_for(source, lambda s: any(n.key.name == server.name and not n.up for n in s.nodes))
        server.put_node(2)
        back = wait_for(source, lambda s: any(n.key.name == server.name and n.up for n in s.nodes))
    finally:
        source.close()

    assert {"a": 1000} == {name: c.milligpu for name, c in held(away).items()}
    assert [2000] == [n.milligpu for n in away.nodes if n.key.name == server.name]
    assert [2000] == [n.milligpu for n in back.nodes if n.key.name == server.name]
    assert held(away) == held(back)


def test_a_pod_that_went_in_a_gap_ends_before_its_successor_begins(server: ApiServer, tmp_path: Path) -> None:
    server.put_node(2)
    kept = tmp_path / "resume.json"
    first = server.source(resume_file=kept)
    try:
        server.put_pod("a", 1)
        before = wait_for(first, lambda s: bool(s.claims) and s.at > s.claims[0].start + 2)
        seen = first.poll(time.time()).at
    finally:
        first.close()
    time.sleep(1.1)
    server.delete_pod("a")
    server.put_pod("a", 2)
    server.forget()
    point, problem = resume.load(kept, "real")
    resume.save(kept, replace(point, versions=dict.fromkeys(point.versions, "1")))  # long compacted away: 410 Gone
    second = server.source(resume_file=kept)
    try:
        after = wait_for(second, lambda s: bool(s.ended) and bool(s.claims))
    finally:
        second.close()

    assert "" == problem
    assert point.versions
    [gone], [now] = after.ended, after.claims
    assert gone.end is not None
    assert held(before)["a"].unit == gone.unit != now.unit
    assert ("vanished", 1000, 2000) == (gone.end_basis, gone.milligpu, now.milligpu)
    assert int(seen) - 1 <= gone.end <= now.start


def test_two_claims_share_a_device_by_the_capacity_that_each_consumes(server: ApiServer) -> None:
    card = {
        "name": "gpu-0",
        "allowMultipleAllocations": True,
        "attributes": {"type": {"string": "gpu"}, "uuid": {"string": "GPU-00000000-0000-0000-0000-000000000000"}},
        "capacity": {"memory": {"value": "80Gi"}},
    }
    pool = {"name": server.name, "generation": 1, "resourceSliceCount": 1}
    driver = "gpu.nvidia.com"
    server.put_node(0)
    server.put_slice({"driver": driver, "nodeName": server.name, "pool": pool, "devices": [card]})
    kept = []
    for name in ("a", "b"):
        server.put_pod(name, 0, claim=f"claim-{name}")
        exactly = {"deviceClassName": driver, "count": 1, "capacity": {"requests": {"memory": "40Gi"}}}
        wanted = {"devices": {"requests": [{"name": "g", "exactly": exactly}]}}
        result = {
            "request": "g", "driver": driver, "pool": server.name, "device": "gpu-0",
            "shareID": f"00000000-0000-0000-0000-00000000000{len(kept)}", "consumedCapacity": {"memory": "40Gi"},
        }  # fmt: skip
        users = [{"resource": "pods", "name": name, "uid": f"uid-{name}-{len(kept) + 1}"}]
        status = {"allocation": {"devices": {"results": [result]}}, "reservedFor": users}
        kept.append(server.put_claim(f"claim-{name}", wanted, status))
    if not all(kept):
        pytest.skip("this API server drops consumedCapacity: its feature gate DRAConsumableCapacity is off")
    source = server.source()
    try:
        found = wait_for(source, lambda s: len(s.claims) == 2)
    finally:
        source.close()

    assert {"a": 500, "b": 500} == {name: c.milligpu for name, c in held(found).items()}
