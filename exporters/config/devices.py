"""Settings of the device side: which endpoints are read for cards and for ports."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from exporters.config.section import Section
from exporters.config.values import Duration, Size


class DeviceRule(Section):
    """What one device of a resource is: its model, and its part of a card, 1000 for a whole one."""

    model: str = Field(min_length=1)
    milligpu: int = Field(default=1000, gt=0, le=16_000)


class Devices(Section):
    """Rules for devices that have none: an extended resource (``habana.ai/gaudi``) or a DRA driver -> what one is."""

    resources: dict[str, DeviceRule] = Field(default_factory=dict)

    @field_validator("resources")
    @classmethod
    def _names(cls, rules: dict[str, DeviceRule]) -> dict[str, DeviceRule]:
        for name in rules:
            if "." not in name.partition("/")[0]:
                raise ValueError(
                    f"{name!r} is no extended resource or DRA driver: write it like habana.ai/gaudi or neuron.aws.com"
                )
        return rules


class DcgmDiscovery(Section):
    """Find dcgm-exporter pods of a Kubernetes cluster by label, in namespaces that no team can make pods in."""

    cluster: str
    selector: str = "app.kubernetes.io/name=dcgm-exporter"
    port: int = Field(default=9400, gt=0, lt=65536)
    namespaces: tuple[str, ...] = ("own", "gpu-operator", "nvidia-gpu-operator")


class Dcgm(Section):
    """dcgm-exporter endpoints: a list, or discovered from pods, or both."""

    targets: tuple[str, ...] = ()
    file_sd: tuple[str, ...] = ()
    discover: DcgmDiscovery | None = None
    interval: Duration = 15.0
    timeout: Duration = 5.0
    concurrency: int = Field(default=64, gt=0)
    max_response: Size = 16 << 20


class PortDiscovery(Section):
    """Find the pods of an exporter of ports in a Kubernetes cluster by label."""

    cluster: str
    selector: str
    port: int = Field(gt=0, lt=65536)
    path: str = Field(default="/metrics", pattern="^/")
    namespaces: tuple[str, ...] = ("own",)


class NodeExporterDiscovery(PortDiscovery):
    """Find node_exporter pods."""

    namespaces: tuple[str, ...] = ("own", "monitoring", "openshift-monitoring", "prometheus")
    selector: str = "app.kubernetes.io/name=prometheus-node-exporter"
    port: int = Field(default=9100, gt=0, lt=65536)


class AgentDiscovery(PortDiscovery):
    """Find the pods of meterbridge's own node agent."""

    selector: str = "app.kubernetes.io/name=meterbridge,app.kubernetes.io/component=node"
    port: int = Field(default=9812, gt=0, lt=65536)


class NodeExporters(Section):
    """node_exporter endpoints: a list, or discovered from pods, or both."""

    targets: tuple[str, ...] = ()
    file_sd: tuple[str, ...] = ()
    discover: NodeExporterDiscovery | None = None


class Agents(Section):
    """Node agents: a list, or discovered from pods, or both."""

    targets: tuple[str, ...] = ()
    file_sd: tuple[str, ...] = ()
    discover: AgentDiscovery | None = None


class PortRole(Section):
    """What some ports are for. Patterns are as of a shell; of each kind that is given one must fit."""

    role: Literal["compute", "storage", "management"]
    devices: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    pci: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _about(self) -> PortRole:
        if not (self.devices or self.interfaces or self.pci):
            raise ValueError(
                "a role needs devices, interfaces or pci: which ports it is about, like devices: [mlx5_bond_*]"
            )
        return self


class Rdma(Section):
    """Where ports of RDMA devices are read, and which priorities of theirs the site runs lossless."""

    node_exporters: NodeExporters = NodeExporters()
    agents: Agents = Agents()
    interval: Duration = 15.0
    timeout: Duration = 5.0
    concurrency: int = Field(default=64, gt=0)
    max_response: Size = 16 << 20
    max_ports: int = Field(default=20_000, gt=0)
    roles: tuple[PortRole, ...] = ()
    lossless_priorities: tuple[Annotated[int, Field(ge=0, le=7)], ...] = (3,)
