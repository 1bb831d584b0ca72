"""KAI and Run:ai: a reservation pod keeps the card, and the team's pods hold their fractions of it."""

from __future__ import annotations

from typing import Any

import pytest

from exporters.sources.kubernetes.nodes import node_facts
from exporters.sources.kubernetes.pod_facts import pod_facts
from tests.exporters.sources.book_world import World
from tests.lab.kube_fake import node, pod

GROUP = "runai-gpu-group"


def world() -> World:
    found = World()
    found.store.nodes["n"] = node_facts(node("n", 2, labels={"nvidia.com/gpu.memory": "81920"}))
    return found


def keeps(of: World, group: str = "g1", uuid: str = "", **more: Any) -> None:
    annotations = {"run.ai/reserve_for_gpu_index": uuid} if uuid else {}
    facts = of.facts(
        f"gpu-reservation-n-{group}",
        namespace="kai-resource-reservation",
        labels={GROUP: group},
        meta={"annotations": annotations},
        scheduled=900,
        started=901,
        **more,
    )
    of.store.put_pod(facts, 1000.0)


def uses(of: World, name: str, labels: dict[str, str] | None = None, **annotations: str) -> None:
    told = {key.replace("_", "-"): value for key, value in annotations.items()}
    labels = {GROUP: "g1"} if labels is None else labels
    of.put(name, 1000.0, gpus=0, labels=labels, meta={"annotations": told}, scheduled=1000, started=1001)


def held(of: World) -> dict[str, tuple[int, str, tuple[str, ...]]]:
    return {name: (c.milligpu, c.profile, c.uuids) for name, c in of.open(1010.0).items()}


def test_each_pod_holds_its_fraction_and_the_reservation_pod_nothing() -> None:
    found = world()
    keeps(found, uuid="GPU-7")
    uses(found, "half", gpu_fraction="0.5")
    uses(found, "quarter", gpu_memory="20480")

    assert {"half": (500, "shared", ("GPU-7",)), "quarter": (250, "shared", ("GPU-7",))} == held(found)


def test_a_fraction_of_several_cards_is_one_of_each() -> None:
    found = world()
    keeps(found, "g1", "GPU-1")
    keeps(found, "g2", "GPU-2")
    labels = {f"{GROUP}/g1": "", f"{GROUP}/g2": ""}
    uses(found, "both", labels, gpu_fraction=".4", gpu_fraction_num_devices="2")

    assert {"both": (800, "shared", ("GPU-1", "GPU-2"))} == held(found)


def test_a_fraction_without_its_reservation_is_named_and_not_counted_until_that_is_there() -> None:
    found = world()
    uses(found, "early", gpu_fraction="0.5")
    uses(found, "alone", {}, gpu_fraction="0.5")

    before = found.snapshot(1010.0)
    keeps(found)

    assert ((), True) == (before.claims, before.complete)
    assert ["lab/early", "lab/alone"] == [r.reason.split()[1] for r in before.rejects]
    assert {"early": (500, "shared", ())} == held(found)


def test_who_is_given_cards_of_its_own_holds_them_whatever_its_annotations_say() -> None:
    found = world()
    facts = pod_facts(pod("a", gpus=2, node="n", meta={"annotations": {"gpu-fraction": "nonsense"}}))
    found.store.put_pod(facts, 1000.0)

    assert {"a": (2000, "", ())} == held(found)


def test_a_team_cannot_keep_a_card_for_nothing_by_calling_itself_a_reservation() -> None:
    found = world()
    found.put("gpu-reservation-n-x", 1000.0, labels={GROUP: "x"}, scheduled=1000, started=1001)

    assert {"gpu-reservation-n-x": (1000, "", ())} == held(found)


@pytest.mark.parametrize(
    "annotations",
    [
        {"gpu-fraction": "2"},
        {"gpu-fraction": "0"},
        {"gpu-fraction": "1e9"},
        {"gpu-fraction": "0.00001"},
        {"gpu-memory": "x"},
        {"gpu-fraction": "0.5", "gpu-fraction-num-devices": "9" * 30},
    ],
)
def test_a_fraction_that_is_none_is_refused_by_name(annotations: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="its annotation gpu-"):
        pod_facts(pod("a", gpus=0, node="n", meta={"annotations": annotations}))


def test_a_waiting_fraction_asks_for_its_part() -> None:
    found = world()
    annotations = {"gpu-fraction": "0.25"}
    status = {"phase": "Pending", "conditions": []}
    found.put("w", 1000.0, gpus=0, node="", meta={"annotations": annotations}, status=status)

    assert [250] == [d.milligpu for d in found.snapshot(1010.0).demands]
