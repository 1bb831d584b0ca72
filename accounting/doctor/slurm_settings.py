"""What a Slurm cluster's own settings say about whether it can be metered, out of its client commands."""

from __future__ import annotations

import getpass
import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime

from accounting.doctor.finding import Finding, look, unseen, well, wrong
from exporters.config import SlurmCluster
from exporters.sources.base import SourceError
from exporters.sources.slurm.run_command import run

TRIED = ((22, 5), (26, 5))
"""The oldest and the newest release that the tests run."""
SKEW = 30.0
"""Seconds by which two clocks may differ: records are whole seconds, and a poll is fifteen."""


def slurm_settings(cluster: SlurmCluster, clock: float | None = None) -> Iterator[Finding]:
    """Ask a cluster's client commands. ``clock`` is now, epoch seconds (None: the machine's, as it answers)."""
    about = f"slurm {cluster.cluster}"
    if cluster.live.via == "slurmrestd" or not cluster.live.enabled:
        yield unseen(about, "its settings were not read: no client command is configured", "scontrol show config")
        return
    try:
        told = run(
            [*cluster.live.scontrol, "show", "config"],
            environment=cluster.environment,
            timeout=cluster.live.timeout,
            max_bytes=16 << 20,
        ).decode(errors="replace")
    except SourceError as error:
        yield wrong(about, str(error), "nothing is known of the cluster", "mend what it says; is munge running?")
        return
    now = time.time() if clock is None else clock
    yield from judged(about, cluster, parse(told), as_of(told), now)
    if "jobs" in _private(parse(told)):
        yield from _may_see_all(about, cluster)


def judged(
    about: str, cluster: SlurmCluster, config: Mapping[str, str], as_of_: float | None, now: float
) -> Iterator[Finding]:
    """What ``scontrol show config`` says that matters, ``as_of_`` slurmctld's clock when it said so."""
    name = config.get("ClusterName", "")
    if name.lower() != cluster.slurm_name.lower():
        yield wrong(
            about,
            f"slurm.conf calls the cluster {name!r}, the settings {cluster.slurm_name!r}",
            "rows of another cluster are not taken: its history stays empty",
            f"slurm: [{{cluster: {cluster.cluster}, cluster_name: {name}}}]",
        )
    if config.get("AccountingStorageType", "") != "accounting_storage/slurmdbd":
        yield wrong(
            about,
            f"AccountingStorageType is {config.get('AccountingStorageType') or 'not set'}",
            "Slurm keeps no history, so that nothing can be charged",
            "AccountingStorageType=accounting_storage/slurmdbd in slurm.conf, and a slurmdbd",
        )
    stored = [tres.strip() for tres in config.get("AccountingStorageTRES", "").lower().split(",")]
    if not any(tres.split(":")[0] == "gres/gpu" for tres in stored):
        yield wrong(
            about,
            "AccountingStorageTRES has no gres/gpu",
            "history tells no cards: jobs that hold them are unknown time, and nobody pays",
            f"AccountingStorageTRES={config.get('AccountingStorageTRES', 'billing,cpu,energy,mem,node')},gres/gpu in"
            " slurm.conf, then restart slurmctld",
        )
    if as_of_ is not None and abs(as_of_ - now) > SKEW:
        yield wrong(
            about,
            f"slurmctld's clock is {as_of_ - now:+.0f} s from ours",
            "jobs begin and end at other seconds than cards are seen held: disputes and unknown time",
            "chrony or ntpd on both machines",
        )
    release = tuple(int(n) for n in re.findall(r"\d+", config.get("SLURM_VERSION", ""))[:2])
    if release and not TRIED[0] <= release <= TRIED[1]:
        yield look(
            about,
            f"Slurm {config['SLURM_VERSION']} was never tried",
            "a release may print what no earlier one did",
            "compare a day's statement with sreport before you rely on it",
        )
    yield well(about, f"Slurm {config.get('SLURM_VERSION', '?')}, cluster {name}")


def parse(told: str) -> dict[str, str]:
    r"""The settings, by name. A name without a value (``(null)``) has an empty one.

    >>> parse("Configuration data as of X\nClusterName             = hpc\nEpilog  = (null)\n")
    {'ClusterName': 'hpc', 'Epilog': ''}
    """
    pairs = (line.partition("=") for line in told.splitlines())
    return {k.strip(): "" if v.strip() == "(null)" else v.strip() for k, equals, v in pairs if equals}


def as_of(told: str) -> float | None:
    """The clock of slurmctld when it answered, epoch seconds: the first line, in this machine's time zone."""
    found = re.match(r"Configuration data as of (\S+)", told)
    try:
        return datetime.fromisoformat(found[1]).astimezone().timestamp() if found else None
    except ValueError:
        return None


def _private(config: Mapping[str, str]) -> list[str]:
    return [word.strip() for word in config.get("PrivateData", "").lower().split(",")]


def _may_see_all(about: str, cluster: SlurmCluster) -> Iterator[Finding]:
    """Where jobs are private, only operators see those of others."""
    user = getpass.getuser()
    if user in {"root", "slurm"}:
        return
    try:
        told = run(
            [*cluster.history.sacctmgr, "-nP", "show", "user", f"name={user}", "format=adminlevel"],
            environment=cluster.environment,
            timeout=cluster.live.timeout,
            max_bytes=1 << 20,
        ).decode(errors="replace")
    except SourceError as error:
        yield unseen(about, f"whether {user} may see all jobs: {error}", "sacctmgr show user")
        return
    if not {"Operator", "Administrator"} & set(told.split()):
        yield wrong(
            about,
            f"PrivateData has jobs, and {user} is no operator",
            f"only the jobs of {user} are seen: everybody else's time reads idle",
            f"sacctmgr modify user {user} set adminlevel=operator (it may read all, and change accounting)",
        )
