"""Jobs beyond the limit: added up as one, nothing lost, and no series that changes its meaning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from exporters.join.projects import ProjectMap
from exporters.meters.roster import Roster, fold
from exporters.model import Field, Job, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from tests.exporters import world as w


class Site:
    """One machine of eight cards on which jobs of one card run; so many of them may have series of their own."""

    def __init__(self, max_jobs: int) -> None:
        self.now = 1000.0
        self.slurm, self.dcgm = w.StubSource("slurmctld", "lab", w.SLURM), w.StubSource("dcgm", "", None)
        settings = JoinSettings(ProjectMap.of([]), linger=20.0, max_jobs=max_jobs)
        self.collector = Collector([self.slurm, self.dcgm], settings, clock=lambda: self.now)

    def step(self, jobs: Sequence[Job]) -> dict[str, dict[str, float]]:
        """One round; the values of each family by job."""
        claims = tuple(w.slurm_claim(job, "gn01", 1000, (n,)) for n, job in enumerate(jobs))
        self.slurm.says = Snapshot(0, jobs=tuple(jobs), claims=claims, nodes=(w.slurm_node("gn01"),))
        self.dcgm.says = Snapshot(0, samples=w.samples("gn01", self.now, {Field.POWER: 100.0}))
        self.collector.poll_all()
        self.collector.join()
        self.now += 15
        page = self.collector.page()
        assert page is not None
        found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for line in page.body().decode().splitlines():
            name, _, rest = line.partition("{")
            if 'job_id="' in rest:
                found[name][rest.partition('job_id="')[2].partition('"')[0]] += float(line.rsplit(" ", 1)[1])
        return found


JOBS = [w.slurm_job(n) for n in range(6)]


def test_jobs_beyond_the_limit_are_added_up_and_the_sum_stays() -> None:
    few, all_ = Site(2), Site(100)

    for _ in range(3):
        folded, free = few.step(JOBS), all_.step(JOBS)

    for family in (
        "meterbridge_job_gpus",
        "meterbridge_job_gpu_seconds_total",
        "meterbridge_job_gpu_energy_joules_total",
    ):
        assert sum(free[family].values()) == sum(folded[family].values())
        assert 3 == len(folded[family])
        assert sum(v for k, v in free[family].items() if k not in folded[family]) == folded[family]["other"]
    assert 2 == len(folded["meterbridge_job_info"])


def test_how_many_were_folded_is_told() -> None:
    site = Site(2)

    site.step(JOBS)

    page = site.collector.page()
    assert page is not None
    assert b'meterbridge_jobs_folded{cluster="lab",scheduler="slurm"} 4.0\n' in page.body()


def test_the_total_of_the_others_never_falls_when_one_of_them_ends() -> None:
    site = Site(2)
    site.step(JOBS)
    seen = [site.step(jobs)["meterbridge_job_gpu_seconds_total"]["other"] for jobs in (JOBS, *[JOBS[:3]] * 4)]

    assert sorted(seen) == seen
    assert seen[0] < seen[-1]


def test_a_job_keeps_its_own_series_and_a_folded_one_stays_folded() -> None:
    site = Site(2)
    site.step(JOBS[:3])
    after = [set(site.step([JOBS[1], JOBS[2], JOBS[3]])["meterbridge_job_gpus"]) for _ in range(4)]

    assert {JOBS[1].key.id, "other"} <= after[0]
    assert {JOBS[1].key.id, JOBS[3].key.id, "other"} == after[-1] or {JOBS[1].key.id, "other"} == after[-1]
    assert all(JOBS[2].key.id not in shown for shown in after)


def test_an_ended_job_is_final_until_its_series_end() -> None:
    site = Site(100)
    site.step(JOBS)

    ends = [set(site.step(JOBS[1:])["meterbridge_job_final"]) for _ in range(3)]

    assert [{JOBS[0].key.id}, set(), set()] == ends or [{JOBS[0].key.id}, {JOBS[0].key.id}, set()] == ends


def test_within_the_limit_nothing_is_folded() -> None:
    roster = Roster(6)

    roster.step(job.key for job in JOBS)

    assert frozenset() == roster.folded


def test_families_that_name_no_job_are_as_they_were() -> None:
    rows = [(("slurm", "lab"), 1.0)]

    assert rows == fold(rows, ("scheduler", "cluster"), "sum", [JOBS[0].key])
