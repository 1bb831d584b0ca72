"""Plans of Kubernetes nodes -> node objects and watch events, in the form a 1.36 API server serves them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from demo.kube_replay import Event
from tests.lab.demo_objects import Raw, hexes, uid, when


@dataclass(frozen=True)
class NodePlan:
    """A Kubernetes node. ``states`` are (moment, ready, schedulable) changes after its beginning."""

    name: str
    product: str
    memory_mib: int
    capacity: Mapping[str, int]
    created: int
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    states: Sequence[tuple[int, bool, bool]] = ()


def node_events(plan: NodePlan) -> Iterator[Event]:
    """What a watch tells of one node: there, and each change of its readiness."""
    yield Event(plan.created, "nodes", "ADDED", _node(plan, plan.created, ready=True, schedulable=True))
    for moment, ready, schedulable in plan.states:
        yield Event(moment, "nodes", "MODIFIED", _node(plan, moment, ready=ready, schedulable=schedulable))


def _node(plan: NodePlan, moment: int, *, ready: bool, schedulable: bool) -> Raw:
    number = int(hexes(2, plan.name), 16)
    cards = str(plan.capacity.get("cards", 8))
    resources = {
        "cpu": "192",
        "ephemeral-storage": "3000Gi",
        "memory": "2Ti",
        **{k: str(v) for k, v in plan.capacity.items() if k != "cards"},
        "pods": "250",
    }
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": plan.name,
        "kubernetes.io/os": "linux",
        "node-role.kubernetes.io/worker": "",
        "nvidia.com/gpu.count": cards,
        "nvidia.com/gpu.memory": str(plan.memory_mib),
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": plan.product,
        "nvidia.com/gpu.replicas": "1",
        "nvidia.com/gpu.sharing-strategy": "none",
        "nvidia.com/mig.capable": "true",
        "nvidia.com/mig.strategy": "none",
        **plan.labels,
    }
    taints = [dict(t) for t in plan.taints]
    if not schedulable:
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    if not ready:
        taints.append({"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"})
    spec: Raw = {"podCIDR": f"10.128.{number}.0/24", "providerID": f"metal://{plan.name}"}
    if taints:
        spec["taints"] = taints
    if not schedulable:
        spec["unschedulable"] = True
    return {
        "metadata": {
            "name": plan.name,
            "uid": uid("Node", plan.name),
            "creationTimestamp": when(plan.created),
            "labels": labels,
        },
        "spec": spec,
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": _node_conditions(plan.created, moment, ready),
            "addresses": [
                {"type": "InternalIP", "address": f"10.40.1.{number}"},
                {"type": "Hostname", "address": plan.name},
            ],
            "nodeInfo": {
                "machineID": hexes(32, "machine", plan.name),
                "systemUUID": uid("system", plan.name),
                "bootID": uid("boot", plan.name),
                "kernelVersion": "5.14.0-570.el9.x86_64",
                "osImage": "Red Hat Enterprise Linux CoreOS",
                "containerRuntimeVersion": "cri-o://1.36.0",
                "kubeletVersion": "v1.36.2",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    }


def _node_conditions(created: int, moment: int, ready: bool) -> list[Raw]:
    kinds = (
        ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    )
    conditions: list[Raw] = [
        {
            "type": kind,
            "status": "False",
            "lastHeartbeatTime": when(moment),
            "lastTransitionTime": when(created),
            "reason": reason,
            "message": message,
        }
        for kind, reason, message in kinds
    ]
    well = ("True", "KubeletReady", "kubelet is posting ready status")
    ill = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    status, reason, message = well if ready else ill
    conditions.append(
        {
            "type": "Ready",
            "status": status,
            "lastHeartbeatTime": when(moment),
            "lastTransitionTime": when(moment),
            "reason": reason,
            "message": message,
        }
    )
    return conditions
