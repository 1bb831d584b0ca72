"""The fabric in a collector: ports, their jobs, who shares them, and what they say of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from exporters.collector import Collector, JoinSettings
from exporters.exposition.line import parse_plain
from exporters.model import Claim, Field, Job, Sample, Snapshot
from exporters.ports import PortCounter, PortQuantity
from exporters.projects import ProjectMap, ProjectRule
from exporters.recorder import Round
from exporters.sources.base import SourceError
from tests.exporters import world as w

Q = PortQuantity
BYTES, CE = PortCounter(Q.RECEIVE_BYTES), PortCounter(Q.CE_MARKED)
PAUSED, PAUSING = (PortCounter(q, ("3",)) for q in (Q.PAUSE_RECEIVED_SECONDS, Q.PAUSE_TRANSMITTED_SECONDS))
SPINNING = {Field.ENGINE_ACTIVE: 1.0, Field.TENSOR_ACTIVE: 0.0}
WORKING = {Field.ENGINE_ACTIVE: 0.9, Field.TENSOR_ACTIVE: 0.5}

Rates = Mapping[PortCounter, float]


class Site:
    """Machines with one port each, whose counters grow at rates that the test sets; jobs hold whole machines."""

    def __init__(self, machines: Sequence[str] = ("gn01", "gn02", "gn03", "gn04")) -> None:
        self.now = 2000.0
        self.machines = tuple(machines)
        self.slurm = w.StubSource("slurmctld", "lab", w.SLURM)
        self.rdma = w.StubSource("rdma", "", None)
        self.dcgm = w.StubSource("dcgm", "", None)
        self.counted: dict[str, dict[PortCounter, float]] = {m: {} for m in machines}
        self.values: Mapping[Field, float] = {}
        self.holdings: tuple[Sample, ...] = ()
        self.rounds: list[Round] = []
        rules = [ProjectRule("vision", "account", "vision"), ProjectRule("llm", "account", "llm")]
        settings = JoinSettings(ProjectMap.of(rules), lossless_priorities=(3,), linger=60.0)
        self.collector = Collector([self.slurm, self.rdma, self.dcgm], settings, self, lambda: self.now)
        self.run()

    def record(self, round_: Round) -> None:
        self.rounds.append(round_)

    def close(self) -> None:
        pass

    def run(self, *claims: tuple[Job, Claim]) -> None:
        """From now on these claims are held, and no others."""
        self.slurm.says = Snapshot(
            0,
            jobs=tuple(job for job, _ in claims),
            claims=tuple(claim for _, claim in claims),
            nodes=tuple(w.slurm_node(m) for m in self.machines),
        )

    def step(self, rates: Mapping[str, Rates] | None = None, seconds: float = 15.0) -> None:
        """Time passes: every machine's port counts at its rates (per second)."""
        self.now += seconds
        for machine in self.machines:
            for counter, rate in (rates or {}).get(machine, {}).items():
                self.counted[machine][counter] = self.counted[machine].get(counter, 0.0) + rate * seconds
        if not isinstance(self.rdma.says, Exception):
            ports = tuple(w.port(m, self.now, self.counted[m]) for m in self.machines if self.counted[m])
            self.rdma.says = Snapshot(0, ports=ports, samples=self.holdings)
        if self.values:
            cards = tuple(s for m in self.machines for s in w.samples(m, self.now, self.values))
            self.dcgm.says = Snapshot(0, samples=cards)
        self.collector.poll_all()
        self.collector.join()

    def rows(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The rows of a family by the values of these labels."""
        page = self.collector.page()
        assert page is not None
        lines = [x for x in page.body().decode().splitlines() if x.startswith(name + "{")]
        parsed = [parse_plain(line, {}) for line in lines]
        return {tuple(p.labels[x] for x in labels): p.value for p in parsed if p is not None}


@pytest.fixture
def site() -> Site:
    return Site()


def whole(number: int, *machines: str, account: str = "vision", milligpu: int = 8000) -> list[tuple[Job, Claim]]:
    """A job on whole machines (or a part of each)."""
    job = w.slurm_job(number, account)
    return [(job, w.slurm_claim(job, machine, milligpu)) for machine in machines]


def test_a_port_counts_from_when_it_was_first_read(site: Site) -> None:
    site.counted["gn01"][BYTES] = 1e12
    site.step({"gn01": {BYTES: 1e6}})
    first = site.rows("meterbridge_rdma_port_receive_bytes_total", "node", "device", "port")
    site.step({"gn01": {BYTES: 1e6}})

    assert {("gn01", "mlx5_0", "1"): 0.0} == first
    assert {("gn01",): 15e6} == site.rows("meterbridge_rdma_port_receive_bytes_total", "node")
    assert {("gn01",): 1.0} == site.rows("meterbridge_rdma_port_up", "node")
    assert {("gn01",): 5e10} == site.rows("meterbridge_rdma_port_rate_bytes_per_second", "node")
    assert {("gn01",): 0.0} == site.rows("meterbridge_rdma_port_jobs", "node")


def test_a_job_has_the_ports_of_its_machines(site: Site) -> None:
    site.run(*whole(18, "gn01", "gn02"), *whole(19, "gn03", account="llm"))
    for _ in range(3):
        site.step({m: {BYTES: 1e6, CE: 2.0} for m in site.machines})

    assert {("18@900", "gn01", "vision", "false"), ("18@900", "gn02", "vision", "false")} | {
        ("19@900", "gn03", "llm", "false")
    } == site.rows("meterbridge_rdma_port_job_info", "job_id", "node", "project", "shared").keys()
    assert {("18@900", "false"): 60e6, ("19@900", "false"): 30e6} == site.rows(
        "meterbridge_job_rdma_receive_bytes_total", "job_id", "shared"
    )
    assert {("vision", "false"): 60e6, ("llm", "false"): 30e6} == site.rows(
        "meterbridge_project_rdma_receive_bytes_total", "project", "shared"
    )
    assert {("18@900",): 2.0, ("19@900",): 1.0} == site.rows("meterbridge_job_nodes", "job_id")
    assert {("18@900",): 2.0, ("19@900",): 1.0} == site.rows("meterbridge_job_rdma_ports", "job_id")


def test_a_shared_port_is_whole_on_each_of_its_jobs_and_says_so(site: Site) -> None:
    site.run(*whole(18, "gn01", milligpu=4000), *whole(19, "gn01", account="llm", milligpu=4000))
    site.step({"gn01": {BYTES: 1e6}})
    site.step({"gn01": {BYTES: 1e6}})

    assert {("gn01",): 2.0} == site.rows("meterbridge_rdma_port_jobs", "node")
    assert {("18@900", "true"): 15e6, ("19@900", "true"): 15e6} == site.rows(
        "meterbridge_job_rdma_receive_bytes_total", "job_id", "shared"
    )
    assert {("vision", "true"): 15e6, ("llm", "true"): 15e6} == site.rows(
        "meterbridge_project_rdma_receive_bytes_total", "project", "shared"
    )


def test_two_jobs_of_one_project_share_nothing_with_others(site: Site) -> None:
    site.run(*whole(18, "gn01", milligpu=4000), *whole(19, "gn01", milligpu=4000))
    site.step({"gn01": {BYTES: 1e6}})
    site.step({"gn01": {BYTES: 1e6}})

    assert {("vision", "false"): 15e6} == site.rows("meterbridge_project_rdma_receive_bytes_total", "project", "shared")


def test_what_was_counted_while_a_job_came_or_went_is_not_its_own(site: Site) -> None:
    site.step({"gn01": {BYTES: 1e6}})
    site.run(*whole(18, "gn01"))
    site.step({"gn01": {BYTES: 1e6}})  # partly before it
    site.step({"gn01": {BYTES: 1e6}})  # all of it
    site.run(*whole(19, "gn01"))
    site.step({"gn01": {BYTES: 1e6}})  # partly after it
    site.step({"gn01": {BYTES: 1e6}})

    assert {("18@900", "false"): 15e6, ("19@900", "false"): 15e6} == site.rows(
        "meterbridge_job_rdma_receive_bytes_total", "job_id", "shared"
    )


def test_what_a_job_left_behind_in_a_missed_round_is_shared(site: Site) -> None:
    both = [*whole(18, "gn01", milligpu=4000), *whole(19, "gn01", milligpu=4000)]
    site.run(*both)
    site.step({"gn01": {BYTES: 1e6}})
    site.rdma.says = SourceError("away")
    site.step({"gn01": {BYTES: 1e6}})
    site.run(*both[:1])
    site.step({"gn01": {BYTES: 1e6}})
    site.rdma.says = Snapshot(0)
    site.step({"gn01": {BYTES: 1e6}})  # counts 45 s, of which job 19 was there for 15 s
    site.step({"gn01": {BYTES: 1e6}})

    expected = {("18@900", "true"): 45e6, ("18@900", "false"): 15e6, ("19@900", "true"): 0.0}
    assert expected == site.rows("meterbridge_job_rdma_receive_bytes_total", "job_id", "shared")


def test_a_job_that_ended_stays_as_long_as_its_other_counters(site: Site) -> None:
    site.run(*whole(18, "gn01"))
    site.step({"gn01": {BYTES: 1e6}})
    site.step({"gn01": {BYTES: 1e6}})
    site.run()
    site.step({"gn01": {BYTES: 1e6}})
    lingering = site.rows("meterbridge_job_rdma_receive_bytes_total", "job_id")
    for _ in range(6):
        site.step({"gn01": {BYTES: 1e6}})

    assert {("18@900",): 15e6} == lingering
    assert {} == site.rows("meterbridge_job_rdma_receive_bytes_total", "job_id")
    assert {("vision",): 15e6} == site.rows("meterbridge_project_rdma_receive_bytes_total", "project")


def test_a_port_that_is_missed_stays_flat_for_three_rounds_and_goes(site: Site) -> None:
    site.step({"gn01": {BYTES: 1e6}, "gn02": {BYTES: 1e6}})
    gone, site.counted["gn02"] = site.counted["gn02"], {}
    shown = []
    for _ in range(5):
        site.step({"gn01": {BYTES: 1e6}})
        shown.append(("gn02",) in site.rows("meterbridge_rdma_port_receive_bytes_total", "node"))
    site.counted["gn02"] = {BYTES: gone[BYTES] + 500.0}
    site.step({"gn01": {BYTES: 1e6}})

    assert [True, True, True, False, False] == shown
    assert 500.0 == site.rows("meterbridge_rdma_port_receive_bytes_total", "node")["gn02",]


def test_other_priorities_are_served_once_they_count_something(site: Site) -> None:
    other = PortCounter(Q.PAUSE_RECEIVED_SECONDS, ("5",))
    site.step({"gn01": {PAUSED: 0.0, other: 0.0}})
    site.step({"gn01": {PAUSED: 0.0, other: 0.0}})
    before = site.rows("meterbridge_rdma_port_pause_received_seconds_total", "priority")
    site.step({"gn01": {other: 0.1}})

    assert {("3",): 0.0} == before
    assert {("3",): 0.0, ("5",): 1.5} == site.rows("meterbridge_rdma_port_pause_received_seconds_total", "priority")
    assert {("3",): 1.0} == site.rows("meterbridge_rdma_lossless_priority_info", "priority")


def test_discards_of_priorities_are_not_counted_twice(site: Site) -> None:
    site.run(*whole(18, "gn01", "gn02"))
    dropped = {PortCounter(Q.DISCARDS, ("receive", p)): 1.0 for p in ("", "3")}
    some = {PortCounter(Q.DISCARDS, ("receive", "3")): 1.0, PortCounter(Q.DISCARDS, ("transmit", "")): 1.0}
    site.step({"gn01": dropped, "gn02": some})
    site.step({"gn01": dropped, "gn02": some})

    assert {("18@900",): 15.0 + 30.0} == site.rows("meterbridge_job_rdma_discards_total", "job_id")


# -- who holds up whom ------------------------------------------------------------------------------------------------


def roles(site: Site) -> dict[str, str]:
    return {node: role for node, role in site.rows("meterbridge_job_fabric_suspect", "node", "role")}  # noqa: C416


def minutes(site: Site, rates: Callable[[str], Rates], count: float = 3) -> None:
    for _ in range(int(count * 4)):
        site.step({m: rates(m) for m in site.machines})


def test_one_machine_that_pauses_the_network_is_the_slow_receiver(site: Site) -> None:
    site.run(*whole(18, *site.machines))
    minutes(site, lambda m: {PAUSING: 0.3, PAUSED: 0.1} if m == "gn03" else {PAUSED: 0.2, PAUSING: 0.0})

    assert {"gn03": "slow_receiver", "gn01": "victim", "gn02": "victim", "gn04": "victim"} == roles(site)
    assert {("18@900", "vision", "mlx5_0", "1", "false")} == set(
        site.rows("meterbridge_job_fabric_suspect", "job_id", "project", "device", "port", "shared")
    )


@pytest.mark.parametrize("pausing", [2, 4])
def test_machines_that_pause_each_other_only_exchange_data(site: Site, pausing: int) -> None:
    site.run(*whole(18, *site.machines))
    minutes(site, lambda m: {PAUSED: 0.2, PAUSING: 0.2 if m in site.machines[:pausing] else 0.0})

    assert {} == roles(site)


def test_victims_of_somebody_else_have_no_slow_receiver_of_their_own(site: Site) -> None:
    site.run(*whole(18, "gn01", "gn02"))
    minutes(site, lambda m: {PAUSED: 0.2 if m == "gn01" else 0.0, PAUSING: 0.0})

    assert {"gn01": "victim"} == roles(site)


def test_a_pause_of_seconds_accuses_nobody(site: Site) -> None:
    site.run(*whole(18, *site.machines))
    minutes(site, lambda _: {PAUSED: 0.0, PAUSING: 0.0})
    site.step({m: {PAUSING: 0.03} if m == "gn03" else {PAUSED: 0.1} for m in site.machines})

    assert {} == roles(site)


def test_a_job_on_one_machine_has_no_suspects(site: Site) -> None:
    site.run(*whole(18, "gn01"))
    minutes(site, lambda _: {PAUSED: 0.5, PAUSING: 0.0})

    assert {} == roles(site)


def test_suspicion_fades_when_it_is_over(site: Site) -> None:
    site.run(*whole(18, *site.machines))
    minutes(site, lambda m: {PAUSING: 0.1, PAUSED: 0.0} if m == "gn03" else {PAUSED: 0.2, PAUSING: 0.0})
    minutes(site, lambda _: {PAUSED: 0.0, PAUSING: 0.0}, 5)

    assert {} == roles(site)


# -- silence ----------------------------------------------------------------------------------------------------------


def stalled(site: Site) -> dict[tuple[str, ...], float]:
    return site.rows("meterbridge_job_fabric_stalled_seconds", "job_id")


def talk(site: Site, *machines: str) -> None:
    """Two minutes in which a job on these machines communicates."""
    site.values = WORKING
    site.run(*whole(18, *machines))
    minutes(site, lambda _: {BYTES: 1e9}, 2)


def test_silence_with_spinning_engines_is_told_as_a_time(site: Site) -> None:
    talk(site, "gn01", "gn02")
    before = stalled(site)
    site.values = SPINNING
    minutes(site, lambda _: {BYTES: 1e3}, 2)
    during = stalled(site)
    minutes(site, lambda _: {BYTES: 1e9}, 0.25)

    assert ({("18@900",): 0.0}, {("18@900",): 120.0}, {("18@900",): 0.0}) == (before, during, stalled(site))


@pytest.mark.parametrize(
    "values",
    [{Field.ENGINE_ACTIVE: 0.1, Field.TENSOR_ACTIVE: 0.0}, WORKING],
    ids=["idle engines", "work without the network"],
)
def test_silence_alone_is_no_stall(site: Site, values: Mapping[Field, float]) -> None:
    talk(site, "gn01", "gn02")
    site.values = values
    minutes(site, lambda _: {BYTES: 1e3}, 2)

    assert {("18@900",): 0.0} == stalled(site)


def test_a_job_that_never_talked_is_not_told_of(site: Site) -> None:
    site.values = SPINNING
    site.run(*whole(18, "gn01", "gn02"))
    minutes(site, lambda _: {BYTES: 1e3})

    assert {} == stalled(site)


def test_a_job_on_one_machine_is_not_told_of(site: Site) -> None:
    talk(site, "gn01")

    assert {} == stalled(site)


def test_one_port_that_talks_is_no_stall(site: Site) -> None:
    talk(site, "gn01", "gn02")
    site.values = SPINNING
    minutes(site, lambda m: {BYTES: 1e7 if m == "gn02" else 0.0})

    assert {("18@900",): 0.0} == stalled(site)


def test_without_tensor_readings_nothing_is_told(site: Site) -> None:
    talk(site, "gn01", "gn02")
    site.values = {Field.ENGINE_ACTIVE: 1.0}
    minutes(site, lambda _: {BYTES: 0.0})

    assert {} == stalled(site)


def test_a_clock_that_jumps_makes_no_stall(site: Site) -> None:
    talk(site, "gn01", "gn02")
    site.values = SPINNING
    site.step({m: {BYTES: 0.0} for m in site.machines})
    site.step({m: {BYTES: 0.0} for m in site.machines}, seconds=7200.0)
    site.step({m: {BYTES: 0.0} for m in site.machines}, seconds=-3600.0)
    site.step({m: {BYTES: 0.0} for m in site.machines})

    assert {("18@900",): 30.0} == stalled(site)


# -- the agent's holdings ---------------------------------------------------------------------------------------------


def holding(index: int, uuid: str = "", job: str = "18") -> Sample:
    return Sample("gn01", uuid, index, "", {}, 0.0, hpc_jobs=(job,))


def test_the_agent_tells_which_cards_a_job_holds(site: Site) -> None:
    site.run(*whole(18, "gn01", milligpu=2000))
    site.holdings = (holding(5), holding(6))
    site.values = WORKING
    site.step()
    site.step()

    assert {("5", "GPU-gn01-5"), ("6", "GPU-gn01-6")} == site.rows("meterbridge_job_card_info", "gpu", "uuid").keys()
    assert [(5, "GPU-gn01-5"), (6, "GPU-gn01-6")] == [(h.index, h.uuid) for h in site.rounds[-1].holdings]
    assert {("true",): 2.0, ("false",): 30.0} == site.rows("meterbridge_devices", "owned")


def test_without_dcgm_the_agents_word_makes_holdings_and_no_readings(site: Site) -> None:
    site.run(*whole(18, "gn01", milligpu=2000))
    site.holdings = (holding(-1, "GPU-a"), holding(-1, "GPU-b"))
    site.step()
    site.step()

    assert {("", "GPU-a"), ("", "GPU-b")} == site.rows("meterbridge_job_card_info", "gpu", "uuid").keys()
    assert [(-1, "GPU-a"), (-1, "GPU-b")] == [(h.index, h.uuid) for h in site.rounds[-1].holdings]
    assert {("18@900",): 0.0} == site.rows("meterbridge_job_gpu_samples_total", "job_id")
    assert {("18@900",): 0.0} == site.rows("meterbridge_job_gpu_observed_seconds_total", "job_id")


# -- what the page says besides ---------------------------------------------------------------------------------------


def test_each_scheduler_says_whether_a_machine_takes_work(site: Site) -> None:
    site.slurm.says = Snapshot(0, nodes=(w.slurm_node("gn01"), w.slurm_node("gn02", up=False)))
    site.step()

    assert {("gn01", "slurm", "lab"): 1.0, ("gn02", "slurm", "lab"): 0.0} == site.rows(
        "meterbridge_node_scheduler_up", "node", "scheduler", "cluster"
    )


def test_the_health_of_a_card_is_told_of_the_card(site: Site) -> None:
    cards = (
        Sample("gn01", "GPU-1", 1, "H100", {Field.XID: 79.0, Field.ROW_REMAP_PENDING: 1.0}, 0.0),
        Sample("gn01", "GPU-2", 2, "H100", {Field.ENGINE_ACTIVE: 0.5, Field.XID: 0.0}, 0.0, "1g.10gb", "7"),
        Sample("gn01", "GPU-2", 2, "H100", {Field.XID: 31.0}, 0.0, "1g.10gb", "8"),
    )
    site.dcgm.says = Snapshot(0, samples=cards)
    site.step()

    assert {("gn01", "1", "GPU-1"): 79.0, ("gn01", "2", "GPU-2"): 31.0} == site.rows(
        "meterbridge_card_xid_error_code", "node", "gpu", "uuid"
    )
    assert {("GPU-1",): 1.0} == site.rows("meterbridge_card_row_remap_pending", "uuid")
    assert {} == site.rows("meterbridge_card_engine_active_ratio", "uuid")
