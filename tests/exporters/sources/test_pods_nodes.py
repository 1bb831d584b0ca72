from __future__ import annotations

from typing import Any

import pytest

from exporters.model import Node, NodeKey, Scheduler
from exporters.sources.kubernetes.nodes import NodeFacts, SlotPool, node_facts, nodes_of
from tests.lab.kube_fake import node

H100 = "NVIDIA-H100-80GB-HBM3"


def facts(labels: dict[str, str] | None = None, **capacity: str) -> NodeFacts:
    return node_facts(node("n", labels={"nvidia.com/gpu.product": H100, **(labels or {})}, **capacity))


def test_whole_cards_are_worth_a_thousand_each() -> None:
    found = facts({"nvidia.com/gpu.count": "8"}, **{"nvidia.com/gpu": "8", "cpu": "192"})

    assert {"nvidia.com/gpu": SlotPool(8, 8000)} == found.pools


@pytest.mark.parametrize(
    "labels",
    [
        {"nvidia.com/gpu.count": "8", "nvidia.com/gpu.replicas": "2"},
        {"nvidia.com/gpu.count": "8"},
        {"nvidia.com/gpu.replicas": "2"},
    ],
)
def test_shared_slots_are_worth_their_part_of_the_physical_cards(labels: dict[str, str]) -> None:
    found = facts({**labels, "nvidia.com/gpu.product": f"{H100}-SHARED"}, **{"nvidia.com/gpu.shared": "16"})

    pool = found.pools["nvidia.com/gpu.shared"]

    assert SlotPool(16, 8000, "shared") == pool
    assert (500, 8000) == (pool.worth(1), pool.worth(16))
    assert H100 == found.model


def test_replicas_that_keep_the_resource_name_are_not_cards() -> None:
    labels = {"nvidia.com/gpu.count": "4", "nvidia.com/gpu.replicas": "10"}

    assert {"nvidia.com/gpu": SlotPool(40, 4000, "shared")} == facts(labels, **{"nvidia.com/gpu": "40"}).pools


def test_shared_slots_without_any_evidence_of_cards_are_worth_nothing_and_said() -> None:
    found = facts(**{"nvidia.com/gpu.shared": "16"})

    assert SlotPool(16, 0, "shared") == found.pools["nvidia.com/gpu.shared"]
    assert "run GPU Feature Discovery" in found.problems[0]


def test_mig_slots_share_the_cards_that_are_not_whole() -> None:
    capacity = {"nvidia.com/gpu": "4", "nvidia.com/mig-1g.10gb": "14", "nvidia.com/mig-3g.40gb": "4"}

    found = facts({"nvidia.com/gpu.count": "8", "nvidia.com/gpu.memory": "81559"}, **capacity)

    assert found.pools == {
        "nvidia.com/gpu": SlotPool(4, 4000),
        "nvidia.com/mig-1g.10gb": SlotPool(14, 2000, "1g.10gb"),
        "nvidia.com/mig-3g.40gb": SlotPool(4, 2000, "3g.40gb"),
    }


def test_mig_slots_without_a_card_count_are_on_as_few_cards_as_hold_them() -> None:
    found = facts(**{"nvidia.com/mig-1g.10gb": "14", "nvidia.com/mig-3g.40gb": "4"})

    assert [2000, 2000] == [p.milligpu for p in found.pools.values()]


def test_time_sliced_mig_slots_share_what_their_instances_are_worth() -> None:
    labels = {"nvidia.com/gpu.count": "1", "nvidia.com/mig-1g.10gb.replicas": "3"}

    found = facts(labels, **{"nvidia.com/mig-1g.10gb.shared": "21"})

    assert {"nvidia.com/mig-1g.10gb.shared": SlotPool(21, 1000, "1g.10gb")} == found.pools


def test_fewer_slots_than_replicas_are_still_one_slice() -> None:
    labels = {"nvidia.com/gpu.count": "1", "nvidia.com/mig-1g.10gb.replicas": "8"}

    found = facts(labels, **{"nvidia.com/mig-1g.10gb.shared": "4", "nvidia.com/mig-3g.40gb": "1"})

    assert {4, 1} == {pool.slots for pool in found.pools.values()}
    assert 1000 == sum(pool.milligpu for pool in found.pools.values())
    assert found.pools["nvidia.com/mig-1g.10gb.shared"].milligpu < found.pools["nvidia.com/mig-3g.40gb"].milligpu


