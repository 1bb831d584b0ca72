"""The registry: clocks, failures, staleness and the recorder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from exporters.fabric_model import PortCounter, PortQuantity
from exporters.join.projects import ProjectMap, ProjectRule
from exporters.join.shard import Shard
from exporters.model import Claim, Field, LinkKey, Reject, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.recorder import Round
from exporters.sources.base import SourceError
from tests.exporters import world as w

ACCOUNTS = (ProjectRule("vision", "account", "vision"), ProjectRule("chat", "namespace", "llm"))


class Site:
    """Two schedulers and a device source under a clock that the test drives."""

    def __init__(self, rules: Sequence[ProjectRule] = ACCOUNTS, intervals: Mapping[str, float] | None = None) -> None:
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
        sources = [self.slurm, self.kube, self.dcgm]
        for name, interval in (intervals or {}).items():
            if name == "rdma":
                sources.append(w.StubSource(name, "", None, interval))
            for source in sources:
                source.interval = interval if source.name == name else source.interval
        self.collector = Collector(sources, JoinSettings(ProjectMap.of(rules)), self, lambda: self.now)

    def record(self, round_: Round) -> None:
        if self.broken:
            raise ConnectionError("the ledger is away")
        self.rounds.append(round_)

    def close(self) -> None:
        pass

    def step(self, seconds: float = 15.0) -> str:
        """One round in which dcgm-exporter tells the cards of gn01, where it is not away."""
        if not isinstance(self.dcgm.says, Exception):
            values = {
                Field.ENGINE_ACTIVE: 0.5,
                Field.POWER: 300.0,
                Field.MEMORY_USED: 2e9,
                Field.ENERGY: (self.now + seconds) * 300,
            }
            self.dcgm.says = Snapshot(0, samples=w.samples("gn01", self.now + seconds, values))
        return self.join(seconds)

    def join(self, seconds: float = 15.0) -> str:
        """One round in which every source says what it was told to say."""
        self.now += seconds
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
    monkeypatch.setattr("exporters.series.own_families.version", lambda: "0")
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


def test_what_cards_and_ports_did_vanishes_once_their_source_is_too_old(site: Site) -> None:
    site.dcgm.says = Snapshot(
        0,
        samples=w.samples("gn01", 2015.0, {Field.TEMPERATURE: 40.0, Field.ENGINE_ACTIVE: 0.5}),
        ports=(w.port("gn01", 2015.0, {PortCounter(PortQuantity.TRANSMIT_BYTES): 5.0}),),
    )
    site.join(15.0)
    site.dcgm.says = SourceError("dcgm-exporter died")

    at_the_border = site.join(45.0)
    beyond = site.join(1.0)

    assert 8 == at_the_border.count("\nmeterbridge_card_temperature_celsius{")
    assert 8 == at_the_border.count("\nmeterbridge_card_engine_active_ratio{")
    assert 1 == at_the_border.count("\nmeterbridge_rdma_port_up{")
    assert "\nmeterbridge_card_" not in beyond
    assert 2 == value(beyond, "meterbridge_job_gpus", 'scheduler="slurm"')  # who holds them is not dcgm's to say


def test_a_port_that_is_not_read_is_shown_for_as_long_as_a_card_would_be(site: Site) -> None:
    port = w.port("gn01", 2015.0, {PortCounter(PortQuantity.TRANSMIT_BYTES): 5.0})
    site.dcgm.says = Snapshot(0, ports=(port,))
    site.join(15.0)
    site.dcgm.says = SourceError("node-exporter died")

    shown = ["\nmeterbridge_rdma_port_up{" in site.join(15.0) for _ in range(8)]

    assert [True] * 6 + [False] * 2 == shown  # three rounds until it is too old, and three in which it is carried


def test_an_interval_between_readings_counts_up_to_three_of_the_slowest_source_of_devices() -> None:
    seconds = []
    for apart in (90.0, 91.0):
        site = Site(intervals={"slurmctld": 300.0, "dcgm": 30.0, "rdma": 10.0})
        site.step()
        seconds.append(value(site.step(apart), "meterbridge_job_gpu_observed_seconds_total", 'job_id="18@900"'))

    assert [180.0, 0.0] == seconds  # of two cards


def test_an_answer_that_was_not_whole_is_said_to_be_so(site: Site) -> None:
    assert isinstance(site.slurm.says, Snapshot)
    site.slurm.says = replace(site.slurm.says, complete=False, problems=("one partition did not answer",))

    text = site.step()

    assert 0 == value(text, "meterbridge_source_complete", 'source="slurmctld"')
    assert 1 == value(text, "meterbridge_source_complete", 'source="pods"')


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


def test_a_claim_whose_job_nobody_described_pays_by_no_rule_and_is_shown(site: Site) -> None:
    assert isinstance(site.slurm.says, Snapshot)
    site.slurm.says = replace(site.slurm.says, jobs=())

    text = site.step()

    assert 2 == value(text, "meterbridge_job_gpus", 'job_id="18@900"')
    assert 2 == value(text, "meterbridge_project_gpus", 'project="unmapped"')


def test_a_job_that_its_source_forgets_while_it_holds_cards_stays_with_its_project(site: Site) -> None:
    site.step()
    assert isinstance(site.slurm.says, Snapshot)
    site.slurm.says = replace(site.slurm.says, jobs=())

    assert 2 == value(site.step(), "meterbridge_project_gpus", 'project="vision"')


OPS = (*ACCOUNTS, ProjectRule("operations", "account", "ops"))


def external_job(site: Site, *keys: LinkKey, described: bool = True) -> str:
    """A page of a site whose Slurm job 5, of account ops, has all of k01; ``keys`` are those of its pod."""
    job, lent, pod = w.slurm_job(5, "ops"), w.slurm_job(6), w.pod_job("vllm")
    site.slurm.says = Snapshot(
        0,
        jobs=(job, lent),
        claims=(w.slurm_claim(job, "k01", 8000), w.slurm_claim(lent, "gn05", 4000)),
        nodes=(w.slurm_node("k01"),),
    )
    claims = (w.pod_claim(pod, "k01", 4000, w.same(job), *keys),)
    site.kube.says = Snapshot(0, jobs=(pod,) if described else (), claims=claims, nodes=(w.kube_node("k01"),))
    return site.step()


def test_the_remainder_of_an_external_job_is_its_pods_projects() -> None:
    text = external_job(Site(OPS))

    assert 4 == value(text, "meterbridge_project_gpus", 'project="chat"', 'scheduler="kubernetes"')
    assert 4 == value(text, "meterbridge_project_gpus", 'project="chat"', 'scheduler="slurm"')


def test_so_it_is_while_the_pods_source_no_longer_describes_their_job() -> None:
    site = Site(OPS)
    external_job(site)

    text = external_job(site, described=False)

    assert 4 == value(text, "meterbridge_project_gpus", 'project="chat"', 'scheduler="slurm"')


def test_so_it_is_where_the_pods_hold_nothing_of_their_own() -> None:
    text = external_job(Site(OPS), w.lends("gn05"))  # all that the pod has is job 6's

    assert 4 == value(text, "meterbridge_job_gpus", 'job_id="6@900"')
    assert 1 == value(text, "meterbridge_job_info", 'job_id="5@900"', 'project="chat"')


def test_a_job_that_only_lives_inside_another_leaves_it_its_project() -> None:
    site = Site(OPS)
    job, pod = w.slurm_job(5, "ops"), w.pod_job("vllm")
    site.slurm.says = Snapshot(0, jobs=(job,), claims=(w.slurm_claim(job, "k01", 8000),), nodes=(w.slurm_node("k01"),))
    claims = (w.pod_claim(pod, "k01", 4000, w.inside(job)),)
    site.kube.says = Snapshot(0, jobs=(pod,), claims=claims, nodes=(w.kube_node("k01"),))

    assert 8 == value(site.step(), "meterbridge_project_gpus", 'project="operations"')


def lender(node: str, name: str, start: int, end: int | None = None) -> Claim:
    """A NodeSet pod that is, or was, Slurm node gn05."""
    return w.pod_claim(w.pod_job(name), node, 8000, w.lends("gn05"), start=start, end=end)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param((lender("k02", "new", 1500), lender("k01", "old", 1000)), id="the one that began last"),
        pytest.param((lender("k02", "new", 1500), lender("k01", "old", 1900, 1950)), id="the one that is still there"),
        pytest.param(
            (lender("k02", "new", 1500, 1990), lender("k01", "old", 1600, 1950)), id="the one that ended last"
        ),
    ],
)
def test_a_slurm_node_is_where_the_latest_of_its_nodeset_pods_was_in_whatever_order(
    site: Site, claims: tuple[Claim, ...]
) -> None:
    lent = w.slurm_job(6)
    site.slurm.says = Snapshot(0, jobs=(lent,), claims=(w.slurm_claim(lent, "gn05", 4000),))
    nodes = tuple(w.kube_node(name) for name in ("k01", "k02"))
    for says in (claims, claims[::-1]):
        running = tuple(c for c in says if c.end is None)
        ended = tuple(c for c in says if c.end is not None)
        site.kube.says = Snapshot(0, claims=running, ended=ended, nodes=nodes)

        text = site.join()

        assert 1 == text.count("\nmeterbridge_job_nodes{")
        assert 4 == value(text, "meterbridge_node_gpus", 'node="k02"', 'disposition="charged"')


def test_a_nodeset_pod_that_is_gone_still_tells_where_its_slurm_node_is(site: Site) -> None:
    lent = w.slurm_job(6)
    site.slurm.says = Snapshot(0, jobs=(lent,), claims=(w.slurm_claim(lent, "gn05", 4000),))
    site.kube.says = Snapshot(0, claims=(lender("k01", "old", 1000),), nodes=(w.kube_node("k01"),))
    site.join()
    site.kube.says = Snapshot(0, nodes=(w.kube_node("k01"),))

    assert 4 == value(site.join(), "meterbridge_node_gpus", 'node="k01"', 'disposition="charged"')


def test_a_shards_sources_of_devices_leave_out_what_is_on_machines_of_other_shards() -> None:
    class Endpoints(w.StubSource):
        """A source of devices that may leave out endpoints."""

        def leave_out(self, elsewhere: Callable[[str], bool]) -> None:
            self.elsewhere = elsewhere

    left_out = {}
    for shard in (Shard(0, 2), Shard(1, 2), Shard()):
        slurm, dcgm = w.StubSource("slurmctld", "lab", w.SLURM), Endpoints("dcgm", "", None)
        slurm.says = Snapshot(0, nodes=(w.slurm_node("gn04"), w.slurm_node("gn01", hostnames=("IP-10-0-0-1",))))
        collector = Collector([slurm, dcgm], JoinSettings(ProjectMap.of([]), shard=shard))
        collector.poll_all()
        collector.join()
        ask = getattr(dcgm, "elsewhere", None)
        left_out[str(shard)] = ask and [ask(host) for host in ("GN04", "gn01", "ip-10-0-0-1", "nobody")]

    assert {"0/2": [False, True, True, False], "1/2": [True, False, False, False], "0/1": None} == left_out


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


def test_polls_and_their_failures_are_counted(site: Site) -> None:
    site.step()
    site.slurm.says = SourceError("away")
    site.step()

    text = site.step()

    counts = ("meterbridge_source_polls_total", "meterbridge_source_failures_total")
    assert [3, 2] == [value(text, name, 'source="slurmctld"') for name in counts]
    assert [3, 0] == [value(text, name, 'source="pods"') for name in counts]


def test_of_rounds_that_cannot_be_recorded_the_oldest_are_dropped_and_that_is_said(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporters.poll.recorder_queue.PENDING_ROUNDS", 3)
    site.broken = True
    for _ in range(5):
        site.step()
    site.broken = False
    site.step()

    assert [2060.0, 2075.0, 2090.0] == [r.at for r in site.rounds]
    assert "a round was dropped after 3 waited, 3 so far" in caplog.text


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
