"""The pods source against what a real 1.36 API server served: every interval equals the truth."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from exporters.model import Claim, Demand, LinkKind, Snapshot
from exporters.sources.base import SourceError
from exporters.sources.kubernetes.pod_facts import HoldFrom
from exporters.sources.kubernetes.pods import Pods
from tests.exporters.sources.pods_world import until
from tests.lab.kube_replay import KubeReplay, owner_objects, truth

WORTH = {
    "nvidia.com/gpu": ("", 1000),
    "gpu.nvidia.com": ("", 1000),
    "nvidia.com/gpu.shared": ("shared", 500),  # 8 cards, 16 slots
    "nvidia.com/mig-3g.40gb": ("3g.40gb", 500),  # 2 of 4 cards, 4 slots
    "none": ("", 0),
}
"""Resource of the truth -> profile and milliGPU per unit. 1g.10gb is counted on its own: 2 cards, 14 slots."""


@pytest.fixture(scope="module")
def recorded() -> Path:
    return Path(__file__).parents[2] / "testdata" / "kube-1.36"


@pytest.fixture(scope="module")
def found(recorded: Path) -> Snapshot:
    """All that was found by the end of the recording."""
    return last(recorded)


def moment(text: str) -> int | None:
    return int(datetime.fromisoformat(text).timestamp()) if text else None


def play(server: KubeReplay, hold_from: HoldFrom = "started") -> Iterator[Snapshot]:
    """One snapshot before, and one after the recording."""
    source = Pods("kube", api_client=server.client(), hold_from=hold_from, slurm_clusters={"hpc1": "hpc"}, pause=0.01)
    try:
        yield until(source, lambda _: True, "a poll between two cuts")
        assert server.wait(30), f"the recording was not played to its end: {server.requests[-5:]}"
        yield until(source, lambda _: True, "a poll between two cuts")
    finally:
        source.close()

    assert [] == server.mismatches


def last(folder: Path, hold_from: HoldFrom = "started", *, owners: bool = True) -> Snapshot:
    with KubeReplay(folder, owner_objects(folder) if owners else {}) as server:
        *_, found = play(server, hold_from)
    return found


def everything(found: Snapshot) -> list[Claim]:
    return [*found.ended, *found.claims]


def expected_claims(folder: Path, hold_from: HoldFrom) -> set[tuple[object, ...]]:
    """The truth as claims: identity, place, amount, interval. A device that pods share is left to its own test."""
    scheduled = {row["pod_uid"]: row["scheduled"] for row in truth(folder, "TRUTH-pods.csv")}
    found = set()
    for row in truth(folder):
        if row["resource"] == "compute-domain.nvidia.com/channel" or "SHARED claim" in row["note"] or not row["start"]:
            continue  # not a GPU; counted over the union of its pods; never held anything
        if row["resource"] == "none" and row["node"] != "vk-slurm-01":
            continue  # no GPU and no key to Slurm: of no interest
        quantity = int(row["quantity"])
        if row["resource"] == "nvidia.com/mig-1g.10gb":
            profile, milligpu = "1g.10gb", 2000 * quantity // 14
        else:
            profile, milligpu = WORTH[row["resource"]][0], WORTH[row["resource"]][1] * quantity
        start = moment(row["start"] if hold_from == "started" else scheduled[row["pod_uid"]])
        pod = f"{row['namespace']}/{row['pod_name']}"
        root = (row["root_owner_uid"], f"{row['namespace']}/{row['root_owner_kind']}/{row['root_owner_name']}")
        found.add((*root, pod, row["pod_uid"], row["node"], profile, milligpu, start, moment(row["end"])))
    return found


def actual_claims(found: Snapshot) -> list[tuple[object, ...]]:
    names = {job.key: job.display_id for job in found.jobs}
    return [
        (c.job.id, names[c.job], c.native_id, c.unit, c.node.name, c.profile, c.milligpu, c.start, c.end)
        for c in everything(found)
        if not c.native_id.startswith("llm/dra-shared")
    ]


@pytest.mark.parametrize("hold_from", ["started", "scheduled"])
def test_every_interval_equals_the_truth(recorded: Path, hold_from: HoldFrom) -> None:
    found = last(recorded, hold_from)

    actual = actual_claims(found)

    assert expected_claims(recorded, hold_from) == set(actual)
    assert len(set(actual)) == len(actual), "a claim was told twice"


def test_devices_of_resource_claims_equal_the_truth_and_a_shared_one_counts_once(
    recorded: Path, found: Snapshot
) -> None:
    expected: dict[str, list[tuple[int, int]]] = {}
    forever = 1 << 40
    for row in truth(recorded, "TRUTH-claims.csv"):
        if row["uuid"] and row["admin_access"] == "False":
            start, end = moment(row["start"]), moment(row["end"])
            expected.setdefault(row["uuid"], []).append((start or 0, end or forever))
    union = {uuid: (min(s for s, _ in spans), max(e for _, e in spans)) for uuid, spans in expected.items()}

    actual: dict[str, list[tuple[int, int]]] = {}
    for claim in everything(found):
        for uuid in claim.uuids:
            actual.setdefault(uuid, []).append((claim.start, claim.end or forever))

    assert union.keys() == actual.keys()
    for uuid, spans in actual.items():
        spans.sort()
        gapless = all(a[1] == b[0] for a, b in pairwise(spans))

        assert gapless, f"{uuid} is counted twice or not at all in {spans}"
        assert union[uuid] == (spans[0][0], spans[-1][1])


def test_a_shared_device_passes_to_the_pod_that_still_uses_it(found: Snapshot) -> None:
    claims = {c.native_id: c for c in everything(found)}

    first, second = claims["llm/dra-shared-a"], claims["llm/dra-shared-b"]

    assert first.uuids == second.uuids
    assert (moment("2026-11-22T05:01:11Z"), moment("2026-11-22T05:01:47Z")) == (first.start, first.end)
    assert (moment("2026-11-22T05:01:47Z"), moment("2026-11-22T05:02:07Z")) == (second.start, second.end)


def test_link_keys_name_the_slurm_side(found: Snapshot) -> None:
    claims = everything(found)

    keys = {(c.native_id.split("/")[1], k.kind, k.cluster, k.value) for c in claims for k in c.keys}

    assert keys == {
        ("hpc1-worker-h100-qk7zd", LinkKind.LENDS, "hpc", "h100-001"),
        ("hpc1-worker-h100-m2x9c", LinkKind.LENDS, "hpc", "h100-002"),
        ("hpc1-worker-h100-z6j3h", LinkKind.LENDS, "hpc", "h100-002"),
        ("hpc1-worker-h100-t5vbn", LinkKind.LENDS, "hpc", "h100-003"),
        ("hpc1-worker-h100-w8r4f", LinkKind.LENDS, "hpc", "h100-004"),
        ("bridge-train-8pd4d", LinkKind.SAME, "hpc", "6001"),
        ("bridge-train-njqlq", LinkKind.SAME, "hpc", "6002"),
        ("bridge-solo", LinkKind.SAME, "hpc", "6010"),
        ("bert-ft-master-0", LinkKind.INSIDE, "hpc", "5120"),
        ("bert-ft-worker-0", LinkKind.INSIDE, "hpc", "5120"),
        ("bert-ft-worker-1", LinkKind.INSIDE, "hpc", "5120"),
        ("sneaky-master-0", LinkKind.INSIDE, "hpc", "4711"),
        ("sneaky-worker-0", LinkKind.INSIDE, "hpc", "4711"),
        ("cow-job", LinkKind.STAND_IN, "hpc", ""),
    }, "slurm-like-0-jljj7 has SLURM_JOB_ID in its environment, and no key"


def test_roots_are_named_by_labels_where_owners_may_not_be_read(recorded: Path) -> None:
    expected = {
        (f"{row['namespace']}/{row['root_owner_kind']}/{row['root_owner_name']}", row["pod_uid"], row["root_owner_uid"])
        for row in truth(recorded)
        if row["start"] and row["root_owner_kind"] != "RayCluster"
    }
    found = last(recorded, owners=False)
    names = {job.key: job.display_id for job in found.jobs}

    actual = {(names[c.job], c.unit, c.job.id) for c in everything(found)}

    unnamed = {(n, u, n if "InferenceService" in n else i) for n, u, i in expected}  # its UID is on no label
    assert unnamed <= actual
    assert found.complete


def test_a_forced_delete_ends_with_the_watch_and_the_others_with_their_containers(found: Snapshot) -> None:
    deleted = {c.native_id for c in found.ended if c.end_basis == "deleted"}

    assert deleted == {"vision/to-be-forced"}
    assert {"finished", "deleted"} == {c.end_basis for c in found.ended}
    assert {""} == {c.end_basis for c in found.claims}


def test_what_waits_is_a_demand(found: Snapshot) -> None:
    job = next(job for job in found.jobs if job.display_id == "batch-sim/Pod/huge")

    assert (Demand(job.key, 16_000, ""),) == found.demands


def test_nodes_tell_their_cards_and_their_other_names(found: Snapshot) -> None:
    cards = {n.key.name: n.milligpu for n in found.nodes}

    assert {f"gn{n:02}": 8000 for n in range(1, 15)} | {"vk-slurm-01": 0} == cards
    assert {"NVIDIA-H100-80GB-HBM3", ""} == {n.model for n in found.nodes}
    assert ("hpc1-k05", "gn05") == next(n.hostnames for n in found.nodes if n.key.name == "gn05")
    assert all(n.up for n in found.nodes), "gn13 is back at the end"


def test_people_and_queues_come_from_labels(found: Snapshot) -> None:
    jobs = {job.display_id: job for job in found.jobs}

    notebook, bridged = jobs["llm/StatefulSet/notebook"], jobs["vision/Job/bridge-train"]

    assert ("bob", "llm", "Running", "StatefulSet") == (notebook.user, notebook.account, notebook.state, notebook.kind)
    assert ("slurm-bridge", "Succeeded") == (bridged.partition, bridged.state)
    assert "sim" == jobs["batch-sim/Job/cfd"].labels["team"]
    assert "pod-index" not in "".join(jobs["slurm/NodeSet/hpc1-worker-h100"].labels), "labels that differ say nothing"


def polled(source: Pods, now: float) -> Snapshot:
    """A snapshot at that time. The recording cuts connections; the registry asks again, and so does this."""
    for _ in range(1000):
        try:
            return source.poll(now)
        except SourceError:
            threading.Event().wait(0.01)
    raise AssertionError("the recorded server never answered")


def test_ends_are_told_until_they_are_acknowledged_and_never_again(recorded: Path, found: Snapshot) -> None:
    told: list[Claim] = []
    with KubeReplay(recorded, owner_objects(recorded)) as server:
        source = Pods("kube", api_client=server.client(), hold_from="started", pause=0.01, slurm_clusters={"": "hpc"})
        now = 0.0
        over = False
        while not over:
            over = server.wait(0.02)
            now += 1
            first, again = polled(source, now), polled(source, now + 0.5)
            assert set(first.ended) <= set(again.ended), "an end that nobody acknowledged is told again"
            source.acknowledge(now)
            told += first.ended
        left = [c for c in polled(source, now + 1).ended if c not in told]
        source.close()

    assert [] == left
    assert len(set(told)) == len(told)
    assert {(c.unit, c.start, c.end) for c in found.ended} == {(c.unit, c.start, c.end) for c in told}
