"""The families of the agent's page, and a round as rows of them. Pure. docs/node-agent.md describes each."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from exporters.exposition.family import Family, Row
from exporters.fabric_model import LABELS, PortCounter, PortQuantity
from exporters.node.files import Unread
from exporters.node.holding import Holding
from exporters.node.interfaces import Bond
from exporters.node.mapping import Card
from exporters.node.ports import RawPort

PORT = ("device", "port")

PORT_INFO = "meterbridge_agent_rdma_port_info"
PORT_UP = "meterbridge_agent_rdma_port_up"
PORT_LINKS = "meterbridge_agent_rdma_port_links"
PORT_LINKS_UP = "meterbridge_agent_rdma_port_links_up"
PORT_RATE = "meterbridge_agent_rdma_port_rate_bytes_per_second"
UNREADABLE = "meterbridge_agent_rdma_unreadable"
GPU_INFO = "meterbridge_agent_gpu_info"
HOLDING_INFO = "meterbridge_agent_gpu_holding_info"
HOLDINGS_READ = "meterbridge_agent_holdings_read"
HOLDINGS_UNREADABLE = "meterbridge_agent_holdings_unreadable"
ALLOCATABLE = "meterbridge_agent_allocatable_gpus"
DURATION = "meterbridge_agent_collect_duration_seconds"
BUILD_INFO = "meterbridge_agent_build_info"

PORT_INFO_LABELS = (
    *PORT,
    "netdev",
    "link_layer",
    "driver",
    "pci_address",
    "numa_node",
    "firmware",
    "gpus",
    "affinity",
    "vf_of",
    "default_route",
)
GPU_LABELS = ("minor", "uuid", "pci_address")
HOLDING_LABELS = ("scheduler", "owner", "pod_uid", "container", "gpu", "uuid", "basis")


def counter_family(quantity: PortQuantity) -> str:
    """The name of a quantity's family.

    >>> counter_family(PortQuantity.CNP_SENT)
    'meterbridge_agent_rdma_cnp_sent_packets_total'
    """
    return f"meterbridge_agent_rdma_{quantity.value}_total"


@dataclass(frozen=True, slots=True)
class PortReport:
    """One port as it goes on the page: what was read, the GPUs near it, its counters, and the bond that it is of."""

    raw: RawPort
    gpus: tuple[str, ...]
    counters: Mapping[PortCounter, float]
    affinity: str = ""
    bond: Bond | None = None
    default_route: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found. ``sources`` says of each basis of holdings whether it was read; ``allocatable`` is
    resource -> devices that the kubelet may give; ``set_aside`` are spool files and the like, with the reason;
    ``cards`` are the GPUs of the machine.
    """

    ports: tuple[PortReport, ...] = ()
    unread: tuple[Unread, ...] = ()
    holdings: tuple[Holding, ...] = ()
    sources: Mapping[str, bool] = field(default_factory=dict)
    set_aside: tuple[tuple[str, str], ...] = ()
    allocatable: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    cards: tuple[Card, ...] = ()


