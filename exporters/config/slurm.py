"""Settings of a Slurm cluster: where its history and its live state are read."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from exporters.config.section import Section
from exporters.config.values import Command, Duration, Size
from exporters.masking import masked


class SlurmHistory(Section):
    """``sacct``: what the scheduler's own accounting says was true."""

    enabled: bool = True
    via: Literal["sacct", "slurmrestd", "slurmdbd"] = "sacct"
    sacct: Command = ("sacct",)
    sacctmgr: Command = ("sacctmgr",)
    interval: Duration = 300.0
    window: Duration = 86_400.0
    overlap: Duration = 86_400.0
    since: date | None = None
    timeout: Duration = 600.0


class SlurmLive(Section):
    """``squeue`` and ``scontrol``: what runs now, and on which cards."""

    enabled: bool = True
    via: Literal["commands", "slurmrestd", "pyslurm"] = "commands"
    squeue: Command = ("squeue",)
    scontrol: Command = ("scontrol",)
    interval: Duration = 15.0
    timeout: Duration = 30.0


class SlurmRestd(Section):
    """A slurmrestd. Without ``token_file`` the token is in the variable SLURM_JWT; ``version`` pins one of its API."""

    url: str = Field(pattern=r"^(unix:///.|https?://.)")
    user: str = ""
    token_file: Path | None = None
    version: str = Field(default="", pattern=r"^(v0\.0\.\d+)?$")
    max_response: Size = 256 << 20

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Mask a password in the URL in every repr and log."""
        return [(name, masked(value) if name == "url" else value) for name, value in self]


class SlurmDatabase(Section):
    """The database of slurmdbd. ``cluster`` is the ClusterName in it, where the site calls the cluster otherwise."""

    url: str = Field(pattern=r"^(mysql|mariadb)(\+\w+)?://.")
    password_file: Path | None = None
    cluster: str = ""

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Mask a password in the URL in every repr and log."""
        return [(name, masked(value) if name == "url" else value) for name, value in self]


class SlurmCluster(Section):
    """One Slurm cluster. ``cluster`` is its ClusterName, in any letter case; where the site calls it otherwise,
    ``cluster_name`` is. ``environment`` is added to the client commands' own.

    ``identity`` is what names a run in all its sources: the release's own way, or job id and submit time.
    """

    cluster: str = Field(min_length=1)
    cluster_name: str = ""
    environment: dict[str, str] = Field(default_factory=dict)
    identity: Literal["auto", "submit"] = "auto"
    history: SlurmHistory = SlurmHistory()
    live: SlurmLive = SlurmLive()
    slurmrestd: SlurmRestd | None = None
    slurmdbd: SlurmDatabase | None = None

    @model_validator(mode="after")
    def _addressed(self) -> SlurmCluster:
        ways = {"live": self.live.via if self.live.enabled else "", "history": self.history.via}
        for key, via in ways.items():
            if via in {"slurmrestd", "slurmdbd"} and getattr(self, via) is None:
                raise ValueError(f"{key}.via is {via}, but there is no {via}: add {via}: {{url: ...}} to this cluster")
        return self

    @property
    def slurm_name(self) -> str:
        """Its ClusterName: what Slurm's own rows call it."""
        return self.cluster_name or (self.slurmdbd.cluster if self.slurmdbd else "") or self.cluster
