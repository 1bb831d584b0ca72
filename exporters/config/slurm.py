"""Settings of a Slurm cluster: where its history and its live state are read."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from exporters.config.section import Section
from exporters.settingvalues import Command, Duration


class SlurmHistory(Section):
    """``sacct``: what the scheduler's own accounting says was true."""

    enabled: bool = True
    sacct: Command = ("sacct",)
    sacctmgr: Command = ("sacctmgr",)
    interval: Duration = 300.0
    window: Duration = 86_400.0
    overlap: Duration = 7_200.0
    since: date | None = None
    timeout: Duration = 600.0


class SlurmLive(Section):
    """``squeue`` and ``scontrol``: what runs now, and on which cards."""

    enabled: bool = True
    squeue: Command = ("squeue",)
    scontrol: Command = ("scontrol",)
    interval: Duration = 15.0
    timeout: Duration = 30.0


class SlurmCluster(Section):
    """One Slurm cluster. ``cluster`` is its ClusterName; ``environment`` is added to the client commands' own."""

    cluster: str = Field(min_length=1)
    environment: dict[str, str] = Field(default_factory=dict)
    history: SlurmHistory = SlurmHistory()
    live: SlurmLive = SlurmLive()
