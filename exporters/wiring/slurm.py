"""From settings to the sources that read Slurm."""

from __future__ import annotations

from collections.abc import Callable

from exporters.config import Config, SlurmCluster
from exporters.config.slurm import SlurmRestd
from exporters.sources.base import Source
from exporters.sources.slurm.history.sacct import Sacct
from exporters.sources.slurm.history.slurmdbd import Slurmdbd
from exporters.sources.slurm.live.pyslurm import PySlurm
from exporters.sources.slurm.live.slurmctld import Slurmctld
from exporters.sources.slurm.rest.rest_http import RestClient
from exporters.sources.slurm.rest.slurmrestd import Slurmrestd, SlurmrestdHistory


def live(config: Config, _clock: Callable[[], float]) -> list[Source]:
    """The live source of every Slurm cluster that has one."""
    return [present(c) for c in config.slurm if c.live.enabled]


def describe(config: Config) -> list[str]:
    """A sentence for each cluster: what is read of it, and through what."""
    lines = []
    for c in config.slurm:
        ways = (("live", c.live.enabled, c.live.via), ("history", c.history.enabled, c.history.via))
        parts = [name + ("" if via in {"commands", "sacct"} else f" through {via}") for name, on, via in ways if on]
        lines.append(f"Slurm {c.cluster}: {' and '.join(parts) or 'nothing'}")
    return lines


def history(cluster: SlurmCluster) -> Sacct | SlurmrestdHistory | Slurmdbd:
    """The history source of one Slurm cluster, as its settings say."""
    h = cluster.history
    if h.via == "slurmrestd" and cluster.slurmrestd:
        client = rest_client(cluster.slurmrestd, h.timeout)
        return SlurmrestdHistory(
            cluster.cluster,
            client,
            version=cluster.slurmrestd.version,
            identity=cluster.identity,
            cluster_name=cluster.slurm_name,
        )
    if h.via == "slurmdbd" and cluster.slurmdbd:
        d = cluster.slurmdbd
        return Slurmdbd(
            cluster.cluster,
            d.url,
            password_file=d.password_file,
            stored_as=cluster.slurm_name,
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
        cluster_name=cluster.slurm_name,
    )


def present(cluster: SlurmCluster) -> Source:
    """The live source of one Slurm cluster, as its settings say."""
    live, environment, identity = cluster.live, cluster.environment, cluster.identity
    if live.via == "slurmrestd" and cluster.slurmrestd:
        client = rest_client(cluster.slurmrestd, live.timeout)
        return Slurmrestd(
            cluster.cluster,
            client,
            live.interval,
            version=cluster.slurmrestd.version,
            identity=identity,
            cluster_name=cluster.slurm_name,
        )
    if live.via == "pyslurm":
        return PySlurm(cluster.cluster, live.scontrol, environment, live.interval, live.timeout, identity=identity)
    return Slurmctld(
        cluster.cluster,
        live.scontrol,
        live.squeue,
        environment,
        live.interval,
        live.timeout,
        identity=identity,
        cluster_name=cluster.slurm_name,
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
