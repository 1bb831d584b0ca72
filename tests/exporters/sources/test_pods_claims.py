from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.model import LinkKey, LinkKind
from exporters.sources.kubernetes.claims import Held, Root, claims_of, hand_over, job_key, job_of, link_keys, wanted
from exporters.sources.kubernetes.nodes import NodeFacts, node_facts
from exporters.sources.kubernetes.pod_facts import PodFacts, pod_facts
from exporters.sources.kubernetes.slots.portions import Portion
from exporters.sources.kubernetes.slots.portions import portions as find
from exporters.sources.kubernetes.slots.resource_claims import Devices
from exporters.sources.kubernetes.slots.resources import Metered, Resources
from tests.lab.kube_fake import node, pod


def portions(
    pod: PodFacts, node: NodeFacts | None, devices: Devices | None, *, final: bool = False
) -> tuple[list[Portion], list[str]]:
    found = find(pod, node, devices, {}, final=final)
    return list(found.held), list(found.missing)


SPAN = st.tuples(st.integers(0, 50), st.one_of(st.none(), st.integers(1, 20)))


@given(st.lists(SPAN, max_size=6), st.integers(0, 30))
def test_a_shared_thing_is_held_once_over_the_union_of_its_users(
    spans: list[tuple[int, int | None]], covered: int
) -> None:
    """The oracle paints seconds: who uses it, and who is said to hold it."""
    users: list[tuple[str, Held]] = [
        (f"u{n}", (start, None if length is None else start + length)) for n, (start, length) in enumerate(spans)
    ]

    turns = hand_over(users, covered)

    for second in range(covered, 80):
        uses = {name for name, (start, end) in users if start <= second and (end is None or second < end)}
        holds = [name for name, (start, end) in turns.items() if start <= second and (end is None or second < end)]
        assert bool(uses) == bool(holds), f"second {second}: used by {uses}, held by {holds}"
        assert len(holds) <= 1
        assert set(holds) <= uses
    assert all(start >= covered for start, _ in turns.values())


def test_the_turn_of_a_user_begins_no_earlier_after_the_first_has_gone() -> None:
    both = hand_over([("a", (11, 47)), ("b", (11, None))])
    later = hand_over([("b", (11, None))], covered=47)

    assert {"a": (11, 47), "b": (47, None)} == both
    assert {"b": (47, None)} == later


def slice_of(*devices: dict[str, Any], name: str = "s", generation: int = 1, driver: str = "gpu.nvidia.com") -> Any:
    return {
        "metadata": {"name": name},
        "spec": {
            "driver": driver,
            "nodeName": "n",
            "pool": {"name": "n", "generation": generation},
            "devices": list(devices),
        },
    }


def device(name: str, **attributes: str) -> dict[str, Any]:
    return {"name": name, "attributes": {k: {"string": v} for k, v in attributes.items()}}


def claim(name: str, *names: str, uid: str = "", users: tuple[str, ...] = (), **result: Any) -> Any:
    results = [{"driver": "gpu.nvidia.com", "pool": "n", "device": d, "request": "r", **result} for d in names]
    status: Any = {"allocation": {"devices": {"results": results}}} if names else {}
    status["reservedFor"] = [{"resource": "pods", "uid": u} for u in users]
    request = {"name": "r", "exactly": {"deviceClassName": "gpu.nvidia.com", "count": 2}}
    return {
        "metadata": {"name": name, "namespace": "lab", "uid": uid or f"uid-{name}"},
        "spec": {"devices": {"requests": [request]}},
        "status": status,
    }


@pytest.fixture
def devices() -> Devices:
    found = Devices()
    found.put_slice(
        slice_of(
            device("gpu-0", type="gpu", uuid="GPU-0", productName="NVIDIA H100 80GB HBM3"),
            device("gpu-1", type="gpu", uuid="GPU-1", productName="NVIDIA H100 80GB HBM3"),
            device("mig-a", type="mig", uuid="MIG-a", parentUUID="GPU-2", profile="3g.40gb", productName="H100 80GB"),
            device("mig-b", type="mig", uuid="MIG-b", parentUUID="GPU-2", profile="3g.40gb", productName="H100 80GB"),
        )
    )
    return found