def families(found: Round, version: str) -> list[Family]:
    """Every family with its rows in a stable order; a family of counters that no port has is left out."""
    ports = sorted(found.ports, key=lambda p: (p.raw.device, int(p.raw.port)))
    return [
        Family(
            PORT_INFO,
            "An RDMA port; what is not known is empty. gpus are the PCI addresses of the GPUs near it, affinity says "
            "whether by a PCI switch or by their numa node; vf_of is the address of the "
            "physical function of a virtual one, default_route is true where the machine's default route leaves by it.",
            "info",
            PORT_INFO_LABELS,
            [(_info(p), 1.0) for p in ports],
        ),
        Family(
            PORT_UP,
            "1 when the port is active, else 0 (of EFA: when its network interface is).",
            "gauge",
            PORT,
            [((p.raw.device, p.raw.port), float(p.raw.up)) for p in ports if p.raw.up is not None],
        ),
        Family(
            PORT_LINKS,
            "Links that the port's bond has.",
            "gauge",
            PORT,
            [((p.raw.device, p.raw.port), float(len(p.bond.slaves))) for p in ports if p.bond],
        ),
        Family(
            PORT_LINKS_UP,
            "Links of the port's bond that carry traffic.",
            "gauge",
            PORT,
            [((p.raw.device, p.raw.port), float(p.bond.up)) for p in ports if p.bond],
        ),
        Family(
            PORT_RATE,
            "What the port can carry.",
            "gauge",
            PORT,
            [((p.raw.device, p.raw.port), p.raw.rate) for p in ports if p.raw.rate is not None],
        ),
        *_counters(ports),
        Family(
            UNREADABLE,
            "Something of the port that is there and could not be read; always 1. The log has the reason.",
            "gauge",
            (*PORT, "what"),
            [(key, 1.0) for key in sorted({(u.device, u.port, u.what) for u in found.unread})],
        ),
        Family(
            GPU_INFO,
            "A GPU of this machine: Slurm's number for it (N of /dev/nvidiaN; AMD: render node's place), and its UUID.",
            "info",
            GPU_LABELS,
            [((c.minor, c.uuid, c.place.address), 1.0) for c in found.cards if c.minor and c.uuid],
        ),
        *_holdings(found),
        Family(DURATION, "How long the round took that this page shows.", "gauge", (), [((), found.seconds)]),
        Family(
            BUILD_INFO,
            "Version of meterbridge and of Python.",
            "info",
            ("version", "python"),
            [((version, platform.python_version()), 1.0)],
        ),
    ]


def _info(port: PortReport) -> tuple[str, ...]:
    raw = port.raw
    return (
        raw.device,
        raw.port,
        port.bond.name if port.bond else raw.netdev,
        raw.link_layer,
        raw.driver,
        raw.place.address,
        "" if raw.place.numa == "-1" else raw.place.numa,
        raw.firmware,
        ",".join(port.gpus),
        port.affinity,
        raw.vf_of,
        "true" if port.default_route else "",
    )


def _counters(ports: Iterable[PortReport]) -> list[Family]:
    rows: dict[PortQuantity, list[Row]] = {}
    for port in ports:
        for counter, value in sorted(port.counters.items()):
            key = (port.raw.device, port.raw.port, *counter.labels)
            rows.setdefault(counter.quantity, []).append((key, value))
    return [
        Family(
            counter_family(quantity),
            f"As meterbridge_rdma_port_{quantity.value}_total, but the device's own counter, as read.",
            "counter",
            (*PORT, *LABELS.get(quantity, ())),
            rows[quantity],
        )
        for quantity in PortQuantity
        if quantity in rows
    ]


def _holdings(found: Round) -> list[Family]:
    return [
        Family(
            HOLDING_INFO,
            "A card in an owner's hands; always 1. gpu and uuid are empty where only the owner is known.",
            "info",
            HOLDING_LABELS,
            [
                ((h.scheduler, h.owner, h.pod_uid, h.container, h.gpu, h.uuid, h.basis.value), 1.0)
                for h in sorted(set(found.holdings))
            ],
        ),
        Family(
            HOLDINGS_READ,
            "1 when the basis of holdings was read in its last round, 0 when it is there and was not.",
            "gauge",
            ("basis",),
            [((basis,), float(read)) for basis, read in sorted(found.sources.items())],
        ),
        Family(
            HOLDINGS_UNREADABLE,
            "A record of holdings that was set aside; always 1. The log has the reason.",
            "gauge",
            ("basis", "what"),
            [(key, 1.0) for key in sorted(set(found.set_aside))],
        ),
        Family(
            ALLOCATABLE,
            "GPU devices that the kubelet may give to containers, by resource.",
            "gauge",
            ("resource",),
            [((resource,), float(count)) for resource, count in sorted(found.allocatable.items())],
        ),
    ]
