from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from exporters.fabric_model import Port, PortCounter, PortOrigin, PortQuantity, PortSample
from exporters.join.projects import ProjectMap
from exporters.model import Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.sources.base import SourceError
from exporters.sources.fabric.rdma import Rdma
from tests.conftest import TESTDATA
from tests.exporters import world as w
from tests.lab.endpoints import breaks_off, hangs, says, serving

Golden = Callable[[str, str], None]

Q = PortQuantity
MLX5 = (TESTDATA / "rdma" / "mlx5.prom").read_bytes()
ETHTOOL = (TESTDATA / "rdma" / "ethtool.prom").read_bytes()
IB = (TESTDATA / "rdma" / "ib-beside-roce.prom").read_bytes()

AGENT = b"""\
meterbridge_agent_rdma_port_info{device="mlx5_0",port="1",netdev="ens18np0",link_layer="Ethernet",driver="mlx5_core",\
pci_address="0000:18:00.0",numa_node="0",firmware="28.39.1002",gpus="0000:19:00.0"} 1
meterbridge_agent_rdma_port_up{device="mlx5_0",port="1"} 1
meterbridge_agent_rdma_port_rate_bytes_per_second{device="mlx5_0",port="1"} 5e+10
meterbridge_agent_rdma_retries_exceeded_total{device="mlx5_0",port="1",kind="transport"} 4
meterbridge_agent_rdma_retries_exceeded_total{device="mlx5_0",port="1",kind="rnr"} 5
meterbridge_agent_gpu_holding_info{scheduler="slurm",owner="18",pod_uid="",container="",gpu="2",uuid="",basis="spool"} 1
meterbridge_agent_gpu_holding_info{scheduler="kubernetes",owner="llm/vllm-0",pod_uid="u1",container="c",gpu="",\
uuid="GPU-7",basis="podresources"} 1
meterbridge_agent_gpu_holding_info{scheduler="slurm",owner="19",pod_uid="",container="",gpu="",uuid="",basis="cgroup"} 1
"""


@pytest.fixture
def rdma() -> Iterator[Callable[..., Rdma]]:
    made = []

    def make(node_exporters: Sequence[str] = (), agents: Sequence[str] = (), **settings: object) -> Rdma:
        made.append(Rdma(node_exporters=node_exporters, agents=agents, **settings))
        return made[-1]

    yield make
    for source in made:
        source.close()


def polled(rdma: Callable[..., Rdma], *pages: bytes, agent: bytes = b"", **settings: object) -> Snapshot:
    with serving({**{f"/{n}": says(page) for n, page in enumerate(pages)}, "/agent": says(agent)}) as web:
        agents = [web.at("/agent")] if agent else []
        return rdma([web.at(f"/{n}") for n in range(len(pages))], agents, **settings).poll(100.0)


def told(sample: PortSample, origin: PortOrigin) -> dict[PortCounter, float]:
    (reading,) = (r for r in sample.readings if r.origin is origin)
    return dict(zip(reading.counters, reading.values, strict=True))


def test_a_real_page_is_read_counter_by_counter(rdma: Callable[..., Rdma]) -> None:
    snapshot = polled(rdma, MLX5)
    first, second = snapshot.ports

    assert Port("gn01", "mlx5_0", "1", firmware="28.39.1002") == first.port
    assert (True, 5e10, 100.0) == (first.up, first.rate, first.at)
    assert (False, "mlx5_1") == (second.up, second.port.device)
    assert {
        PortCounter(Q.RECEIVE_BYTES): 4 * 9007.0,
        PortCounter(Q.TRANSMIT_BYTES): 4 * 15007.0,
        PortCounter(Q.RECEIVE_PACKETS): 11007.0,
        PortCounter(Q.TRANSMIT_PACKETS): 17007.0,
        PortCounter(Q.DISCARDS, ("transmit", "")): 16007.0,
        PortCounter(Q.LINK_DOWNED): 3007.0,
        PortCounter(Q.SYMBOL_ERRORS): 19007.0,
        PortCounter(Q.LINK_RECOVERIES): 4007.0,
        PortCounter(Q.LINK_INTEGRITY_ERRORS): 5007.0,
        PortCounter(Q.RECEIVE_ERRORS): 10007.0,
        PortCounter(Q.BUFFER_OVERRUNS): 2007.0,
        PortCounter(Q.CE_MARKED): 50007.0,
        PortCounter(Q.CNP_SENT): 51007.0,
        PortCounter(Q.CNP_HANDLED): 49007.0,
        PortCounter(Q.CNP_IGNORED): 48007.0,
        PortCounter(Q.OUT_OF_SEQUENCE): 27007.0,
        PortCounter(Q.ACK_TIMEOUTS): 32007.0,
        PortCounter(Q.SEQUENCE_ERRORS): 30007.0 + 31007.0,
        PortCounter(Q.RNR_NAKS): 29007.0,
        PortCounter(Q.RETRANSMISSIONS): 43007.0,
        PortCounter(Q.SLOW_RESTARTS): 45007.0,  # the kernel's roce_slow_restart, not its ..._trans (47007)
        PortCounter(Q.ICRC_ERRORS): 52007.0,
    } == told(first, PortOrigin.INFINIBAND)
    assert (True, ()) == (snapshot.complete, snapshot.problems)