def held(raw: Any, devices: Devices | None, raw_node: Any = None) -> tuple[list[Portion], list[str]]:
    return portions(pod_facts(raw), node_facts(raw_node or node("n")), devices)


def test_devices_of_a_claim_are_known_by_uuid(devices: Devices) -> None:
    devices.put_claim(claim("c", "gpu-0", "gpu-1"))
    template = {"resourceClaims": [{"name": "c", "resourceClaimTemplateName": "t"}]}
    raw = pod(
        "a",
        gpus=0,
        node="n",
        spec=template,
        status={"resourceClaimStatuses": [{"name": "c", "resourceClaimName": "c"}]},
    )

    found, missing = held(raw, devices)

    assert [Portion(2000, "NVIDIA-H100-80GB-HBM3", "", ("GPU-0", "GPU-1"))] == found
    assert [] == missing


def test_mig_devices_share_their_card_fully_and_a_menu_of_them_does_not(devices: Devices) -> None:
    devices.put_claim(claim("c", "mig-a"))
    raw = pod("a", gpus=0, node="n", claims={"c": "c"})

    alone = held(raw, devices)[0][0]
    menu = [device(f"m{n}", type="mig", uuid=f"M{n}", parentUUID="G", profile="3g.40gb") for n in range(4)]
    devices.put_slice(slice_of(*menu, name="menu", generation=1, driver="gpu.nvidia.com"))
    devices.put_claim(claim("c", "m3"))
    chosen = held(raw, devices)[0][0]

    assert (500, "3g.40gb", ("MIG-a",), "uid-c") == (alone.milligpu, alone.profile, alone.uuids, alone.shared)
    assert 500 == chosen.milligpu, "half of a card, whatever its memory"


def capacity(of: dict[str, Any], **amounts: str) -> dict[str, Any]:
    return {**of, "allowMultipleAllocations": True, "capacity": {k: {"value": v} for k, v in amounts.items()}}


@pytest.mark.parametrize(
    ("consumed", "milligpu", "profile"),
    [
        ({"memory": "40Gi"}, 500, "shared"),
        ({"memory": "20Gi", "cores": "75"}, 750, "shared"),
        ({"memory": "80Gi"}, 1000, ""),
        ({"memory": "1Ti"}, 1000, ""),
        ({"bandwidth": "5"}, 1000, ""),
        ({}, 1000, ""),
    ],
)
def test_a_part_of_a_device_that_claims_share_is_what_was_consumed(
    devices: Devices, consumed: dict[str, str], milligpu: int, profile: str
) -> None:
    shared = capacity(device("gpu-9", type="gpu", uuid="GPU-9", productName="H100"), memory="80Gi", cores="100")
    devices.put_slice(slice_of(shared, name="consumable", generation=1))
    devices.put_claim(claim("c", "gpu-9", shareID="share-0", consumedCapacity=consumed))

    [found], missing = held(pod("a", gpus=0, node="n", claims={"c": "c"}), devices)

    assert (milligpu, profile, ("GPU-9",), []) == (found.milligpu, found.profile, found.uuids, missing)


@given(st.lists(st.integers(1, 80), min_size=1, max_size=6))
def test_claims_that_fill_a_shared_device_never_hold_more_than_it(parts: list[int]) -> None:
    devices, total = Devices(), sum(parts)
    devices.put_slice(slice_of(capacity(device("g", uuid="GPU-9"), memory=f"{total}Gi")))
    shares = []
    for n, gib in enumerate(parts):
        devices.put_claim(claim(f"c{n}", "g", consumedCapacity={"memory": f"{gib}Gi"}))
        shares += held(pod("a", gpus=0, node="n", claims={"c": f"c{n}"}), devices)[0]

    assert 1000 - len(parts) <= sum(p.milligpu for p in shares) <= 1000


