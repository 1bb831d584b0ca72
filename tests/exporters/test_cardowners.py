"""Whose cards are whose, by the names that a machine itself has for Slurm's jobs."""

from __future__ import annotations

import pytest

from exporters.join.card_owners import known_hands
from exporters.join.pools import Pool
from exporters.model import Claim, JobKey, NodeKey, Sample, Scheduler

SLUID = "sEKNKTV3WPV500"


def claim(run: str) -> Claim:
    node = NodeKey(Scheduler.SLURM, "hpc1", "gn01")
    return Claim(JobKey(Scheduler.SLURM, "hpc1", run), run, node, 1000, 0, None, native_id="71")


def told(job: str, index: int) -> Sample:
    return Sample("gn01", f"GPU-{index}", index, "", {}, 0.0, hpc_jobs=(job,))


@pytest.mark.parametrize(
    ("run", "named"),
    [("71@1790812800", "71"), (SLUID, "71"), (SLUID, SLUID), (f"{SLUID}@1790812800", SLUID)],
    ids=["number", "number of a run with a SLUID", "SLUID", "SLUID of a run that was resized"],
)
def test_a_job_is_known_by_its_number_and_by_its_sluid(run: str, named: str) -> None:
    found = known_hands([claim(run)], [told("72", 0), told(named, 2)], [Pool("h100", 4000)])

    assert {0: {2: 1000}} == {i: dict(hand.cards) for i, hand in found.items()}


@pytest.mark.parametrize("named", ["72", "sEKNKTV3WPV600", ""])
def test_another_jobs_card_is_not_its_own(named: str) -> None:
    found = known_hands([claim(SLUID)], [told(named, 2)], [Pool("h100", 4000)])

    assert {} == found