def test_pauses_come_from_the_interface_on_the_device(rdma: Callable[..., Rdma]) -> None:
    snapshot = polled(rdma, MLX5 + ETHTOOL)
    first, second = snapshot.ports

    assert (("ens18np0", "0000:18:00.0"), ("ens154np0", "0000:9a:00.0")) == tuple(
        (s.port.netdev, s.port.pci_address) for s in (first, second)
    )
    expected = {
        PortCounter(Q.DISCARDS, ("receive", "")): 11.0,
        PortCounter(Q.DISCARDS, ("receive", "3")): 7.0,
        PortCounter(Q.DISCARDS, ("transmit", "")): 0.0,
        PortCounter(Q.PAUSE_RECEIVED_FRAMES, ("",)): 900.0,
        PortCounter(Q.PAUSE_RECEIVED_FRAMES, ("0",)): 0.0,
        PortCounter(Q.PAUSE_RECEIVED_FRAMES, ("3",)): 500.0,
        PortCounter(Q.PAUSE_RECEIVED_SECONDS, ("0",)): 0.0,
        PortCounter(Q.PAUSE_RECEIVED_SECONDS, ("3",)): 2.5,
        PortCounter(Q.PAUSE_STORM_EVENTS, ("error",)): 1.0,
        PortCounter(Q.PAUSE_STORM_EVENTS, ("warning",)): 2.0,
        PortCounter(Q.PAUSE_TRANSMITTED_FRAMES, ("3",)): 80.0,
        PortCounter(Q.PAUSE_TRANSMITTED_SECONDS, ("3",)): 0.04,
    }
    assert expected == told(first, PortOrigin.ETHTOOL)
    assert {counter: 10 * value for counter, value in expected.items()} == pytest.approx(
        told(second, PortOrigin.ETHTOOL)
    )


def test_an_interface_of_no_rdma_device_is_left_out_and_said(rdma: Callable[..., Rdma]) -> None:
    snapshot = polled(rdma, MLX5 + ETHTOOL)

    assert snapshot.complete
    assert (
        "1 network interfaces with pause counters cannot be placed on an RDMA device (eno1 of gn01)"
    ) == snapshot.problems[0].partition(": run the node agent there")[0]


def test_order_places_no_interface_where_counts_differ(rdma: Callable[..., Rdma]) -> None:
    one = b"".join(line for line in (MLX5 + ETHTOOL).splitlines(keepends=True) if b'"mlx5_1"' not in line)
    (port,) = polled(rdma, one).ports

    assert ("", [PortOrigin.INFINIBAND]) == (port.port.netdev, [r.origin for r in port.readings])


def test_a_device_named_by_its_place_is_found_by_its_pci_address(rdma: Callable[..., Rdma]) -> None:
    renamed = (MLX5 + ETHTOOL).replace(b'"mlx5_0"', b'"rocep154s0"').replace(b'"mlx5_1"', b'"rocep24s0"')
    ports = polled(rdma, renamed).ports

    assert [("rocep154s0", "ens154np0"), ("rocep24s0", "ens18np0")] == [(s.port.device, s.port.netdev) for s in ports]


def test_the_agent_places_an_interface_whatever_the_order_says(rdma: Callable[..., Rdma]) -> None:
    ports = polled(rdma, MLX5 + ETHTOOL, agent=AGENT.replace(b"ens18np0", b"ens154np0")).ports

    assert [("mlx5_0", "ens154np0"), ("mlx5_1", "ens18np0")] == [(s.port.device, s.port.netdev) for s in ports]


