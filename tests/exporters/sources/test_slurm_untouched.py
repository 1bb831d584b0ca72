"""What a poll costs the controller: its own counts of remote procedure calls (sdiag), by type, from our user alone."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from exporters.sources.slurm.live.slurmctld import Slurmctld
from exporters.sources.slurm.rest.rest_http import RestClient
from exporters.sources.slurm.rest.slurmrestd import Slurmrestd
from tests.lab.slurm import SlurmLab
from tests.lab.slurm_files import FIRST_UID
from tests.lab.slurm_rest import RUNS_AS, SlurmRest

pytestmark = pytest.mark.server("slurm")

POLLS = 3
ONCE_EACH = {"REQUEST_JOB_INFO": POLLS, "REQUEST_NODE_INFO": POLLS, "REQUEST_PARTITION_INFO": POLLS}


def calls(lab: SlurmLab, user: str) -> tuple[dict[str, int], int]:
    """Since the last reset: count by type of what clients ask for, and how many calls were ``user``'s."""
    told = lab.run("sdiag")
    by_type, _, by_user = told.partition("Remote Procedure Call statistics by user")
    counts = re.findall(r"(REQUEST_(?:JOB|NODE|PARTITION|BUILD|STEP)\w*) +\( *\d+\) count:(\d+)", by_type)
    ours = re.search(rf"^\s+{user} +\( *\d+\) count:(\d+)", by_user, re.MULTILINE)
    return {name: int(count) for name, count in counts}, int(ours[1]) if ours else 0


def test_a_poll_is_one_call_for_jobs_and_two_for_nodes(slurm_lab: SlurmLab) -> None:
    jobs = [slurm_lab.submit("sleep 60", "--gres=gpu:1", user="alice", account="vision") for _ in range(3)]
    as_alice = ("setpriv", f"--reuid={FIRST_UID}", f"--regid={FIRST_UID}", "--clear-groups")
    scontrol, squeue = ((*as_alice, *slurm_lab.command(name)) for name in ("scontrol", "squeue"))
    source = Slurmctld(slurm_lab.cluster, scontrol, squeue, slurm_lab.environment, form="json")
    slurm_lab.run("sdiag", "-r")
    for _ in range(POLLS):
        source.poll(time.time())
    told = calls(slurm_lab, "alice")
    slurm_lab.run("scancel", *jobs)

    assert (ONCE_EACH, 3 * POLLS) == told


def test_through_slurmrestd_it_is_the_same(slurm_lab: SlurmLab, tmp_path: Path) -> None:
    with SlurmRest(slurm_lab) as rest:
        source = Slurmrestd(slurm_lab.cluster, RestClient(rest.socket))
        slurm_lab.run("sdiag", "-r")
        for _ in range(POLLS):
            source.poll(time.time())
        told = calls(slurm_lab, RUNS_AS)

    assert (ONCE_EACH, 3 * POLLS) == told
