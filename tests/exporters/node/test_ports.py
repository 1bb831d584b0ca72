"""The trees that real drivers make, read by the agent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from exporters.fabric_model import PortQuantity as Q
from exporters.node.agent import Agent, Paths
from exporters.node.ethtool import Ethtool
from exporters.node.families import PortReport, Round, families
from exporters.node.mapping import Card, Place, near
from exporters.node.ports import RawPort, parse_counter, parse_rate, parse_state
from tests.exporters.node.fake_nic import FakeNic
from tests.exporters.node.trees import NAMES, unpack


def read(tree: str, root: Path, nic: FakeNic | None = None, all_of_them: bool = True) -> Round:
    unpack(tree, root / "sys")
    paths = Paths(str(root / "sys"), str(root / "proc"), str(root / "cgroup"), str(root / "spool"), str(root / "none"))
    return Agent(paths, Ethtool(nic or FakeNic()), "0", all_of_them=all_of_them).round()


def ports(found: Round) -> Mapping[str, PortReport]:
    return {port.raw.device: port for port in found.ports}


def counted(port: PortReport) -> dict[tuple[str, ...], float]:
    return {(counter.quantity.value, *counter.labels): value for counter, value in port.counters.items()}


def test_a_full_mlx5_port_tells_all_of_the_fabric(tmp_path: Path) -> None:
    port = ports(read("mlx5", tmp_path))["mlx5_0"]

    assert {
        ("receive_bytes",): 4 * 9007.0,
        ("transmit_bytes",): 4 * 15007.0,
        ("receive_packets",): 11007.0,
        ("transmit_packets",): 17007.0,
        ("ce_marked_packets",): 50007.0,
        ("cnp_sent_packets",): 51007.0,
        ("cnp_handled_packets",): 49007.0,
        ("cnp_ignored_packets",): 48007.0,
        ("out_of_sequence_packets",): 27007.0,
        ("ack_timeouts",): 32007.0,
        ("sequence_errors",): 30007.0 + 31007.0,
        ("rnr_naks",): 29007.0,
        ("retransmissions",): 43007.0,
        ("slow_restarts",): 45007.0,
        ("retries_exceeded", "transport"): 41007.0,
        ("retries_exceeded", "rnr"): 42007.0,
        ("discards", "transmit", ""): 16007.0,
        ("link_downed",): 3007.0,
        ("symbol_errors",): 19007.0,
        ("link_recoveries",): 4007.0,
        ("link_integrity_errors",): 5007.0,
        ("receive_errors",): 10007.0,
        ("buffer_overruns",): 2007.0,
        ("icrc_errors",): 52007.0,
    } == counted(port)


def test_a_port_says_what_it_is_and_which_gpus_are_near(tmp_path: Path) -> None:
    found = ports(read("mlx5", tmp_path))
    raw = found["mlx5_0"].raw

    assert ("mlx5_core", "28.39.1002", "Ethernet", "ens18np0", True, 50e9) == (
        raw.driver,
        raw.firmware,
        raw.link_layer,
        raw.netdev,
        raw.up,
        raw.rate,
    )
    assert ("0000:18:00.0", "0") == (raw.place.address, raw.place.numa)
    assert ("0000:19:00.0", "0000:1a:00.0") == found["mlx5_0"].gpus  # below the same switch
    assert ("0000:9b:00.0",) == found["mlx5_1"].gpus
    assert found["mlx5_1"].raw.up is False


def test_of_nested_switches_the_closest_counts() -> None:
    def card(address: str, *bridges: str, numa: str = "0") -> Card:
        return Card(Place(address, bridges, numa))

    port = Place("nic", ("root", "outer", "inner"), "0")
    beside, outer = card("b", "root", "outer", "inner"), card("a", "root", "outer", "other")
    elsewhere, unknown = card("c", "root2"), card("d", "root3", numa="-1")

    assert ("b",) == near(port, [outer, beside, elsewhere])
    assert ("a",) == near(port, [outer, elsewhere])
    assert ("c",) == near(port, [elsewhere, unknown])
    assert () == near(Place("nic", ("root",), "-1"), [elsewhere, unknown])


def test_without_a_shared_bridge_the_near_gpus_are_those_of_the_numa_node(tmp_path: Path) -> None:
    port = ports(read("mlx5-plain", tmp_path))["mlx5_0"]

    assert ("0000:3e:00.0",) == port.gpus
    assert "ens1f0" == port.raw.netdev  # an old kernel without gid_attrs: below the PCI function


def test_optional_counters_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    found = read("mlx5-plain", tmp_path)
    names = {counter.quantity for counter in ports(found)["mlx5_0"].counters}

    assert set() == names & {Q.CE_MARKED, Q.RETRIES_EXCEEDED, Q.RETRANSMISSIONS, Q.ICRC_ERRORS}
    assert {Q.OUT_OF_SEQUENCE, Q.ACK_TIMEOUTS, Q.SEQUENCE_ERRORS} <= names
    assert () == found.unread


def test_switchdev_and_renamed_devices_count_as_any_other(tmp_path: Path) -> None:
    plain = counted(ports(read("mlx5", tmp_path / "a"))["mlx5_0"])
    switchdev = counted(ports(read("mlx5-switchdev", tmp_path / "b"))["mlx5_0"])
    renamed = counted(ports(read("mlx5-renamed", tmp_path / "c"))["rocep129s0"])

    assert plain == switchdev == renamed


@pytest.mark.parametrize(
    ("tree", "device", "expected"),
    [
        (
            "bnxt_re",
            "bnxt_re0",
            {"retransmissions", "sequence_errors", "rnr_naks", "ce_marked_packets", "cnp_sent_packets"}
            | {"cnp_handled_packets", "out_of_sequence_packets", "retries_exceeded", "discards"},
        ),
        (
            "bnxt_re-6.18",
            "bnxt_re0",
            {"ack_timeouts", "sequence_errors", "rnr_naks", "ce_marked_packets", "cnp_sent_packets"}
            | {"cnp_handled_packets", "out_of_sequence_packets", "retries_exceeded", "discards"},
        ),
        ("efa", "efa_0", {"retransmissions", "discards"}),
        (
            "irdma",
            "irdma0",
            {"retransmissions", "sequence_errors", "rnr_naks", "ce_marked_packets", "cnp_sent_packets"}
            | {"cnp_handled_packets", "cnp_ignored_packets", "out_of_sequence_packets", "ack_timeouts", "icrc_errors"},
        ),
    ],
)
def test_each_driver_speaks_through_names_of_its_own(
    tmp_path: Path, tree: str, device: str, expected: set[str]
) -> None:
    port = ports(read(tree, tmp_path))[device]
    traffic = {"receive_bytes", "transmit_bytes", "receive_packets", "transmit_packets"}

    assert expected == {counter.quantity.value for counter in port.counters} - traffic
    assert tree == "irdma" or traffic <= {counter.quantity.value for counter in port.counters}


def test_bytes_of_a_driver_with_both_folders_are_counted_once(tmp_path: Path) -> None:
    port = ports(read("bnxt_re-6.18", tmp_path))["bnxt_re0"]
    folder = tmp_path / "sys/class/infiniband/bnxt_re0/ports/1/counters"

    assert 4 * int((folder / "port_rcv_data").read_text()) == counted(port)["receive_bytes",]


def test_efa_is_up_as_its_network_interface_is(tmp_path: Path) -> None:
    found = ports(read("efa", tmp_path))

    assert {"efa_0": ("enp79s0", True), "efa_1": ("enp80s0", False)} == {
        device: (port.raw.netdev, port.raw.up) for device, port in found.items()
    }


def test_an_infiniband_port_beside_a_roce_port_is_told_apart(tmp_path: Path) -> None:
    found = ports(read("ib-beside-roce", tmp_path))

    assert {"mlx5_0": "InfiniBand", "mlx5_1": "Ethernet"} == {d: p.raw.link_layer for d, p in found.items()}
    assert Q.CE_MARKED not in {counter.quantity for counter in found["mlx5_0"].counters}


def test_what_cannot_be_read_is_named_and_nothing_else_suffers(tmp_path: Path) -> None:
    found = read("broken", tmp_path)
    whole, broken = ports(found)["mlx5_1"], ports(found)["mlx5_0"]

    assert {
        ("mlx5_0", "1", "state"),
        ("mlx5_0", "1", "rate"),
        ("mlx5_0", "1", "counters/port_xmit_data"),
        ("mlx5_0", "1", "hw_counters/np_cnp_sent"),
        ("mlx5_0", "1", "hw_counters/out_of_sequence"),
        ("mlx5_0", "1", "hw_counters/implied_nak_seq_err"),
        ("mlx5_0", "1", "hw_counters/local_ack_timeout_err"),
        ("mlx5_0", "1", "hw_counters/rnr_nak_retry_err"),
        ("mlx5_2", "", "ports"),
    } == {(u.device, u.port, u.what) for u in found.unread}
    assert 24 == len(whole.counters)
    assert {
        "transmit_bytes", "cnp_sent_packets", "out_of_sequence_packets", "sequence_errors", "ack_timeouts", "rnr_naks",
        "symbol_errors",  # the port says that it does not count them: no fault
    } == {c.quantity.value for c in whole.counters} - {c.quantity.value for c in broken.counters}  # fmt: skip
    assert (None, None) == (broken.raw.up, broken.raw.rate)


def test_a_sum_is_left_out_while_a_part_of_it_cannot_be_read(tmp_path: Path) -> None:
    port = ports(read("broken", tmp_path))["mlx5_0"]

    assert "packet_seq_err" in port.raw.hw_counters
    assert Q.SEQUENCE_ERRORS not in {counter.quantity for counter in port.counters}


def test_by_default_only_what_node_exporter_lacks_is_served(tmp_path: Path) -> None:
    found = ports(read("mlx5", tmp_path / "a", all_of_them=False))["mlx5_0"]
    switchdev = ports(read("mlx5-switchdev", tmp_path / "b", all_of_them=False))["mlx5_0"]

    assert {("retries_exceeded", "transport"), ("retries_exceeded", "rnr")} == set(counted(found))
    assert {"ce_marked_packets", "ack_timeouts"} <= {c.quantity.value for c in switchdev.counters}
    assert "receive_bytes" not in {c.quantity.value for c in switchdev.counters}


@pytest.mark.parametrize("tree", NAMES)
def test_every_tree_is_read_whether_its_interfaces_answer_or_not(tmp_path: Path, tree: str) -> None:
    found = read(tree, tmp_path, FakeNic(refuses=True))
    with_netdev = [(p.raw.device, p.raw.port) for p in found.ports if p.raw.netdev]

    assert with_netdev == [(u.device, u.port) for u in found.unread if u.what == "ethtool"]


def test_a_machine_without_rdma_has_an_empty_page(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    paths = Paths(str(tmp_path / "sys"), str(tmp_path), str(tmp_path), str(tmp_path / "no"), str(tmp_path / "no"))
    found = Agent(paths, Ethtool(FakeNic()), "0").round()

    assert ((), ()) == (found.ports, found.unread)


def test_a_device_that_vanishes_while_it_is_read_leaves_the_rest(tmp_path: Path) -> None:
    root = unpack("mlx5", tmp_path / "sys")
    (root / "class/infiniband/mlx5_0").unlink()
    (root / "class/infiniband/mlx5_0").symlink_to("../../devices/gone")
    paths = Paths(str(root), str(tmp_path), str(tmp_path), str(tmp_path / "no"), str(tmp_path / "no"))
    found = Agent(paths, Ethtool(FakeNic()), "0").round()

    assert (["mlx5_1"], ()) == (list(ports(found)), found.unread)


@pytest.mark.parametrize("text", ["", "12x", "-1", "1.5", "٣", "0x10", "1 2"])
def test_what_is_no_counter_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_counter(text)


@pytest.mark.parametrize("text", ["", "4", "ACTIVE: 4", ": ACTIVE"])
def test_what_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_state(text)


@pytest.mark.parametrize("text", ["", "100", "fast Gb/sec", "inf Gb/sec (4X)", "nan Gb/sec (4X)", "-1 Gb/sec (4X)"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rate(text)


def test_ports_are_in_the_order_of_their_numbers() -> None:
    def port(device: str, number: str, numa: str = "-1") -> PortReport:
        place = Place("0000:18:00.0", (), numa)
        return PortReport(RawPort(device, number, place), (), {})

    (info, *_) = families(Round((port("mlx5_1", "1", "1"), port("mlx5_0", "10"), port("mlx5_0", "2"))), "0")

    assert [("mlx5_0", "2", ""), ("mlx5_0", "10", ""), ("mlx5_1", "1", "1")] == [
        (labels[0], labels[1], labels[6]) for labels, _ in info.rows
    ]