def test_the_agent_adds_what_node_exporter_lacks(rdma: Callable[..., Rdma]) -> None:
    first, second = polled(rdma, MLX5, agent=AGENT).ports

    assert (
        Port("gn01", "mlx5_0", "1", "ens18np0", "Ethernet", "mlx5_core", "0000:18:00.0", "0", "28.39.1002")
        == first.port
    )
    assert {
        PortCounter(Q.RETRIES_EXCEEDED, ("transport",)): 4.0,
        PortCounter(Q.RETRIES_EXCEEDED, ("rnr",)): 5.0,
    } == told(first, PortOrigin.AGENT)
    assert [PortOrigin.INFINIBAND] == [r.origin for r in second.readings]


def test_holdings_become_samples_without_values(rdma: Callable[..., Rdma]) -> None:
    samples = polled(rdma, agent=AGENT).samples

    assert [
        (-1, 2, "", (), ("18",)),
        (-1, -1, "GPU-7", (("llm", "vllm-0", "u1"),), ()),
    ] == [(s.index, s.minor, s.uuid, s.pods, s.hpc_jobs) for s in samples]
    assert [{}, {}] == [dict(s.values) for s in samples]


@pytest.mark.parametrize(
    ("told_host", "expected"), [("", "gn01"), ("node-7", "node-7")], ids=["the page's own name", "discovery's node"]
)
def test_a_page_belongs_to_the_machine_that_knows_best(
    rdma: Callable[..., Rdma], told_host: str, expected: str
) -> None:
    with serving({"/": says(MLX5)}) as web:
        ports = rdma(discover_node_exporters=lambda: {web.at("/"): told_host}).poll(0.0).ports

    assert {expected} == {s.port.host for s in ports}


def test_a_page_that_names_nobody_is_of_its_urls_host(rdma: Callable[..., Rdma]) -> None:
    nameless = b"".join(line for line in MLX5.splitlines(keepends=True) if b"node_uname_info{" not in line)

    assert {"127.0.0.1"} == {s.port.host for s in polled(rdma, nameless).ports}


def test_a_page_that_names_nobody_is_of_the_machine_that_another_page_there_names(rdma: Callable[..., Rdma]) -> None:
    snapshot = polled(rdma, MLX5, agent=AGENT)

    assert {"gn01"} == {s.port.host for s in snapshot.ports} | {s.host for s in snapshot.samples}


def test_where_pages_there_name_two_machines_it_is_of_neither(rdma: Callable[..., Rdma]) -> None:
    snapshot = polled(rdma, MLX5, MLX5.replace(b"gn01", b"gn02"), agent=AGENT)

    assert {"127.0.0.1"} == {s.host for s in snapshot.samples}


def test_a_bare_name_and_its_full_name_are_one_machine(rdma: Callable[..., Rdma]) -> None:
    agent = AGENT + b'meterbridge_agent_build_info{version="1",node="gn01.example.org"} 1\n'
    ports = polled(rdma, MLX5, agent=agent).ports

    assert [("mlx5_0", 2), ("mlx5_1", 1)] == [(s.port.device, len(s.readings)) for s in ports]


def test_infiniband_and_roce_ports_look_alike(rdma: Callable[..., Rdma]) -> None:
    ports = polled(rdma, IB).ports

    assert [("mlx5_0", "1", True), ("mlx5_1", "1", True)] == [(s.port.device, s.port.port, s.up) for s in ports]


def test_an_old_node_exporter_is_told_of(rdma: Callable[..., Rdma]) -> None:
    counters = (b"_port_", b"state_id", b"link_downed", b"uname", b"build_info")
    old = b"".join(line for line in MLX5.splitlines(keepends=True) if any(word in line for word in counters))
    snapshot = polled(rdma, old.replace(b"1.11.1", b"1.8.2"))

    assert 2 == len(snapshot.ports)
    assert ("1 node_exporters tell no hw_counters of their RDMA devices (gn01): use 1.11 or later",) == tuple(
        p.partition(", or")[0] for p in snapshot.problems
    )


def test_a_collector_that_failed_is_told_of(rdma: Callable[..., Rdma]) -> None:
    failed = MLX5.replace(b'success{collector="infiniband"} 1', b'success{collector="infiniband"} 0')

    assert ("node_exporter's infiniband collector failed on 1 machines (gn01): see its log",) == polled(
        rdma, failed
    ).problems


def test_values_that_no_counter_can_have_are_left_out_and_counted(rdma: Callable[..., Rdma]) -> None:
    odd = MLX5.replace(b"} 50007\n", b"} -50007\n").replace(b"} 51007\n", b"} NaN\n").replace(b"} 49007\n", b"} +Inf\n")
    snapshot = polled(rdma, odd)
    values = told(snapshot.ports[0], PortOrigin.INFINIBAND)

    assert ("3 counters below zero or not finite were left out",) == snapshot.problems
    assert [True] * 3 == [
        values[PortCounter(q)] != values[PortCounter(q)] for q in (Q.CE_MARKED, Q.CNP_SENT, Q.CNP_HANDLED)
    ]