@pytest.mark.parametrize("driver", ["gpu.amd.com", "gpu.intel.com"])
@pytest.mark.parametrize("name", ["resource.kubernetes.io/pciBusID", "pciAddr"])
def test_devices_without_a_uuid_are_known_by_their_pci_address(driver: str, name: str) -> None:
    devices = Devices()
    cards = [device(f"gpu-{n}", type="amdgpu", **{name: f"0000:0{n}:00.0"}) for n in range(8)]
    devices.put_slice(slice_of(*cards, driver=driver))
    devices.put_claim(claim("c", "gpu-2", "gpu-3", driver=driver))

    [found], missing = held(pod("a", gpus=0, node="n", claims={"c": "c"}), devices)

    assert (2000, ("0000:02:00.0", "0000:03:00.0"), []) == (found.milligpu, found.uuids, missing)
    assert {"n": {"": 8000}} == devices.per_node()


@pytest.mark.parametrize("parent", ["parentPciAddr", "pciAddr"])
def test_partitions_of_amds_cards_share_their_card(parent: str) -> None:
    devices = Devices()
    parts = [
        device(f"gpu-{n}", type="amdgpu-partition", partitionProfile="cpx_nps4", **{parent: f"0000:0{n // 8}:00.0"})
        for n in range(16)
    ]
    devices.put_slice(slice_of(*parts, driver="gpu.amd.com"))
    devices.put_claim(claim("c", "gpu-0", "gpu-1", driver="gpu.amd.com"))

    [found], _ = held(pod("a", gpus=0, node="n", claims={"c": "c"}), devices)

    assert (250, "cpx", ()) == (found.milligpu, found.profile, found.uuids)
    assert {"n": {"": 2000}} == devices.per_node()


def test_devices_of_a_driver_without_a_rule_are_seen_and_a_rule_meters_them() -> None:
    cores = slice_of(*(device(f"neuron-{n}") for n in range(4)), driver="neuron.aws.com")
    plain, ruled = Devices(), Devices(Resources({"neuron.aws.com": Metered("Trainium2", 500)}))
    for devices in (plain, ruled):
        devices.put_slice(cores)
        devices.put_slice(slice_of(device("channel-0"), name="imex", driver="compute-domain.nvidia.com"))
        devices.put_slice(slice_of(device("nic-0"), name="nic", driver="dra.net"))
    ruled.put_claim(claim("c", "neuron-0", driver="neuron.aws.com"))

    [found], _ = held(pod("a", gpus=0, node="n", claims={"c": "c"}), ruled)

    assert ({"neuron.aws.com": 4}, {}) == (plain.unmetered(), ruled.unmetered())
    assert (500, "Trainium2", "shared") == (found.milligpu, found.model, found.profile)


def test_admin_access_and_channels_hold_nothing(devices: Devices) -> None:
    devices.put_claim(claim("admin", "gpu-0", adminAccess=True))
    devices.put_claim(claim("channel", "channel-0", driver="compute-domain.nvidia.com"))
    raw = pod("a", gpus=0, node="n", claims={"x": "admin", "y": "channel"})

    assert ([], []) == held(raw, devices)


def test_an_unallocated_claim_for_channels_is_not_waited_for(devices: Devices) -> None:
    raw_claim = claim("channel")
    raw_claim["spec"]["devices"]["requests"][0]["exactly"]["deviceClassName"] = (
        "compute-domain-default-channel.nvidia.com"
    )
    devices.put_claim(raw_claim)

    assert ([], []) == held(pod("a", gpus=0, node="n", claims={"x": "channel"}), devices)


