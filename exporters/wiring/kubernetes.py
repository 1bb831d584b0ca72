"""From settings to the sources that read Kubernetes."""

from __future__ import annotations

from collections.abc import Callable

from exporters.config import Config, KubernetesCluster
from exporters.sources.base import Source
from exporters.sources.kubernetes.past.kube_history import KubeHistory
from exporters.sources.kubernetes.past.prometheus import Prometheus
from exporters.sources.kubernetes.pods import Pods
from exporters.sources.kubernetes.slots.resources import Metered, Resources


def live(config: Config, clock: Callable[[], float]) -> list[Source]:
    """The pods of every Kubernetes cluster."""
    rules = resources(config)
    return [
        Pods(
            k.cluster,
            kubeconfig=str(k.kubeconfig) if k.kubeconfig else None,
            context=k.context,
            interval=k.interval,
            hold_from=k.hold_from,
            slurm_clusters=k.slurm_clusters,
            resume_file=k.resume_file,
            rules=rules,
            clock=clock,
        )
        for k in config.kubernetes
    ]


def resources(config: Config) -> Resources:
    """The site's rules for devices that have none."""
    return Resources({name: Metered(r.model, r.milligpu) for name, r in config.devices.resources.items()})


def describe(config: Config) -> list[str]:
    """A sentence for each cluster: from when its cards count."""
    return [f"Kubernetes {k.cluster}: cards count from {k.hold_from}" for k in config.kubernetes]


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