def many(count: int) -> bytes:
    lines = [f'node_infiniband_state_id{{device="mlx5_{n}",port="1"}} 4\n' for n in range(count)]
    return "".join(lines).encode()


def test_a_hundred_thousand_ports_are_cut_at_a_pages_limit(rdma: Callable[..., Rdma]) -> None:
    snapshot = polled(rdma, many(100_000))

    assert 1024 == len(snapshot.ports)
    assert not snapshot.complete
    assert ("98976 ports were left out of pages with more than 1024, the limit of a page",) == snapshot.problems


def test_more_ports_than_the_settings_allow_are_cut_and_said(rdma: Callable[..., Rdma]) -> None:
    snapshot = polled(rdma, many(30), max_ports=10)

    assert 10 == len(snapshot.ports)
    assert not snapshot.complete
    assert ("20 of 30 ports were left out: rdma.max_ports is 10",) == snapshot.problems


def test_bad_endpoints_cost_the_good_ones_nothing(rdma: Callable[..., Rdma]) -> None:
    bad = {
        "/half-a-line": (says(MLX5[:-5]), "the page is cut short: it does not end in a newline"),
        "/cut": (breaks_off(MLX5[:500], promised=len(MLX5)), "the answer was cut short"),
        "/other": (says(b"up 1\n"), "the page is neither node_exporter's nor the node agent's"),
        "/hangs": (hangs, "no whole answer within 1 s"),
    }
    with serving({"/good": says(MLX5), **{path: answer for path, (answer, _) in bad.items()}}) as web:
        snapshot = rdma([web.at(path) for path in ("/good", *bad)], timeout=1.0).poll(0.0)

        assert 2 == len(snapshot.ports)
        assert not snapshot.complete
        for path, (_, reason) in bad.items():
            (sentence,) = (p for p in snapshot.problems if web.at(path) in p)
            assert reason in sentence


def test_nothing_to_read_is_an_error_that_names_the_settings(rdma: Callable[..., Rdma]) -> None:
    with pytest.raises(SourceError, match=r"list them under rdma\.node_exporters\.targets or rdma\.agents\.targets"):
        rdma().poll(0.0)


def test_a_port_goes_on_with_the_same_counters_object(rdma: Callable[..., Rdma]) -> None:
    with serving({"/": says(MLX5)}) as web:
        source = rdma([web.at("/")])
        first, second = (source.poll(at).ports[0].readings[0].counters for at in (0.0, 1.0))

    assert first is second


def test_the_series_of_a_real_page_are_as_written_down(rdma: Callable[..., Rdma], golden: Golden) -> None:
    now = [1000.0]
    slurm = w.StubSource("slurmctld", "lab", w.SLURM)
    job = w.slurm_job(18)
    claim = w.slurm_claim(job, "gn01", 8000)
    slurm.says = Snapshot(0, jobs=(job,), claims=(claim,), nodes=(w.slurm_node("gn01"),))
    with serving({"/ne": says(MLX5 + ETHTOOL), "/agent": says(AGENT)}) as web:
        source = rdma([web.at("/ne")], [web.at("/agent")])
        settings = JoinSettings(ProjectMap.of([]), lossless_priorities=(3,))
        collector = Collector([slurm, source], settings, clock=lambda: now[0])
        collector.poll_all()
        collector.join()
        now[0] += 15.0
        web.answers["/ne"] = says(
            (MLX5 + ETHTOOL).replace(b"007\n", b"107\n").replace(b"028\n", b"428\n").replace(b"00\n", b"50\n")
        )
        collector.poll_all()
        collector.join()
    page = collector.page()
    assert page is not None

    wanted = ("meterbridge_rdma_", "meterbridge_job_rdma_", "meterbridge_project_rdma_", "meterbridge_job_card_info")
    lines = page.body().decode().splitlines(keepends=True)
    golden("fabric.prom", "".join(line for line in lines if line.startswith(wanted)))


