"""What is known of jobs, as rows: the same object for as long as it says the same."""

from __future__ import annotations

from dataclasses import replace

from exporters.model import Job
from exporters.series.job_names import JobNames, Row
from tests.exporters import world as w

JOB = w.slurm_job(18)


def row(names: JobNames, job: Job, project: str = "p") -> Row:
    (found,) = names.rows([job.key], [job], [project])
    return found


def test_a_row_says_who_the_job_is_and_what_is_known_of_it() -> None:
    expected = ("slurm", "lab", "18@900", "p", "18", "train-18", "alice", "vision", "gpu", "", "", "RUNNING")

    assert expected == row(JobNames(), JOB)


def test_a_job_that_is_told_again_keeps_its_row() -> None:
    names = JobNames()
    first = row(names, JOB)

    assert row(names, JOB) is first
    assert row(names, replace(JOB)) is first
    assert row(names, replace(JOB, start=1001)) is first


def test_what_changes_shows_at_once_whether_the_job_is_told_anew_or_only_its_project() -> None:
    names = JobNames()
    row(names, JOB)

    assert "other" == row(names, JOB, "other")[3]
    assert "COMPLETING" == row(names, replace(JOB, state="COMPLETING"), "other")[-1]
    assert "RUNNING" == row(names, JOB, "other")[-1]


def test_a_job_of_which_nothing_is_known_has_no_row() -> None:
    assert [] == JobNames().rows([JOB.key], [None], ["p"])


def test_jobs_that_are_gone_are_forgotten() -> None:
    names = JobNames()
    for n in range(1000):
        last = row(names, w.slurm_job(n))

    assert len(names._known) <= 2 * 1 + 100
    assert row(names, w.slurm_job(999)) is last
