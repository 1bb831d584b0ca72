"""The fabric in a collector: ports, their jobs, and who shares them."""

from __future__ import annotations

import pytest

from exporters.fabric_model import PortCounter
from exporters.model import Field, Sample, Snapshot
from exporters.sources.base import SourceError
from tests.exporters import world as w
from tests.exporters.fabricsite import BYTES, CE, PAUSED, WORKING, Q, Site, whole


@pytest.fixture
def site() -> Site:
    return Site()


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
