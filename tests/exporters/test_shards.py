"""Several exporters of one fleet: each machine in one of them, and their sum is what one exporter says."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from click.testing import CliRunner

from exporters.exposition.family import Family
from exporters.exposition.page import Page
from exporters.exposition.reader import Reader
from exporters.fabric_model import PortCounter, PortQuantity
from exporters.join.projects import ProjectMap, ProjectRule
from exporters.join.shard import Shard, ShardError
from exporters.model import Claim, Demand, Field, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.recorder import Round
from exporters.series import TABLE
from exporters.shards.merging import NAMES, Pages, Part, merge
from exporters.sources.devices.dcgm import Dcgm
from exporters.sources.fabric.rdma import Rdma
from meterbridge import main
from tests.conftest import TESTDATA
from tests.exporters import world as w
from tests.lab.endpoints import says, serving

COUNT = 3
CLASSIC = (TESTDATA / "dcgm" / "classic.prom").read_bytes()
MLX5 = (TESTDATA / "rdma" / "mlx5.prom").read_bytes()
MACHINES = [f"gn{n:02}" for n in range(1, 13)]
OF_THE_PROCESS = (
    "meterbridge_source_",
    "meterbridge_join_",
    "meterbridge_stage_",
    "meterbridge_recorder_",
    "meterbridge_build_info",
)
SENT = PortCounter(PortQuantity.TRANSMIT_BYTES)
NAMES_OF = {row.name: row.labels for row in TABLE}
Rows = Mapping[tuple[str, ...], float]


class Site:
    """Jobs on all machines, some on several, one inside a lending pod, one that waits; read by some shard."""

    def __init__(self, shard: Shard) -> None:
        self.now = 2000.0
        self.rounds: list[Round] = []
        self.slurm, self.kube = w.StubSource("slurmctld", "lab", w.SLURM), w.StubSource("pods", "k1", w.KUBE)
        self.dcgm = w.StubSource("dcgm", "", None)
        rules = [ProjectRule("vision", "account", "vision"), ProjectRule("chat", "namespace", "llm")]
        settings = JoinSettings(ProjectMap.of(rules), shard=shard)
        self.collector = Collector([self.slurm, self.kube, self.dcgm], settings, self, lambda: self.now)

    def record(self, round_: Round) -> None:
        self.rounds.append(round_)

    def close(self) -> None:
        pass

    def step(self, ended: bool = False) -> Page:
        """One round; with ``ended`` the widest job is over."""
        self.now += 15
        wide, small, pod = w.slurm_job(1), w.slurm_job(2, "other"), w.pod_job("web")
        claims: list[Claim] = [] if ended else [w.slurm_claim(wide, m, 4000, (0, 1, 2, 3)) for m in MACHINES[:9]]
        claims.append(w.slurm_claim(small, MACHINES[3], 1000, (7,)))
        nodes = tuple(w.slurm_node(m) for m in MACHINES)
        demands = (Demand(w.slurm_job(9).key, 16000),)
        self.slurm.says = Snapshot(
            0, jobs=(wide, small, w.slurm_job(9)), claims=tuple(claims), nodes=nodes, demands=demands
        )
        pods = (w.pod_claim(pod, MACHINES[10], 2000), w.pod_claim(pod, MACHINES[11], 2000, pod="web-1"))
        self.kube.says = Snapshot(0, jobs=(pod,), claims=pods, ended=pods[:1], nodes=(w.kube_node(MACHINES[11]),))
        values = {Field.ENGINE_ACTIVE: 0.5, Field.ENERGY: self.now * 300, Field.MEMORY_USED: 2e9}
        cards = tuple(s for m in MACHINES for s in w.samples(m, self.now, values))
        ports = tuple(w.port(m, self.now, {SENT: self.now * 1e6}) for m in MACHINES)
        self.dcgm.says = Snapshot(0, samples=cards, ports=ports)
        self.collector.poll_all()
        self.collector.join()
        page = self.collector.page()
        assert page is not None
        return page


def rows(families: list[Family]) -> dict[str, Rows]:
    return {f.name: dict(f.rows) for f in families if not f.name.startswith(OF_THE_PROCESS)}


def read(page: Page) -> list[Family]:
    part = Part()
    part.step(Pages().page(Reader(NAMES).read(page.body())))
    return merge([part])


def test_the_sum_of_the_shards_is_what_one_exporter_says() -> None:
    whole, shards = Site(Shard()), [Site(Shard(n, COUNT)) for n in range(COUNT)]
    readers = [(Reader(NAMES), Pages(), Part()) for _ in shards]
    for ended in (False, False, True):
        expected = rows(read(whole.step(ended)))
        for site, (reader, pages, part) in zip(shards, readers, strict=True):
            part.step(pages.page(reader.read(site.step(ended).body())))
        merged = rows(merge([part for _, _, part in readers]))

        assert expected.keys() == merged.keys()
        for name, series in expected.items():
            assert pytest.approx(series) == merged[name], name
    assert 1 == len(expected["meterbridge_job_final"])


def test_each_machine_is_in_one_shard_and_no_shard_is_empty() -> None:
    shards = [Shard(n, COUNT) for n in range(COUNT)]

    owners = {m: [s.index for s in shards if s.owns(m)] for m in MACHINES}

    assert {1} == {len(found) for found in owners.values()}
    assert {0, 1, 2} == {found[0] for found in owners.values()}


def test_claims_are_recorded_by_the_first_shard_and_cards_by_the_one_that_has_them() -> None:
    whole, shards = Site(Shard()), [Site(Shard(n, COUNT)) for n in range(COUNT)]
    for site in (whole, *shards):
        site.step()

    assert [len(whole.rounds[0].readings), 0, 0] == [len(s.rounds[0].readings) for s in shards]
    assert sorted(map(str, whole.rounds[0].holdings)) == sorted(str(h) for s in shards for h in s.rounds[0].holdings)
    assert sorted(map(str, whole.rounds[0].telemetry)) == sorted(str(t) for s in shards for t in s.rounds[0].telemetry)


def test_ends_are_acknowledged_by_every_shard_though_one_records_them() -> None:
    shards = [Site(Shard(n, COUNT)) for n in range(COUNT)]
    for site in shards:
        site.step()

    assert [[2015.0]] * COUNT == [s.kube.acknowledged for s in shards]


def test_a_shard_that_begins_anew_takes_nothing_from_the_sum() -> None:
    part, other = Part(), Part()
    key = ("meterbridge_project_gpu_energy_joules_total", ("vision", "slurm", "lab"))
    sums = []
    for value in (100.0, 160.0, 5.0, 30.0):
        part.step({key: value})
        other.step({key: 1000.0})
        (row,) = next(f for f in merge([part, other]) if f.name == key[0]).rows
        sums.append(row[1])

    assert [1100.0, 1160.0, 1165.0, 1190.0] == sums


def test_a_shard_that_is_gone_keeps_its_counters_and_says_nothing_of_the_moment() -> None:
    part = Part()
    counter = ("meterbridge_project_gpu_seconds_total", ("vision", "slurm", "lab"))
    part.step({counter: 7.0, ("meterbridge_project_gpus", ("vision", "slurm", "lab", "h100")): 4.0})

    part.stale()

    assert {counter: 7.0} == part.values


def test_endpoints_of_another_shards_machines_are_read_only_until_the_machines_are_known() -> None:
    for page, of in ((CLASSIC, lambda url: Dcgm(targets=[url])), (MLX5, lambda url: Rdma(node_exporters=[url]))):
        with serving({"/metrics": says(page)}) as endpoints:
            source = of(endpoints.at("/metrics"))
            first = source.poll(0.0)
            source.leave_out(lambda _: True)
            second = source.poll(15.0)
            source.close()

        assert len(first.samples) + len(first.ports) > 0
        assert ((), (), True) == (second.samples, second.ports, second.complete)


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "a/b", "1/0", "1/2/3"])
def test_a_shard_that_cannot_be_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(ShardError, match="INDEX/COUNT"):
        Shard.parse(text)


def test_the_command_line_refuses_it_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    config = tmp_path_factory.mktemp("shard") / "meterbridge.yaml"
    config.write_text("site: lab\n")

    done = CliRunner().invoke(main, ["exporter", "--config", str(config), "--once", "--shard", "4/4"])

    assert 2 == done.exit_code
    assert "INDEX/COUNT" in done.output


def merged(parts: list[dict[str, tuple[tuple[str, ...], float]]]) -> dict[str, Rows]:
    """The families of shards whose pages are these."""
    made = [Part() for _ in parts]
    for part, page in zip(made, parts, strict=True):
        part.step({(name, labels): value for name, (labels, value) in page.items()})
    return {f.name: dict(f.rows) for f in merge(made)}


@pytest.mark.parametrize(
    ("name", "together"),
    [
        ("meterbridge_source_success", 2.0),
        ("meterbridge_source_last_success_timestamp_seconds", 2.0),
        ("meterbridge_source_age_seconds", 5.0),
        ("meterbridge_source_rejects_total", 7.0),
    ],
)
def test_of_a_source_that_several_shards_read_the_sum_tells_the_worst(name: str, together: float) -> None:
    key = ("pods", "k1")

    for one, other in ((2.0, 5.0), (5.0, 2.0)):
        assert {key: together} == merged([{name: (key, one)}, {name: (key, other)}])[name]


@pytest.mark.parametrize("order", [1, -1])
def test_a_job_has_one_info_and_it_is_that_of_the_latest_page(order: int) -> None:
    labels = NAMES_OF["meterbridge_job_info"]
    pages = []
    for at, state in ((100.0, "RUNNING"), (90.0, "PENDING")):
        values = tuple(
            {"scheduler": "slurm", "cluster": "lab", "job_id": "1", "state": state}.get(n, "") for n in labels
        )
        pages.append({"meterbridge_job_info": (values, 1.0), "meterbridge_join_timestamp_seconds": ((), at)})

    (row,) = merged(pages[::order])["meterbridge_job_info"].items()

    assert ("RUNNING", 1.0) == (row[0][labels.index("state")], row[1])


def test_a_job_that_some_shard_still_counts_cards_of_is_not_final() -> None:
    job = ("slurm", "lab", "1")
    final = {"meterbridge_job_final": (job, 1.0)}

    assert {job: 1.0} == merged([final, {}])["meterbridge_job_final"]
    assert {} == merged([final, {"meterbridge_job_gpus": ((*job, "h100"), 4.0)}])["meterbridge_job_final"]


def test_what_no_shard_can_tell_has_no_row() -> None:
    name, key = "meterbridge_source_age_seconds", ("pods", "k1")

    assert {} == merged([{name: (key, math.nan)}])[name]
    assert {key: 3.0} == merged([{name: (key, 3.0)}])[name]