def test_what_is_not_known_yet_is_said(devices: Devices) -> None:
    devices.put_claim(claim("odd", "gpu-99"))
    raw = pod("a", gpus=1, node="elsewhere", claims={"x": "none", "y": "odd"})
    facts = pod_facts(raw)

    _, missing = portions(facts, None, devices)
    _, without = portions(facts, node_facts(node("elsewhere")), None)

    assert missing == [
        "node elsewhere is not known",
        "ResourceClaim lab/none shows no allocation",
        "no ResourceSlice describes device gpu.nvidia.com/n/gpu-99",
    ]
    assert ["ResourceClaim lab/none cannot be read", "ResourceClaim lab/odd cannot be read"] == without


def test_a_reused_claim_gave_each_pod_what_it_gave_then(devices: Devices) -> None:
    devices.put_claim(claim("c", "gpu-0", users=("uid-old",)))
    devices.put_claim(claim("c"))
    devices.put_claim(claim("c", "gpu-1", users=("uid-new",)))
    devices.drop_claim("lab", "c")

    old, new = (held(pod(n, gpus=0, node="n", claims={"c": "c"}), devices)[0] for n in ("old", "new"))

    assert [("GPU-0",), ("GPU-1",)] == [old[0].uuids, new[0].uuids]


def test_only_the_newest_generation_of_a_pool_counts(devices: Devices) -> None:
    devices.put_slice(slice_of(device("gpu-0", type="gpu", uuid="GPU-new"), name="newer", generation=2))

    assert {"n": {"": 1000}} == devices.per_node()
    devices.drop_slice("newer")
    assert {"n": {"NVIDIA-H100-80GB-HBM3": 2000, "H100-80GB": 1000}} == devices.per_node()


def test_the_older_api_keeps_attributes_in_another_place(devices: Devices) -> None:
    old = {"name": "gpu-7", "basic": device("", type="gpu", uuid="GPU-7")}
    devices.put_slice(slice_of({"name": "gpu-7", "basic": {"attributes": old["basic"]["attributes"]}}, name="v1beta1"))

    found = devices.device(("gpu.nvidia.com", "n", "gpu-7"))

    assert found is not None
    assert "GPU-7" == found.uuid


def test_slices_of_a_node_keep_their_profile() -> None:
    raw = node("n", labels={"nvidia.com/gpu.count": "1"}, **{"nvidia.com/mig-1g.10gb": "7"})

    found, _ = held(pod("a", gpus=2, resource="nvidia.com/mig-1g.10gb", node="n"), None, raw)

    assert [Portion(285, "H100", "1g.10gb")] == found


def test_whole_cards_stay_held_when_the_plugin_or_the_node_is_gone() -> None:
    facts = pod_facts(pod("a", gpus=2, node="n"))

    without_plugin = portions(facts, node_facts(node("n", cpu="1")), None)
    without_node = portions(facts, None, None, final=True)

    assert ([Portion(2000, "H100", "")], []) == without_plugin
    assert ([Portion(2000, "", "")], []) == without_node


def test_a_pod_with_its_own_and_a_shared_device_has_two_claims(devices: Devices) -> None:
    devices.put_claim(claim("c", "gpu-0"))
    facts = pod_facts(pod("a", gpus=3, node="n", claims={"c": "c"}))
    own_and_shared = portions(facts, node_facts(node("n")), devices)[0]

    found = claims_of(
        "k", facts, Root("Pod", "a", facts.uid, {}), own_and_shared, (), (5, None), turns={"uid-c": (7, None)}
    )

    assert [("uid-a", 3000, 5, ""), ("uid-a/uid-c", 1000, 7, "uid-c")] == [
        (c.unit, c.milligpu, c.start, s) for c, s in found
    ]


def test_labels_become_link_keys_of_the_sites_own_clusters() -> None:
    labels = {
        "nodeset.slinky.slurm.net/pod-hostname": "h-1",
        "slinky.slurm.net/cluster": "slinky",
        "scheduler.slinky.slurm.net/slurm-jobid": "17",
        "meterbridge.io/slurm-job-id": "18",
        "meterbridge.io/slurm-cluster": "other",
    }
    clusters = {"slinky": "hpc", "": "bridged"}

    found = link_keys(pod_facts(pod("a", node="n", labels=labels)), node_facts(node("n")), clusters)

    assert found == (
        LinkKey(LinkKind.LENDS, "hpc", "h-1", "nodeset.slinky.slurm.net/pod-hostname=h-1"),
        LinkKey(LinkKind.SAME, "bridged", "17", "scheduler.slinky.slurm.net/slurm-jobid=17"),
        LinkKey(LinkKind.INSIDE, "other", "18", "meterbridge.io/slurm-job-id=18"),
    )


