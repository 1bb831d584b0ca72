"""Settings of a Kubernetes cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from exporters.config.section import Section
from exporters.settingvalues import Duration


class KubernetesCluster(Section):
    """One Kubernetes cluster. Without ``kubeconfig`` the service account of the own pod is used."""

    cluster: str = Field(min_length=1)
    kubeconfig: Path | None = None
    context: str | None = None
    interval: Duration = 15.0
    hold_from: Literal["scheduled", "started"] = "scheduled"
    slurm_clusters: dict[str, str] = Field(default_factory=dict)
    resume_file: Path | None = None
