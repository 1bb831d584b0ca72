"""The lab itself: what later tests rest on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.slurm import SlurmLab

pytestmark = pytest.mark.server("slurm")


def test_a_job_runs_as_its_user_with_its_cards_and_reaches_accounting(slurm_lab: SlurmLab) -> None:
    job = slurm_lab.submit("sleep 1", "--gres=gpu:h100:2", user="alice", account="vision", name="lab-check")
    slurm_lab.wait_state(job, "RUNNING", "COMPLETED", "COMPLETING")
    slurm_lab.finish(job)

    row = slurm_lab.run("sacct", "-n", "-X", "-P", "-j", job, "-o", "User,Account,JobName,AllocTRES,State").strip()

    assert row == (
        "alice|vision|lab-check|billing=1,cpu=1,gres/gpu:h100=2,gres/gpu=2,mem=100M,node=1|COMPLETED"
    )  # fmt: skip


def test_every_daemon_listens_on_loopback_only(slurm_lab: SlurmLab) -> None:
    ours = {slurm_lab.layout.ctld_port, slurm_lab.layout.dbd_port, *slurm_lab.layout.slurmd_ports.values()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {int(r[1].split(":")[1], 16): r[1].split(":")[0] for r in rows if r[3] == "0A"}

    assert dict.fromkeys(ours, "0100007F") == {port: listening[port] for port in ours}
