"""From settings to the source that reads the fabric's ports."""

from __future__ import annotations

from collections.abc import Callable

from exporters.config import Config
from exporters.sources.base import Source
from exporters.sources.fabric.rdma import Rdma
from exporters.sources.fabric.roles import Rule
from exporters.wiring.devices import found_by


def live(config: Config, _clock: Callable[[], float]) -> list[Source]:
    """The ports' exporters, where the settings have any."""
    r = config.rdma
    if r is None:
        return []
    return [
        Rdma(
            node_exporters=r.node_exporters.targets,
            agents=r.agents.targets,
            discover_node_exporters=found_by(config, r.node_exporters),
            discover_agents=found_by(config, r.agents),
            interval=r.interval,
            timeout=r.timeout,
            concurrency=r.concurrency,
            max_bytes=r.max_response,
            max_ports=r.max_ports,
            roles=[Rule(x.role, x.devices, x.interfaces, x.pci, x.nodes) for x in r.roles],
        )
    ]


def describe(config: Config) -> list[str]:
    """How many endpoints are listed, and where others are looked for."""
    if config.rdma is None:
        return []
    exporters, agents = config.rdma.node_exporters, config.rdma.agents
    pods = [kind for kind, on in (("node_exporter", exporters.discover), ("node agent", agents.discover)) if on]
    found = f", and {' and '.join(pods)} pods" if pods else ""
    return [f"ports: {len(exporters.targets)} node_exporters, {len(agents.targets)} node agents{found}"]