@pytest.mark.parametrize(("clusters", "expected"), [({}, ""), ({"x": "hpc"}, "hpc"), ({"x": "a", "y": "b"}, "")])
def test_a_key_without_a_cluster_means_the_only_one(clusters: dict[str, str], expected: str) -> None:
    labels = {"scheduler.slinky.slurm.net/slurm-jobid": "17"}

    assert expected == link_keys(pod_facts(pod("a", labels=labels)), None, clusters)[0].cluster


def test_a_containers_environment_is_no_key() -> None:
    spec = {"containers": [{"name": "c", "env": [{"name": "SLURM_JOB_ID", "value": "17"}]}]}

    assert () == link_keys(pod_facts(pod("a", node="n", spec=spec)), node_facts(node("n")), {"": "hpc"})


def test_a_stand_in_holds_nothing_and_still_has_a_claim() -> None:
    facts = pod_facts(pod("cow-job", gpus=0, node="vk"))
    virtual = node_facts(node("vk", labels={"type": "virtual-kubelet"}))
    keys = link_keys(facts, virtual, {"": "hpc"})

    found = claims_of(
        "k", facts, Root("Pod", "cow-job", facts.uid, {}), portions(facts, virtual, None)[0], keys, (5, None)
    )

    assert [(0, (LinkKind.STAND_IN, "hpc", ""))] == [
        (c.milligpu, (k.kind, k.cluster, k.value)) for c, _ in found for k in c.keys
    ]


def test_a_stand_in_is_counted_as_it_asks() -> None:
    virtual = node_facts(node("vk", labels={"type": "virtual-kubelet"}))
    facts = pod_facts(pod("cow-job", gpus=2, resource="nvidia.com/mig-1g.10gb", node="vk"))

    assert ([Portion(2000, "", "")], []) == portions(facts, virtual, None)


def test_a_root_without_uid_is_known_by_its_name() -> None:
    assert "lab/InferenceService/granite" == job_key("k", "lab", Root("InferenceService", "granite", "", {})).id


def test_a_jobs_labels_are_its_roots_and_those_all_its_pods_carry() -> None:
    pods = [
        pod_facts(pod("a", created=20, labels={"team": "sim", "index": "0", "x": "pod"})),
        pod_facts(pod("b", created=10, labels={"team": "sim", "index": "1", "x": "pod"})),
    ]

    job = job_of("k", Root("Job", "j", "u", {"x": "root", "cost": "7"}, 5), pods, {"Pending", "Failed"}, 30, None)

    assert {"team": "sim", "x": "pod", "cost": "7"} == job.labels
    assert ("lab/Job/j", "Pending", 5, 30, None) == (job.native_id, job.state, job.submit, job.start, job.end)


def test_what_waits_is_worth_what_nodes_offer_or_its_profile_says(devices: Devices) -> None:
    shared = node_facts(node("s", labels={"nvidia.com/gpu.count": "8"}, **{"nvidia.com/gpu.shared": "16"}))
    devices.put_claim(claim("waiting"))

    def worth(raw: Any) -> int:
        return wanted(pod_facts(raw), [shared], devices)

    assert 16_000 == worth(pod("a", gpus=16))
    assert 1000 == worth(pod("a", gpus=2, resource="nvidia.com/gpu.shared"))
    assert 1000 == worth(pod("a", gpus=2, resource="nvidia.com/mig-3g.40gb"))
    assert 2000 == worth(pod("a", gpus=0, claims={"c": "waiting"}))