BOND = b"""\
node_uname_info{nodename="gn01"} 1
node_exporter_build_info{version="1.11.1"} 1
node_infiniband_state_id{device="mlx5_0",port="1"} 4
node_infiniband_state_id{device="mlx5_bond_0",port="1"} 4
node_infiniband_np_cnp_packets_sent_total{device="mlx5_0",port="1"} 1
node_ethtool_info{bus_info="0000:18:00.0",device="ens1",driver="mlx5_core"} 1
node_ethtool_info{bus_info="0000:9a:00.0",device="ens2f0",driver="mlx5_core"} 1
node_ethtool_info{bus_info="0000:9a:00.1",device="ens2f1",driver="mlx5_core"} 1
node_ethtool_received_prio3_pause_duration{device="ens1"} 5e+06
node_ethtool_received_prio3_pause_duration{device="ens2f0"} 1e+06
node_ethtool_received_prio3_pause_duration{device="ens2f1"} 3e+06
node_ethtool_transmitted_pause_storm_error_events{device="ens2f0"} 1
node_ethtool_transmitted_pause_storm_error_events{device="ens2f1"} 2
node_network_carrier_changes_total{device="ens2f0"} 8
node_network_carrier_changes_total{device="ens2f1"} 2
node_network_carrier_changes_total{device="veth1"} 99
node_bonding_slaves{master="bond0"} 2
node_bonding_active{master="bond0"} 1
"""


def test_a_bond_has_the_counters_of_both_its_interfaces_and_its_links(rdma: Callable[..., Rdma]) -> None:
    snapshot = polled(rdma, BOND)
    single, bond = snapshot.ports

    assert (True, ()) == (snapshot.complete, snapshot.problems)
    assert ("ens1", 5.0) == (
        single.port.netdev,
        told(single, PortOrigin.ETHTOOL)[PortCounter(Q.PAUSE_RECEIVED_SECONDS, ("3",))],
    )
    assert {
        PortCounter(Q.PAUSE_RECEIVED_SECONDS, ("3",)): 2.0,  # of times the mean
        PortCounter(Q.PAUSE_STORM_EVENTS, ("error",)): 3.0,
        PortCounter(Q.CARRIER_LOST): 5.0,  # half of the changes
    } == told(bond, PortOrigin.ETHTOOL)
    assert ((2, 1), None, "storage", "compute") == (bond.links, single.links, bond.port.role, single.port.role)


def test_rdma_ports_whose_interface_cannot_be_told_make_the_round_incomplete(rdma: Callable[..., Rdma]) -> None:
    virtual = BOND + b'node_infiniband_state_id{device="mlx5_4",port="1"} 4\n'
    snapshot = polled(rdma, virtual)

    assert not snapshot.complete
    (told,) = [p for p in snapshot.problems if "pauses" in p]
    assert told.startswith(
        "2 RDMA ports have no interface that could be placed on them (mlx5_0 of gn01, mlx5_4 of gn01)"
    )


def test_a_device_in_a_namespace_that_the_agent_may_not_look_into_makes_the_round_incomplete(
    rdma: Callable[..., Rdma],
) -> None:
    agent = AGENT + b'meterbridge_agent_rdma_unreadable{device="mlx5_9",port="",what="network namespace"} 1\n'
    snapshot = polled(rdma, MLX5, agent=agent)

    assert not snapshot.complete
    assert [p for p in snapshot.problems if "network namespaces of pods" in p]


def test_a_port_that_is_gone_from_a_machine_that_is_read_is_told_for_an_hour(rdma: Callable[..., Rdma]) -> None:
    pages = [MLX5, b"".join(x for x in MLX5.splitlines(keepends=True) if b'"mlx5_1"' not in x)]

    def now(request: Any) -> Any:
        return says(pages[0])(request)

    with serving({"/metrics": now}) as web:
        source = rdma([web.at("/metrics")])
        first = source.poll(100.0)
        pages.pop(0)
        second, later = source.poll(115.0), source.poll(3701.0)

    assert (True, False, True) == (first.complete, second.complete, later.complete)
    assert second.problems[0].startswith("1 RDMA ports are gone from machines that are still read (mlx5_1 of gn01): ")


def test_the_agent_tells_what_a_port_is_for(rdma: Callable[..., Rdma]) -> None:
    near = AGENT.replace(b'gpus="0000:19:00.0"', b'gpus="0000:19:00.0",affinity="switch",vf_of="",default_route=""')
    far = (
        b'meterbridge_agent_rdma_port_info{device="mlx5_1",port="1",netdev="",link_layer="Ethernet",driver="mlx5_core",\
pci_address="0000:9a:00.0",numa_node="1",firmware="",gpus="a,b",affinity="numa",vf_of="",default_route=""} 1\n'
    )
    ports = polled(rdma, MLX5, agent=near + far).ports

    assert ["compute", "storage"] == [s.port.role for s in ports]
