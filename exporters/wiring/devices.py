"""From settings to the source that reads devices, and to how any exporter's endpoints are found."""

from __future__ import annotations

from collections.abc import Callable

from exporters.config import Config
from exporters.config.devices import Agents, DcgmDiscovery, NodeExporters, PortDiscovery
from exporters.config.devices import Dcgm as DcgmSection
from exporters.sources.base import Source
from exporters.sources.devices.dcgm import Dcgm
from exporters.sources.devices.fanout import Discovery, together
from exporters.sources.devices.filesd import FileTargets
from exporters.sources.kubernetes.endpoints import ExporterPods


def live(config: Config, _clock: Callable[[], float]) -> list[Source]:
    """The dcgm-exporters, where the settings have any."""
    d = config.dcgm
    if d is None:
        return []
    return [
        Dcgm(
            targets=d.targets,
            discover=found_by(config, d),
            interval=d.interval,
            timeout=d.timeout,
            concurrency=d.concurrency,
            max_bytes=d.max_response,
        )
    ]


def describe(config: Config) -> list[str]:
    """How many endpoints are listed, and where others are looked for."""
    d = config.dcgm
    if d is None:
        return []
    found = f", and dcgm-exporter pods of {d.discover.cluster}" if d.discover else ""
    return [f"devices: {len(d.targets)} dcgm-exporter endpoint{'' if len(d.targets) == 1 else 's'}{found}"]


def found_by(config: Config, endpoints: DcgmSection | NodeExporters | Agents) -> Discovery | None:
    """How endpoints are found besides those listed: in Kubernetes, in files, both or not at all."""
    ways: list[Discovery] = [FileTargets(endpoints.file_sd)] if endpoints.file_sd else []
    pods = discovery(config, endpoints.discover)
    if pods is not None:
        ways.append(pods)
    return together(ways) if len(ways) > 1 else next(iter(ways), None)


def discovery(config: Config, wanted: DcgmDiscovery | PortDiscovery | None) -> ExporterPods | None:
    """How the pods of an exporter are found, where the settings ask for it."""
    if wanted is None:
        return None
    cluster = next(k for k in config.kubernetes if k.cluster == wanted.cluster)
    kubeconfig = str(cluster.kubeconfig) if cluster.kubeconfig else None
    path = wanted.path if isinstance(wanted, PortDiscovery) else "/metrics"
    return ExporterPods(
        kubeconfig, cluster.context, wanted.selector, wanted.port, path=path, namespaces=wanted.namespaces
    )
