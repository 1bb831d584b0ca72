"""What a real Prometheus knows of labels is used as the live side uses it: keys to Slurm, and what a slot is worth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from accounting.model import CapacityStretch, NodeDay
from accounting.reconcile.rule import Rules, reconcile
from exporters.model import Claim, LinkKind, NodeEvent, Record, Scheduler
from exporters.sources.kubernetes.nodes import node_facts
from exporters.sources.kubernetes.past.kube_history import KubeHistory
from exporters.sources.kubernetes.past.kube_past import labels_of, node_past, worth
from exporters.sources.kubernetes.past.prometheus import Prometheus as Client
from exporters.sources.kubernetes.pod_facts import pod_facts
from exporters.sources.kubernetes.slots.portions import portions
from tests.accounting.past import HOUR, Past, Seen, served
from tests.accounting.site import T0, held
from tests.lab.prometheus import Prometheus

END = T0 + HOUR
JOB = {"label_scheduler_slinky_slurm_net_slurm_jobid": "71"}
NODESET = {
    "label_nodeset_slinky_slurm_net_pod_hostname": "gpu-0",
    "label_slinky_slurm_net_cluster": "slinky_one",
}
INSIDE = {"label_meterbridge_io_slurm_job_id": "71", "label_meterbridge_io_slurm_cluster": "lab"}

SEEN = (
    Seen("bridged", T0, END, 2, bound=T0, told=JOB),
    Seen("slurmd", T0, END, 2, bound=T0, told=NODESET),
    Seen("inside", T0, END, 1, bound=T0, told=INSIDE),
    Seen("plain", T0, END, 1, bound=T0, told={"label_app": "vision"}),
    Seen("sliced", T0, END, 1, "gn02", bound=T0, resource="nvidia_com_mig_3g_40gb"),
)


@pytest.fixture(scope="module")
def history() -> Iterator[Prometheus]:
    past = Past(T0, END)
    past.nodes(["gn01"])
    past.sliced_node("gn02")
    for each in SEEN:
        past.pod(each)
    with served(past) as server:
        yield server


@pytest.fixture
def claims(history: Prometheus) -> Iterator[dict[str, Claim]]:
    source = KubeHistory("kube", Client(history.url), slurm_clusters={"slinky_one": "lab", "": "lab"})
    records = [r for r in source.records(T0, END) if isinstance(r, Record)]
    yield {c.native_id.removeprefix("vision/"): c for r in records for c in r.claims}
    source.close()


@pytest.mark.server("prometheus")
def test_a_pod_that_only_prometheus_saw_carries_the_keys_of_its_labels(claims: dict[str, Claim]) -> None:
    told = {name: [(k.kind, k.cluster, k.value) for k in claim.keys] for name, claim in claims.items()}

    assert {
        "bridged": [(LinkKind.SAME, "lab", "71")],
        "slurmd": [(LinkKind.LENDS, "lab", "gpu-0")],
        "inside": [(LinkKind.INSIDE, "lab", "71")],
        "plain": [],
        "sliced": [],
    } == told


@pytest.mark.server("prometheus")
def test_a_recovered_bridged_pod_and_its_slurm_job_are_charged_once(claims: dict[str, Claim]) -> None:
    job = held(71, 1, T0, END, 2)
    day = NodeDay(
        "gn01", T0, END, (job, claims["bridged"]),
        (CapacityStretch(T0, END, Scheduler.SLURM, "lab", "gn01", "h100", 8000, True),), (),
        known_until=((Scheduler.KUBERNETES, "kube", END),),
    )  # fmt: skip
    held_by = [(p.job, p.account, p.quantity) for p in reconcile(day, Rules()).postings if p.job and p.quantity]

    assert [(claims["bridged"].job, "charged", 2000 * HOUR)] == held_by


@pytest.mark.server("prometheus")
def test_a_recovered_slice_weighs_what_it_weighs_live(claims: dict[str, Claim], history: Prometheus) -> None:
    source = KubeHistory("kube", Client(history.url))
    capacity = {e.key.name: e.milligpu for e in source.events(T0, END) if isinstance(e, NodeEvent)}
    source.close()

    assert (500, "3g.40gb", "NVIDIA-H100-80GB-HBM3") == (
        claims["sliced"].milligpu, claims["sliced"].profile, claims["sliced"].model,
    )  # fmt: skip
    assert {"gn01": 8000, "gn02": 8000} == capacity


GFD = {"nvidia.com/gpu.count": "8", "nvidia.com/gpu.memory": "81559", "nvidia.com/gpu.product": "NVIDIA-H100"}
A30 = {"nvidia.com/gpu.count": "4", "nvidia.com/gpu.memory": "24576", "nvidia.com/gpu.product": "NVIDIA-A30"}


@pytest.mark.parametrize(
    ("labels", "capacity", "resource"),
    [
        (GFD, {"nvidia.com/gpu": 7, "nvidia.com/mig-3g.40gb": 2}, "nvidia.com/mig-3g.40gb"),
        (GFD, {"nvidia.com/mig-1g.10gb": 32, "nvidia.com/mig-3g.40gb": 8}, "nvidia.com/mig-1g.10gb"),
        (GFD, {"nvidia.com/mig-1g.10gb.me": 8, "nvidia.com/gpu": 7}, "nvidia.com/mig-1g.10gb.me"),
        (A30, {"nvidia.com/mig-1g.6gb": 16}, "nvidia.com/mig-1g.6gb"),
        (GFD | {"nvidia.com/gpu.replicas": "4"}, {"nvidia.com/gpu.shared": 32}, "nvidia.com/gpu.shared"),
        (GFD | {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-MIG-1g.10gb"}, {"nvidia.com/gpu": 56}, "nvidia.com/gpu"),
        ({}, {"nvidia.com/mig-3g.40gb": 2}, "nvidia.com/mig-3g.40gb"),
        ({}, {"amd.com/gpu": 8}, "amd.com/gpu"),
    ],
)
def test_recovered_and_live_agree_on_what_a_slot_is_worth(
    labels: dict[str, str], capacity: dict[str, int], resource: str
) -> None:
    node: dict[str, Any] = {"metadata": {"name": "n", "labels": labels}, "status": {"capacity": capacity}}
    limits = {"resources": {"limits": {resource: "1"}}}
    meta = {"uid": "u", "name": "p", "namespace": "v", "creationTimestamp": "2026-10-01T00:00:00Z"}
    raw = {"metadata": meta, "spec": {"nodeName": "n", "containers": [limits]}}
    live_side = portions(pod_facts(raw), node_facts(node), None, {})
    [live], missing = live_side.held, live_side.missing

    def told(name: str) -> str:  # as kube-state-metrics writes it
        return re.sub(r"\W", "_", name)

    exported = {f"label_{told(name)}": value for name, value in labels.items()}
    past = node_past("n", labels_of(exported, labels), {told(name): count for name, count in capacity.items()})

    assert () == missing
    assert (live.milligpu, live.profile) == worth(told(resource), 1, past)
    assert live.model == past.model
