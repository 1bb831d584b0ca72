"""Slots are not cards: every scheme by which a node shares its cards, on objects as the vendors' plugins leave them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.sources.kubernetes.claims import wanted
from exporters.sources.kubernetes.nodes import NodeFacts, node_facts, nodes_of
from exporters.sources.kubernetes.pod_facts import pod_facts
from exporters.sources.kubernetes.slots.portions import Findings, portions
from exporters.sources.kubernetes.slots.resources import Metered, Resources
from tests.exporters.sources.book_world import World
from tests.lab.kube_fake import node, pod

OWN = Resources({"habana.ai/gaudi": Metered("Gaudi3", 1000), "acme.org/slice": Metered("Acme", 250)})


@dataclass(frozen=True)
class Scheme:
    """A node with ``cards`` cards of ``model``: its labels and annotations, and what it offers of one resource."""

    resource: str
    slots: int
    cards: int
    one: int
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    model: str = "H100"

    def node(self, slots: int | None = None) -> NodeFacts:
        raw = node("n", labels=self.labels, **{self.resource: str(self.slots if slots is None else slots)})
        raw["metadata"]["annotations"] = self.annotations
        return node_facts(raw, OWN)


GFD, GKE = "nvidia.com/gpu", "cloud.google.com/gke"
REGISTER = "GPU-1,10,32768,100,NVIDIA-V100,0,true:GPU-2,10,32768,100,NVIDIA-V100,0,true:"
SCHEMES = {
    "whole cards": Scheme(GFD, 8, 8, 1000, {f"{GFD}.count": "8"}),
    "whole cards, no label": Scheme(GFD, 8, 8, 1000),
    "time-slicing": Scheme(GFD, 32, 8, 250, {f"{GFD}.count": "8", f"{GFD}.replicas": "4"}),
    "time-slicing, renamed": Scheme(f"{GFD}.shared", 16, 8, 500, {f"{GFD}.count": "8"}),
    "MPS": Scheme(GFD, 16, 4, 250, {f"{GFD}.replicas": "4", f"{GFD}.sharing-strategy": "mps"}),
    "fifty of one": Scheme(f"{GFD}.shared", 50, 1, 20, {f"{GFD}.count": "1", f"{GFD}.replicas": "50"}),
    "GKE time-sharing": Scheme(
        GFD, 4, 1, 250,
        {f"{GKE}-accelerator": "nvidia-tesla-t4", f"{GKE}-max-shared-clients-per-gpu": "4", f"{GFD}.product": ""},
        model="nvidia-tesla-t4",
    ),
    "GKE MIG": Scheme(
        GFD, 7, 1, 142,
        {f"{GKE}-accelerator": "nvidia-tesla-a100", f"{GKE}-gpu-partition-size": "1g.5gb", f"{GFD}.product": ""},
        model="nvidia-tesla-a100",
    ),
    "GKE MIG, halves": Scheme(
        GFD, 16, 8, 500,
        {f"{GKE}-accelerator": "nvidia-h100-80gb", f"{GKE}-gpu-partition-size": "3g.40gb", f"{GFD}.product": ""},
        model="nvidia-h100-80gb",
    ),
    "GKE MIG, time-shared": Scheme(
        GFD, 21, 1, 47,
        {
            f"{GKE}-accelerator": "nvidia-tesla-a100", f"{GKE}-gpu-partition-size": "1g.5gb", f"{GFD}.product": "",
            f"{GKE}-max-shared-clients-per-gpu": "3",
        },
        model="nvidia-tesla-a100",
    ),
    "MIG single": Scheme(
        GFD, 32, 8, 250, {f"{GFD}.product": "NVIDIA-H200-MIG-1g.35gb", f"{GFD}.count": "32"}, model="NVIDIA-H200"
    ),
    "MIG single, with media engines": Scheme(
        GFD, 8, 8, 1000, {f"{GFD}.product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb.me"}, model="NVIDIA-H100-80GB-HBM3"
    ),
    "MIG single, halves": Scheme(
        GFD, 16, 8, 500, {f"{GFD}.product": "NVIDIA-H200-MIG-3g.71gb", f"{GFD}.count": "16"}, model="NVIDIA-H200"
    ),
    "MIG mixed": Scheme(
        "nvidia.com/mig-1g.35gb", 32, 8, 250, {f"{GFD}.product": "NVIDIA-H200", f"{GFD}.count": "8"},
        model="NVIDIA-H200",
    ),
    "MIG mixed, no label": Scheme("nvidia.com/mig-3g.40gb", 16, 8, 500),
    "HAMi": Scheme(GFD, 20, 2, 1000, {f"{GFD}.count": "2"}, {"hami.io/node-nvidia-register": REGISTER}),
    "HAMi, no label": Scheme(GFD, 20, 2, 1000, {}, {"hami.io/node-nvidia-register": REGISTER}),
    "AMD CPX, single": Scheme(
        "amd.com/gpu", 64, 8, 125, {"amd.com/compute-memory-partition": "cpx_nps4", f"{GFD}.product": "",
            "amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}, model="AMD_Instinct_MI300X_OAM"
    ),
    "AMD DPX, single": Scheme("amd.com/gpu", 16, 8, 500, {"dcm.amd.com/gpu-config-profile": "dpx-nps1"}),
    "AMD SPX": Scheme("amd.com/gpu", 8, 8, 1000, {"amd.com/compute-memory-partition": "spx_nps1"}),
    "AMD CPX of an MI300A": Scheme(
        "amd.com/gpu", 24, 4, 166,
        {"amd.com/compute-memory-partition": "cpx_nps1", f"{GFD}.product": "", "amd.com/gpu.product-name": "MI300A"},
        model="MI300A",
    ),
    "AMD mixed": Scheme("amd.com/cpx_nps4", 64, 8, 125),
    "AMD mixed, whole": Scheme("amd.com/spx_nps1", 8, 8, 1000),
    "passed to a virtual machine": Scheme("nvidia.com/GA102GL_A10", 4, 4, 1000, model="A10"),
    "passed, Turing": Scheme("nvidia.com/TU104GL_TESLA_T4", 2, 2, 1000, model="TESLA-T4"),
    "a rule of the site": Scheme("habana.ai/gaudi", 8, 8, 1000, model="Gaudi3"),
    "a rule for parts": Scheme("acme.org/slice", 16, 4, 250, model="Acme"),
}  # fmt: skip


def held(scheme: Scheme, count: int, **spec: Any) -> Findings:
    facts = pod_facts(pod("a", gpus=count, resource=scheme.resource, node="n", **spec), OWN)
    return portions(facts, scheme.node(), None, {})


@pytest.mark.parametrize("name", SCHEMES)
def test_a_full_node_in_any_scheme_comes_to_exactly_its_cards(name: str) -> None:
    scheme = SCHEMES[name]
    facts = scheme.node()

    [found] = nodes_of("k", facts, {})
    [everything] = held(scheme, scheme.slots).held

    assert (scheme.cards * 1000, scheme.model, True) == (found.milligpu, found.model, found.up)
    assert scheme.cards * 1000 == everything.milligpu
    assert () == facts.problems
    assert {} == facts.unmetered


@pytest.mark.parametrize("name", SCHEMES)
def test_a_slot_is_its_part_of_a_card_also_while_it_waits(name: str) -> None:
    scheme = SCHEMES[name]
    waiting = pod_facts(pod("w", gpus=1, resource=scheme.resource), OWN)

    [one] = held(scheme, 1).held

    assert scheme.one == one.milligpu == wanted(waiting, [scheme.node()], None)
    assert scheme.model == one.model


@given(st.sampled_from(sorted(SCHEMES)), st.data())
def test_pods_that_share_a_nodes_slots_never_hold_more_than_its_cards(name: str, data: st.DataObject) -> None:
    scheme, left, total = SCHEMES[name], SCHEMES[name].slots, 0
    if scheme.annotations:
        return  # HAMi: what a pod asks for is its part, and its scheduler keeps to the card
    while left:
        count = data.draw(st.integers(1, left))
        total += sum(p.milligpu for p in held(scheme, count).held)
        left -= count

    assert scheme.cards * 1000 - scheme.slots <= total <= scheme.cards * 1000


@pytest.mark.parametrize("name", SCHEMES)
def test_a_device_plugin_that_is_away_takes_no_card_from_the_node(name: str) -> None:
    scheme = SCHEMES[name]
    before, away = scheme.node(), scheme.node(slots=0).after(scheme.node())

    [node_then], [node_now] = nodes_of("k", before, {}), nodes_of("k", away, {})
    facts = pod_facts(pod("a", gpus=1, resource=scheme.resource, node="n", started=1000), OWN)
    [share] = portions(facts, away, None, {}).held

    assert (node_then.milligpu, node_then.model) == (node_now.milligpu, node_now.model)
    assert (False, f"no device plugin offers its {scheme.cards} cards") == (node_now.up, node_now.reason)
    assert scheme.one == share.milligpu
    assert before == scheme.node().after(away), "it is back"


def test_a_node_first_seen_while_its_plugin_is_away_has_the_cards_that_its_label_tells() -> None:
    facts = node_facts(node("n", labels={"nvidia.com/gpu.count": "8"}, **{"nvidia.com/gpu": "0"}))

    assert [(8000, False)] == [(n.milligpu, n.up) for n in nodes_of("k", facts, {})]
    whole = pod_facts(pod("a", gpus=8, node="n", started=1000))
    assert [8000] == [p.milligpu for p in portions(whole, facts, None, {}).held]


def test_a_node_first_seen_without_its_plugin_does_not_take_a_slot_for_a_card() -> None:
    labels = {"nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.count": "2"}
    facts = node_facts(node("n", labels=labels, **{"nvidia.com/gpu": "0"}))

    found = portions(pod_facts(pod("a", gpus=1, node="n", started=1000)), facts, None, {})

    assert ((), ("node n does not tell how many cards are behind nvidia.com/gpu",)) == (found.held, found.missing)


def test_a_node_that_is_cut_anew_has_what_it_offers_now() -> None:
    whole = node_facts(node("n", labels={"nvidia.com/gpu.count": "8"}))
    cut = node_facts(node("n", labels={"nvidia.com/gpu.count": "8"}, **{"nvidia.com/mig-3g.40gb": "16"})).after(whole)

    assert (["nvidia.com/mig-3g.40gb"], False) == (list(cut.pools), cut.away)


@pytest.mark.parametrize(
    ("asks", "milligpu"),
    [
        ({"nvidia.com/gpumem": "3000", "nvidia.com/gpucores": "30"}, 300),
        ({"nvidia.com/gpumem": "16384", "nvidia.com/gpucores": "30"}, 500),
        ({"nvidia.com/gpumem-percentage": "25"}, 250),
        ({"nvidia.com/gpumem": "999999999"}, 1000),
        ({}, 1000),
    ],
)
def test_hami_weighs_a_slot_by_what_is_asked_of_it(asks: dict[str, str], milligpu: int) -> None:
    raw = node("n", labels={"nvidia.com/gpu.count": "2", "nvidia.com/gpu.memory": "32768"}, **{GFD: "20"})
    raw["metadata"]["annotations"] = {"hami.io/node-nvidia-register": REGISTER}

    def of(count: int) -> list[int]:
        limits = {"nvidia.com/gpu": str(count), **asks}
        facts = pod_facts(pod("a", gpus=0, node="n", spec={"containers": [{"resources": {"limits": limits}}]}))
        return [p.milligpu for p in portions(facts, node_facts(raw), None, {}).held]

    assert [milligpu] == of(1)
    assert [min(2 * milligpu, 2000)] == of(2)


@pytest.mark.parametrize(
    ("given", "count", "held", "cards"),
    [
        ("GPU-1,NVIDIA,8192,30:;", 1, 300, ("GPU-1",)),
        ("GPU-2,NVIDIA,16384,30:;", 1, 500, ("GPU-2",)),
        ("GPU-1,NVIDIA,8192,0:GPU-2,NVIDIA,8192,0:;", 2, 500, ("GPU-1", "GPU-2")),
        ("GPU-1,NVIDIA,8192,0:;GPU-2,NVIDIA,16384,0:;", 2, 750, ()),  # which has which part would be lost
        ("GPU-1,NVIDIA,0,0:;", 1, 1000, ("GPU-1",)),
        ("GPU-1,NVIDIA,99999,0:;", 1, 1000, ("GPU-1",)),
        ("GPU-9,NVIDIA,8192,30:;", 1, 500, ()),  # another node's: what is asked counts
        ("GPU-1,NVIDIA,8192,30:;", 2, 1000, ()),
        ("GPU-1,NVIDIA", 1, 500, ()),
        ("", 1, 500, ()),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_what_hamis_scheduler_gave_counts_before_what_was_asked(
    given: str, count: int, held: int, cards: tuple[str, ...], *, listed: bool
) -> None:
    register = json.dumps([{"id": f"GPU-{n}", "count": 10, "devmem": 32768} for n in (1, 2)]) if listed else REGISTER
    raw = node("n", labels={"nvidia.com/gpu.count": "2", "nvidia.com/gpu.memory": "32768"}, **{GFD: "20"})
    raw["metadata"]["annotations"] = {"hami.io/node-nvidia-register": register}
    limits = {"nvidia.com/gpu": str(count), "nvidia.com/gpumem-percentage": "50"}
    asking = pod("a", gpus=0, node="n", spec={"containers": [{"resources": {"limits": limits}}]})
    asking["metadata"]["annotations"] = {"hami.io/vgpu-devices-allocated": given}
    [found] = portions(pod_facts(asking), node_facts(raw), None, {}).held

    assert (held, cards) == (found.milligpu, found.uuids)


def test_more_slots_than_a_label_tells_cards_are_parts_of_these_and_a_problem() -> None:
    facts = node_facts(node("n", labels={"nvidia.com/gpu.count": "8"}, **{"nvidia.com/gpu": "80"}))
    raw = {"resources": {"limits": {"nvidia.com/gpu": "1", "nvidia.com/gpucores": "30"}}}
    asking = pod_facts(pod("a", gpus=0, node="n", spec={"containers": [raw]}))

    assert [8000] == [n.milligpu for n in nodes_of("k", facts, {})]
    assert "offers 80 nvidia.com/gpu, but its label nvidia.com/gpu.count says 8 cards" in facts.problems[0]
    assert [100] == [p.milligpu for p in portions(pod_facts(pod("a", node="n")), facts, None, {}).held]
    assert [300] == [p.milligpu for p in portions(asking, facts, None, {}).held]


def test_replicas_beyond_the_cards_of_the_label_are_a_problem() -> None:
    labels = {"nvidia.com/gpu.count": "2", "nvidia.com/gpu.replicas": "4"}
    facts = node_facts(node("n", labels=labels, **{"nvidia.com/gpu": "32"}))

    assert ([2000], 1) == ([n.milligpu for n in nodes_of("k", facts, {})], len(facts.problems))


def test_partitions_that_make_no_whole_cards_are_a_problem() -> None:
    facts = node_facts(node("n", labels={"amd.com/compute-memory-partition": "cpx_nps4"}, **{"amd.com/gpu": "60"}))

    assert ([8000], 1) == ([n.milligpu for n in nodes_of("k", facts, {})], len(facts.problems))


@pytest.mark.parametrize(
    "resource",
    ["gpu.intel.com/xe", "habana.ai/gaudi", "aws.amazon.com/neuroncore", "google.com/tpu", "huawei.com/Ascend910",
     "cambricon.com/mlu", "nvidia.com/NVIDIA_A10-12Q", "nvidia.com/gpu-training", "amd.com/gpu_vf", "acme.org/npu",
     "qualcomm.com/qaic", "furiosa.ai/rngd", "rebellions.ai/ATOM", "graphcore.ai/ipu", "tenstorrent.com/n150",
     "groq.com/lpu", "tencent.com/vcuda-core", "elasticgpu.io/gpu-core", "vgpu.acme.org/half", "acme.org/a100",
     "devices.kubevirt.io/tesla-t4"],
)  # fmt: skip
def test_what_looks_like_cards_and_has_no_rule_is_seen_and_a_rule_meters_it(resource: str) -> None:
    raw = node("n", **{resource: "8"})
    world = World()
    world.store.nodes = {"n": node_facts(raw)}
    snapshots = [world.snapshot(at) for at in (10.0, 25.0)]
    ruled = node_facts(raw, Resources({resource: Metered("X", 1000)}))

    assert [{resource: 8}, {resource: 8}] == [s.unmetered for s in snapshots]
    assert f"{resource} looks like an accelerator and has no rule" in snapshots[0].problems[0]
    assert [1, 1] == [len(s.rejects) for s in snapshots], "one reject until it is kept"
    assert all(s.complete for s in snapshots)
    assert ({}, [("X", 8000)]) == (ruled.unmetered, [(n.model, n.milligpu) for n in nodes_of("k", ruled, {})])


@pytest.mark.parametrize(
    "resource", ["nvidia.com/mlnxnics", "nvidia.com/rdma_shared_device_a", "gpu.intel.com/monitoring", "rdma/hca_0",
                 "nvidia.com/gpumem", "smarter-devices/fuse", "cambricon.com/mlu.smlu.vmemory",
                 "tencent.com/vcuda-memory", "nvidia.com/rdma_a100", "dpu.acme.org/bf3", "acme.org/v10"],
)  # fmt: skip
def test_what_is_no_card_is_not_taken_for_one(resource: str) -> None:
    assert {} == node_facts(node("n", **{resource: "8"})).unmetered


@pytest.mark.parametrize("count", ["9223372036854775807", "100001", "1e9", "9" * 30, "8Ti", "eight"])
def test_a_request_that_no_node_can_meet_is_refused_by_name(count: str) -> None:
    with pytest.raises(ValueError, match="devices"):
        pod_facts(pod("evil", gpus=1, spec={"containers": [{"resources": {"limits": {"nvidia.com/gpu": count}}}]}))


def test_a_count_in_any_notation_is_counted() -> None:
    for count, expected in (("8", 8), ("1e1", 10), ("1E1", 10), ("1k", 1000), ("2Ki", 2048)):
        limits = {"resources": {"limits": {"nvidia.com/gpu": count}}}
        assert {"nvidia.com/gpu": expected} == pod_facts(pod("a", spec={"containers": [limits]})).requests


def test_a_pod_that_is_bound_and_asks_for_more_than_its_node_has_holds_nothing_unless_it_runs() -> None:
    world = World()
    world.put("evil", 10.0, gpus=9, scheduled=5)
    world.put("good", 10.0, gpus=8, scheduled=5, started=6)
    first = world.snapshot(10.0)
    world.put("evil", 20.0, gpus=9, scheduled=5, started=7)

    assert ({"lab/good"}, True) == ({c.native_id for c in first.claims}, first.complete)
    assert ["pod lab/evil asks for 9 nvidia.com/gpu, and its node n has 8: not counted"] == [
        r.reason for r in first.rejects
    ]
    assert {"good": 8000, "evil": 9000} == {name: c.milligpu for name, c in world.open(20.0).items()}


def test_a_label_of_absurd_size_tells_nothing() -> None:
    facts = node_facts(node("n", labels={"nvidia.com/gpu.count": "9" * 30, "nvidia.com/gpu.replicas": "9" * 30}))

    assert (0, {"nvidia.com/gpu": 8000}) == (facts.cards, {r: p.milligpu for r, p in facts.pools.items()})
