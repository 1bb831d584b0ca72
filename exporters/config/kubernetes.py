"""Settings of a Kubernetes cluster."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from exporters.config.section import Section
from exporters.config.values import Duration
from exporters.masking import masked


class KubernetesHistory(Section):
    """A Prometheus that scrapes kube-state-metrics (and dcgm-exporter): what nobody recorded is recovered from it.

    ``interval`` is how often the service looks for gaps, ``scrape_interval`` that of kube-state-metrics; ``matcher``
    are PromQL label matchers, for a Prometheus of several clusters: ``cluster="prod"``.
    """

    prometheus: str = Field(pattern=r"^https?://")
    token_file: Path | None = None
    matcher: str = ""
    interval: Duration = 300.0
    scrape_interval: Duration = 30.0
    since: date | None = None
    timeout: Duration = 60.0

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Mask a password in the URL in every repr and log."""
        return [(name, masked(value) if name == "prometheus" else value) for name, value in self]


class KubernetesCluster(Section):
    """One Kubernetes cluster. Without ``kubeconfig`` the service account of the own pod is used."""

    cluster: str = Field(min_length=1)
    kubeconfig: Path | None = None
    context: str | None = None
    interval: Duration = 15.0
    hold_from: Literal["scheduled", "started"] = "scheduled"
    slurm_clusters: dict[str, str] = Field(default_factory=dict)
    resume_file: Path | None = None
    history: KubernetesHistory | None = None
