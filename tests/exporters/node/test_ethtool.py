"""Drivers' statistics through the ioctl: a fake driver's, and a real one's."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.node.counters import ethtool_meanings
from exporters.node.ethtool import ChangedError, Ethtool, Kernel
from tests.exporters.node.fake_nic import FakeNic
from tests.lab.servers import program

MLX5 = {
    "rx_packets": 5,
    "rx_prio3_pause": 70,
    "rx_prio3_pause_duration": 2_500_000,
    "rx_prio3_pause_transition": 9,
    "tx_prio3_pause": 80,
    "tx_prio3_pause_duration": 7,
    "rx_prio3_discards": 1000,
    "rx_prio3_buf_discard": 3,
    "rx_prio3_cong_discard": 4,
    "rx_prio5_discards": 6,
    "rx_discards_phy": 11,
    "tx_discards_phy": 12,
    "rx_pause_ctrl_phy": 13,
    "rx_global_pause_duration": 1_000_000,
    "tx_pause_storm_warning_events": 14,
    "tx_pause_storm_error_events": 15,
    "rx7_packets": 1,
}


def quantities(nic: FakeNic, interface: str = "ens1") -> dict[tuple[str, ...], float]:
    found = Ethtool(nic).quantities(interface)
    return {(counter.quantity.value, *counter.labels): value for counter, value in found.items()}


def test_mlx5_pause_is_told_per_priority_in_seconds() -> None:
    assert {
        ("pause_received_seconds", "3"): 2.5,
        ("pause_transmitted_seconds", "3"): 7e-6,
        ("pause_received_frames", "3"): 70.0,
        ("pause_transmitted_frames", "3"): 80.0,
        ("pause_received_seconds", ""): 1.0,
        ("pause_received_frames", ""): 13.0,
        ("pause_storm_events", "warning"): 14.0,
        ("pause_storm_events", "error"): 15.0,
        ("discards", "receive", "3"): 7.0,  # the two kinds; their coarser sibling is not added to them
        ("discards", "receive", "5"): 6.0,
        ("discards", "receive", ""): 11.0,
        ("discards", "transmit", ""): 12.0,
    } == quantities(FakeNic({"ens1": MLX5}))


def test_broadcom_and_intel_say_the_same_with_other_words() -> None:
    bnxt = {"rx_pfc_ena_frames_pri3": 2, "pfc_pri3_tx_duration_us": 500_000, "tx_pause_frames": 4}
    ice = {"tx_priority_3_xoff.nic": 8, "tx_priority_3_xon.nic": 8}

    assert {
        ("pause_received_frames", "3"): 2.0,
        ("pause_transmitted_seconds", "3"): 0.5,
        ("pause_transmitted_frames", ""): 4.0,
    } == quantities(FakeNic({"ens1": bnxt}))
    assert {("pause_transmitted_frames", "3"): 8.0} == quantities(FakeNic({"ens1": ice}))


def test_a_driver_without_statistics_has_none() -> None:
    assert {} == quantities(FakeNic({"ens1": {}}))
    assert {} == quantities(FakeNic({}))


def test_a_driver_that_gains_statistics_between_two_calls_is_asked_again() -> None:
    nic = FakeNic({"ens1": MLX5}, grows=[3])

    assert MLX5 | {"late_3": 1} == Ethtool(nic).statistics("ens1")


def test_a_driver_that_never_stands_still_is_given_up() -> None:
    with pytest.raises(ChangedError, match="ens1"):
        Ethtool(FakeNic({"ens1": MLX5}, grows=range(1, 100))).statistics("ens1")


def test_a_driver_that_moves_its_statistics_is_understood_anew() -> None:
    nic = FakeNic({"ens1": {"rx_prio3_pause": 1, "tx_prio3_pause": 2}})
    ethtool = Ethtool(nic)
    ethtool.quantities("ens1")
    nic.statistics["ens1"] = {"tx_prio3_pause": 20, "rx_prio3_pause": 10}

    assert [10.0, 20.0] == [value for _, value in sorted(ethtool.quantities("ens1").items())]


def test_an_interface_that_refuses_says_why() -> None:
    with pytest.raises(OSError) as refused:
        Ethtool(FakeNic(refuses=True)).quantities("ens1")

    assert errno.EPERM == refused.value.errno


@given(st.lists(st.text(max_size=40)))
def test_any_names_are_taken(names: list[str]) -> None:
    assert set(ethtool_meanings(names)) <= set(range(len(names)))


def printed(interface: str) -> dict[str, int]:
    """What the ethtool command prints; empty for an interface without statistics."""
    command = [program("ethtool"), "-S", interface]
    lines = subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()[1:]
    return {name.strip(): int(value) for name, _, value in (line.rpartition(":") for line in lines)}


@pytest.fixture
def interface() -> Iterator[str]:
    """A real interface with statistics: a veth pair of our own where that is permitted, else one that is there."""
    add = [program("ip"), "link", "add", "mbtest0", "type", "veth", "peer", "name", "mbtest1"]
    made = subprocess.run(add, check=False, capture_output=True).returncode == 0
    there = [path.name for path in Path("/sys/class/net").iterdir()]
    yield "mbtest0" if made else next(name for name in sorted(there) if printed(name))
    if made:
        subprocess.run([program("ip"), "link", "del", "mbtest0"], check=True)


@pytest.mark.server("ethtool")
def test_a_real_driver_tells_us_what_it_tells_ethtool(interface: str) -> None:
    before = printed(interface)
    with closing(Kernel()) as kernel:
        ours = Ethtool(kernel).statistics(interface)
    after = printed(interface)

    assert list(before) == list(ours) == list(after)
    assert [] == [name for name, value in ours.items() if not before[name] <= value <= after[name]]


def test_the_kernel_says_of_an_interface_without_statistics_that_it_has_none() -> None:
    with closing(Kernel()) as kernel:
        assert {} == Ethtool(kernel).quantities("lo")
        assert {} == Ethtool(kernel).quantities("no-such-if0")
