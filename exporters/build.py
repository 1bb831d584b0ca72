"""From settings to a running ground floor: which sources there are, and what a join needs."""

from __future__ import annotations

import time
from collections.abc import Callable

from exporters.config import Config, KubernetesCluster, SlurmCluster
from exporters.config.devices import Agents, DcgmDiscovery, NodeExporters, PortDiscovery
from exporters.config.devices import Dcgm as DcgmSection
from exporters.config.slurm import SlurmRestd
from exporters.join.shard import WHOLE, Shard
from exporters.poll.registry import Collector, JoinSettings
from exporters.recorder import Recorder
from exporters.sources.base import Source
from exporters.sources.devices.dcgm import Dcgm
from exporters.sources.devices.fanout import Discovery, together
from exporters.sources.devices.filesd import FileTargets
from exporters.sources.fabric.rdma import Rdma
from exporters.sources.kubernetes.endpoints import ExporterPods
from exporters.sources.kubernetes.kube_history import KubeHistory
from exporters.sources.kubernetes.pods import Pods
from exporters.sources.kubernetes.prometheus import Prometheus
from exporters.sources.slurm.history.sacct import Sacct
from exporters.sources.slurm.history.slurmdbd import Slurmdbd
from exporters.sources.slurm.live.pyslurm import PySlurm
from exporters.sources.slurm.live.slurmctld import Slurmctld
from exporters.sources.slurm.rest.rest_http import RestClient
from exporters.sources.slurm.rest.slurmrestd import Slurmrestd, SlurmrestdHistory


def join_settings(config: Config, shard: Shard = WHOLE) -> JoinSettings:
    """What a join depends on besides what sources say."""
    return JoinSettings(
        config.project_map(),
        config.model_names,
        config.machines.match,
        config.machines.names,
        int(config.link_grace),
        config.join_interval,
        config.job_linger,
        config.rdma.lossless_priorities if config.rdma else (),
        config.max_jobs,
        shard,
    )


def history(cluster: SlurmCluster) -> Sacct | SlurmrestdHistory | Slurmdbd:
    """The history source of one Slurm cluster, as its settings say."""
    h = cluster.history
    if h.via == "slurmrestd" and cluster.slurmrestd:
        client = rest_client(cluster.slurmrestd, h.timeout)
        return SlurmrestdHistory(cluster.cluster, client, version=cluster.slurmrestd.version, identity=cluster.identity)
    if h.via == "slurmdbd" and cluster.slurmdbd:
        d = cluster.slurmdbd
        return Slurmdbd(
            cluster.cluster,
            d.url,
            password_file=d.password_file,
            stored_as=d.cluster,
            timeout=h.timeout,
            identity=cluster.identity,
        )
    return Sacct(
        cluster.cluster,
        command=h.sacct,
        sacctmgr=h.sacctmgr,
        environment=cluster.environment,
        timeout=h.timeout,
        identity=cluster.identity,
    )


def present(cluster: SlurmCluster) -> Source:
    """The live source of one Slurm cluster, as its settings say."""
    live, environment, identity = cluster.live, cluster.environment, cluster.identity
    if live.via == "slurmrestd" and cluster.slurmrestd:
        client = rest_client(cluster.slurmrestd, live.timeout)
        return Slurmrestd(cluster.cluster, client, live.interval, version=cluster.slurmrestd.version, identity=identity)
    if live.via == "pyslurm":
        return PySlurm(cluster.cluster, live.scontrol, environment, live.interval, live.timeout, identity=identity)
    return Slurmctld(
        cluster.cluster, live.scontrol, live.squeue, environment, live.interval, live.timeout, identity=identity
    )


def rest_client(settings: SlurmRestd, timeout: float) -> RestClient:
    """What asks a slurmrestd."""
    return RestClient(
        settings.url,
        user=settings.user,
        token_file=settings.token_file,
        timeout=timeout,
        max_bytes=settings.max_response,
    )


def past(cluster: KubernetesCluster) -> KubeHistory | None:
    """What a Kubernetes cluster's past is recovered from, where the settings name it."""
    h = cluster.history
    if h is None:
        return None
    prometheus = Prometheus(h.prometheus, token_file=h.token_file, timeout=h.timeout)
    return KubeHistory(
        cluster.cluster, prometheus, interval=h.scrape_interval, matcher=h.matcher, hold_from=cluster.hold_from,
        slurm_clusters=cluster.slurm_clusters,
    )  # fmt: skip


def sources(config: Config, clock: Callable[[], float] = time.time) -> list[Source]:
    """Every live source of the settings, not yet polled."""
    found: list[Source] = [present(c) for c in config.slurm if c.live.enabled]
    found += [
        Pods(
            k.cluster,
            kubeconfig=str(k.kubeconfig) if k.kubeconfig else None,
            context=k.context,
            interval=k.interval,
            hold_from=k.hold_from,
            slurm_clusters=k.slurm_clusters,
            resume_file=k.resume_file,
            clock=clock,
        )
        for k in config.kubernetes
    ]
    if config.dcgm:
        d = config.dcgm
        found.append(
            Dcgm(
                targets=d.targets,
                discover=found_by(config, d),
                interval=d.interval,
                timeout=d.timeout,
                concurrency=d.concurrency,
                max_bytes=d.max_response,
            )
        )
    if config.rdma:
        r = config.rdma
        found.append(
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
            )
        )
    return found


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
    return ExporterPods(kubeconfig, cluster.context, wanted.selector, wanted.port, path=path)


def collector(
    config: Config, recorder: Recorder | None = None, clock: Callable[[], float] = time.time, shard: Shard = WHOLE
) -> Collector:
    """The exporter of these settings, not yet started."""
    return Collector(sources(config, clock), join_settings(config, shard), recorder, clock)


def describe(config: Config) -> str:
    """What the settings mean, in sentences, for ``exporter --check``."""
    lines = [f"site {config.site}, billing months in {config.time_zone}"]
    for c in config.slurm:
        ways = (("live", c.live.enabled, c.live.via), ("history", c.history.enabled, c.history.via))
        parts = [name + ("" if via in {"commands", "sacct"} else f" through {via}") for name, on, via in ways if on]
        lines.append(f"Slurm {c.cluster}: {' and '.join(parts) or 'nothing'}")
    lines += [f"Kubernetes {k.cluster}: cards count from {k.hold_from}" for k in config.kubernetes]
    if config.dcgm:
        found = f", and dcgm-exporter pods of {config.dcgm.discover.cluster}" if config.dcgm.discover else ""
        lines.append(f"devices: {len(config.dcgm.targets)} dcgm-exporter endpoints{found}")
    if config.rdma:
        exporters, agents = config.rdma.node_exporters, config.rdma.agents
        pods = [kind for kind, on in (("node_exporter", exporters.discover), ("node agent", agents.discover)) if on]
        found = f", and {' and '.join(pods)} pods" if pods else ""
        lines.append(f"ports: {len(exporters.targets)} node_exporters, {len(agents.targets)} node agents{found}")
    lines.append(f"projects: {len({p.project for p in config.projects})}, everything else is unmapped")
    lines.append(f"ledger: {config.ledger!r}" if config.ledger else "ledger: none, live only")
    return "\n".join(lines)
