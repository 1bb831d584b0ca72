"""Which source reads a Slurm cluster, from its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from exporters.config import SlurmCluster
from exporters.sources.slurm import runs
from exporters.sources.slurm.history.sacct import Sacct
from exporters.sources.slurm.history.slurmdbd import Slurmdbd
from exporters.sources.slurm.live.pyslurm import PySlurm
from exporters.sources.slurm.live.slurmctld import Slurmctld
from exporters.sources.slurm.rest.slurmrestd import Slurmrestd, SlurmrestdHistory
from exporters.wiring import slurm

REST = {"url": "http://rest:6820", "token_file": Path("/run/token"), "version": "v0.0.42"}
DATABASE = {"url": "mariadb+pymysql://meterbridge:s3cret@dbhost/slurm_acct_db"}


def cluster(**settings: Any) -> SlurmCluster:
    return SlurmCluster.model_validate({"cluster": "hall", **settings})


@pytest.mark.parametrize(("via", "kind"), [("commands", Slurmctld), ("slurmrestd", Slurmrestd), ("pyslurm", PySlurm)])
def test_the_present_is_read_as_the_settings_say(via: str, kind: type) -> None:
    source = slurm.present(cluster(live={"via": via, "interval": "20s"}, slurmrestd=REST))

    assert (kind, "hall", 20.0, "slurmctld") == (type(source), source.cluster, source.interval, source.name)


@pytest.mark.parametrize(("via", "kind"), [("sacct", Sacct), ("slurmrestd", SlurmrestdHistory), ("slurmdbd", Slurmdbd)])
def test_the_past_is_read_as_the_settings_say(via: str, kind: type) -> None:
    source = slurm.history(cluster(history={"via": via}, slurmrestd=REST, slurmdbd=DATABASE))

    assert (kind, "hall", via) == (type(source), source.cluster, source.name)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"live": {"via": "slurmrestd"}}, r"live\.via is slurmrestd, but there is no slurmrestd: add"),
        ({"history": {"via": "slurmdbd"}}, r"history\.via is slurmdbd, but there is no slurmdbd: add"),
        ({"identity": "jobid"}, r"identity\n.*auto.*submit"),
        ({"live": {"via": "telepathy"}}, r"commands.*slurmrestd.*pyslurm"),
        ({"slurmrestd": {"url": "rest:6820"}}, r"slurmrestd\.url"),
        ({"slurmrestd": REST | {"version": "42"}}, r"slurmrestd\.version"),
        ({"slurmdbd": {"url": "postgresql://h/d"}}, r"slurmdbd\.url"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        cluster(**settings)


@pytest.mark.parametrize("via", ["sacct", "slurmrestd", "slurmdbd"])
def test_all_sources_of_a_cluster_name_runs_in_one_way(via: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = runs.by_sluid
    monkeypatch.setattr(runs, "by_sluid", lambda identity: asked.append(identity) or real(identity))
    ways = {"sacct": "commands", "slurmdbd": "pyslurm"}
    site = cluster(
        identity="submit", history={"via": via}, live={"via": ways.get(via, via)}, slurmrestd=REST, slurmdbd=DATABASE
    )
    slurm.history(site)
    slurm.present(site)

    assert ["submit", "submit"] == asked


def test_no_password_is_shown() -> None:
    shown = repr(cluster(slurmdbd=DATABASE))

    assert "s3cret" not in shown
    assert "mariadb+pymysql://meterbridge:***@dbhost/slurm_acct_db" in shown