def test_mig_strategy_single_counts_instances_under_the_plain_name() -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-3g.40gb", "nvidia.com/gpu.count": "16"}

    found = facts(labels, **{"nvidia.com/gpu": "16"})

    assert {"nvidia.com/gpu": SlotPool(16, 8000, "3g.40gb")} == found.pools
    assert "NVIDIA-A100-SXM4-80GB" == found.model
    assert 8000 == nodes_of("k", found, {})[0].milligpu


def test_a_virtual_node_has_no_cards() -> None:
    found = facts({"type": "virtual-kubelet"}, **{"nvidia.com/gpu": "64"})

    assert (True, {}) == (found.virtual, found.pools)
    assert [0] == [n.milligpu for n in nodes_of("k", found, {"H100": 64_000})]


def with_state(**changes: Any) -> tuple[bool, str]:
    raw = node("n")
    raw["spec"] = changes.get("spec", {})
    raw["status"]["conditions"] = changes.get("conditions", raw["status"]["conditions"])
    found = node_facts(raw)
    return found.up, found.reason


def test_a_ready_node_is_up_whatever_taints_keep_others_off() -> None:
    taints = [
        {"key": "nvidia.com/gpu", "effect": "NoSchedule"},
        {"key": "slinky.slurm.net/managed-node", "value": "slurm-bridge-scheduler", "effect": "NoExecute"},
        {"key": "node.kubernetes.io/unschedulable", "effect": "PreferNoSchedule"},
    ]

    assert (True, "") == with_state(spec={"taints": taints})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec": {"unschedulable": True}}, "cordoned"),
        (
            {"spec": {"unschedulable": True, "taints": [{"key": "node.kubernetes.io/unschedulable"}]}},
            "cordoned",
        ),
        ({"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service"}]}}, "out of service"),
        ({"spec": {"taints": [{"key": "node.kubernetes.io/unreachable"}]}}, "unreachable"),
        ({"conditions": []}, "not ready (no Ready condition)"),
        (
            {
                "conditions": [
                    {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "no word"}
                ],
                "spec": {"taints": [{"key": "node.kubernetes.io/unreachable"}], "unschedulable": True},
            },
            "not ready (NodeStatusUnknown: no word); cordoned",
        ),
    ],
)
def test_a_node_that_takes_no_work_says_why(changes: dict[str, Any], reason: str) -> None:
    assert (False, reason) == with_state(**changes)


def test_cards_offered_through_dra_are_the_nodes_cards() -> None:
    key = NodeKey(Scheduler.KUBERNETES, "k", "n")

    alone = nodes_of("k", facts(cpu="8"), {H100: 8000})
    both = nodes_of("k", facts({"nvidia.com/gpu.count": "8"}, **{"nvidia.com/gpu": "8"}), {H100: 8000})
    parted = nodes_of("k", facts({"nvidia.com/gpu.count": "8"}, **{"nvidia.com/gpu": "4"}), {H100: 4000})
    two_models = nodes_of("k", facts(cpu="8"), {"L40S": 2000, H100: 1000})

    assert [Node(key, 8000, True, H100)] == alone == both == parted
    assert [("L40S", 2000), (H100, 1000)] == [(n.model, n.milligpu) for n in two_models]


def test_a_node_without_gpus_is_one_node_with_none() -> None:
    assert [0] == [n.milligpu for n in nodes_of("k", facts(cpu="8"), {})]


def test_other_names_of_the_machine_are_kept_best_first() -> None:
    raw = node("gn05.site", labels={"slinky.slurm.net/slurm-nodename": "hpc1-k05", "kubernetes.io/hostname": "gn05"})
    raw["status"]["addresses"] = [
        {"type": "InternalIP", "address": "10.0.0.5"},
        {"type": "Hostname", "address": "gn05"},
        {"type": "InternalDNS", "address": "gn05.internal"},
    ]

    assert ("hpc1-k05", "gn05", "gn05.internal") == node_facts(raw).hostnames


def test_a_capacity_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        facts(**{"nvidia.com/gpu": "eight"})
