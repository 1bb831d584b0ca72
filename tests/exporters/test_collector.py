"""The registry: clocks, failures, staleness and the recorder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from exporters.join.projects import ProjectMap, ProjectRule
from exporters.model import Field, Reject, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.recorder import Round
from exporters.sources.base import SourceError
from tests.exporters import world as w

ACCOUNTS = (ProjectRule("vision", "account", "vision"), ProjectRule("chat", "namespace", "llm"))


class Site:
    """Two schedulers and a device source under a clock that the test drives."""

    def __init__(self, rules: Sequence[ProjectRule] = ACCOUNTS) -> None:
        self.now = 2000.0
        self.slurm = w.StubSource("slurmctld", "lab", w.SLURM)
        self.kube = w.StubSource("pods", "k1", w.KUBE)
        self.dcgm = w.StubSource("dcgm", "", None)
        job, pod = w.slurm_job(18), w.pod_job("vllm")
        self.slurm.says = Snapshot(
            0, jobs=(job,), claims=(w.slurm_claim(job, "gn01", 2000, (2, 3)),), nodes=(w.slurm_node("gn01"),)
        )
        self.kube.says = Snapshot(0, jobs=(pod,), claims=(w.pod_claim(pod, "k01", 4000),), nodes=(w.kube_node("k01"),))
        self.rounds: list[Round] = []
        self.broken = False
        self.collector = Collector(
            [self.slurm, self.kube, self.dcgm], JoinSettings(ProjectMap.of(rules)), self, lambda: self.now
        )

    def record(self, round_: Round) -> None:
        if self.broken:
            raise ConnectionError("the ledger is away")
        self.rounds.append(round_)

    def close(self) -> None:
        pass

    def step(self, seconds: float = 15.0) -> str:
        self.now += seconds
        if not isinstance(self.dcgm.says, Exception):
            values = {
                Field.ENGINE_ACTIVE: 0.5,
                Field.POWER: 300.0,
                Field.MEMORY_USED: 2e9,
                Field.ENERGY: self.now * 300,
            }
            self.dcgm.says = Snapshot(0, samples=w.samples("gn01", self.now, values))
        self.collector.poll_all()
        self.collector.join()
        page = self.collector.page()
        assert page is not None
        return page.body().decode()


@pytest.fixture
def site() -> Site:
    return Site()


def value(text: str, name: str, *needles: str) -> float:
    """The value of the one series of ``name`` whose line holds every needle."""
    lines = [x for x in text.splitlines() if x.startswith(name + "{") and all(n in x for n in needles)]
    assert 1 == len(lines), (name, needles, lines)
    return float(lines[0].rsplit(" ", 1)[1])


def test_the_page_of_a_small_site_is_as_written_down(
    site: Site, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporters.series.itself.version", lambda: "0")
    monkeypatch.setattr("platform.python_version", lambda: "3")
    site.step()
    text = site.step()

    timed = ("meterbridge_source_poll_duration_seconds", "meterbridge_join_duration_seconds", "meterbridge_stage_")
    golden("live.prom", "".join(x for x in text.splitlines(keepends=True) if not x.startswith(timed)))


def test_a_dead_source_keeps_its_last_good_data_marked_stale_and_the_rest_alive(site: Site) -> None:
    site.step()
    site.slurm.says = SourceError("squeue exited with 1: is slurmctld up?")

    text = site.step()

    assert 0 == value(text, "meterbridge_source_success", 'source="slurmctld"')
    assert 1 == value(text, "meterbridge_source_success", 'source="pods"')
    assert 15 == value(text, "meterbridge_source_age_seconds", 'source="slurmctld"')
    assert 2 == value(text, "meterbridge_job_gpus", 'scheduler="slurm"')
    assert 6 == value(text, "meterbridge_node_gpus", 'node="gn01"', 'disposition="idle"')


def test_once_too_old_a_dead_schedulers_free_cards_are_unknown(site: Site) -> None:
    site.step()
    site.slurm.says = SourceError("slurmctld hangs")

    text = site.step(60)

    assert 6 == value(text, "meterbridge_node_gpus", 'node="gn01"', 'disposition="unknown"')
    assert 4 == value(text, "meterbridge_node_gpus", 'node="k01"', 'disposition="idle"')


def test_a_fault_of_ours_in_one_source_does_not_stop_the_others(site: Site) -> None:
    site.step()
    site.kube.says = KeyError("spec")

    text = site.step()

    assert 0 == value(text, "meterbridge_source_success", 'source="pods"')
    assert 1 == value(text, "meterbridge_source_success", 'source="slurmctld"')


def test_an_ended_job_stays_with_the_project_that_paid_for_it() -> None:
    border = 2020
    site = Site(
        [
            ProjectRule("vision", "account", "vision", valid_to=border),
            ProjectRule("sight", "account", "vision", valid_from=border),
        ]
    )
    running = site.slurm.says
    assert isinstance(running, Snapshot)
    other = w.slurm_job(19)
    site.step()
    site.slurm.says = replace(running, jobs=(other,), claims=(w.slurm_claim(other, "gn01", 2000, (2, 3)),))

    for text in (site.step(), site.step()):
        assert 1 == value(text, "meterbridge_job_final", 'job_id="18@900"')
        assert 1 == value(text, "meterbridge_job_info", 'job_id="18@900"', 'project="vision"')
        assert 1 == value(text, "meterbridge_job_info", 'job_id="19@900"', 'project="sight"')


def test_a_scrape_reads_no_source(site: Site) -> None:
    site.step()
    before = site.slurm.polls, site.kube.polls, site.dcgm.polls

    for _ in range(50):
        page = site.collector.page()
        assert page is not None
        page.body()

    assert before == (site.slurm.polls, site.kube.polls, site.dcgm.polls)


def test_it_is_ready_only_after_every_source_was_read_and_joined(site: Site) -> None:
    site.dcgm.says = SourceError("connection refused")
    site.collector.poll_all()
    site.collector.join()

    assert not site.collector.ready()

    site.dcgm.says = Snapshot(0)
    site.step()

    assert site.collector.ready()


def test_rounds_wait_while_the_ledger_is_away_and_none_is_lost(site: Site) -> None:
    site.step()
    site.broken = True
    site.step()
    text = site.step()
    at_least_waiting = [r.at for r in site.rounds]
    site.broken = False
    site.step()

    assert [2015.0] == at_least_waiting
    assert [2015.0, 2030.0, 2045.0, 2060.0] == [r.at for r in site.rounds]
    assert "meterbridge_recorder_pending_rounds 1.0" in text


def test_ends_are_acknowledged_only_once_they_are_recorded(site: Site) -> None:
    site.broken = True
    site.step()

    assert [] == site.kube.acknowledged

    site.broken = False
    site.step()

    assert [2015.0, 2030.0] == site.kube.acknowledged


def test_an_end_is_not_acknowledged_by_another_scheduler_whose_cluster_has_the_same_name(site: Site) -> None:
    site.slurm.cluster = site.kube.cluster
    site.step()
    site.kube.says = SourceError("away")
    site.step()

    assert [2015.0] == site.kube.acknowledged


def test_a_source_that_was_not_read_again_is_not_recorded_again(site: Site) -> None:
    site.step()
    site.slurm.says = SourceError("away")
    site.step()

    assert ["pods/k1", "dcgm"] == [r.source for r in site.rounds[-1].readings]


def test_rejects_are_counted_and_handed_to_the_recorder(site: Site) -> None:
    reject = Reject("slurmctld", "JobId=x", "job id is not a number")
    assert isinstance(site.slurm.says, Snapshot)
    site.slurm.says = Snapshot(0, nodes=site.slurm.says.nodes, rejects=(reject,))

    text = site.step()

    assert 1 == value(text, "meterbridge_source_rejects_total", 'source="slurmctld"')
    assert (reject,) == site.rounds[-1].readings[0].rejects


def test_two_sources_of_one_name_and_cluster_are_refused(site: Site) -> None:
    with pytest.raises(ValueError, match="two sources share a name"):
        Collector([site.slurm, site.slurm], JoinSettings(ProjectMap.of([])))


def test_running_threads_poll_and_join_until_stopped(tmp_path: Path) -> None:
    source = w.StubSource("slurmctld", "lab", w.SLURM, interval=0.01)
    collector = Collector([source], JoinSettings(ProjectMap.of([]), interval=0.01))
    collector.start()
    for _ in range(500):
        if collector.ready() and source.polls > 3:
            break
        collector._stop.wait(0.01)
    collector.stop()

    assert source.polls > 3
    assert source.closed
