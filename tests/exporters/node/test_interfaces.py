"""Bonds, default routes and carriers of a machine, and RDMA devices in the namespaces of pods."""

from __future__ import annotations

import shutil
from pathlib import Path

from exporters.fabric_model import PortCounter
from exporters.fabric_model import PortQuantity as Q
from exporters.node.agent import Agent
from exporters.node.ethtool import Ethtool
from exporters.node.families import PortReport
from exporters.node.interfaces import Bond, bond_of, carrier_losses, default_routes
from exporters.node.paths import Paths
from tests.exporters.node.fake_nic import FakeNic
from tests.exporters.node.trees import unpack

ROUTE = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def bonded(root: Path) -> str:
    """A bond of two interfaces, one of which is down."""
    sys = root / "sys/class/net"
    write(sys / "bond0/bonding/slaves", "ens1 ens2\n")
    for name, status in (("ens1", "up"), ("ens2", "down")):
        write(sys / name / "bonding_slave/mii_status", f"{status}\n")
        (sys / name / "master").symlink_to("../bond0")
        (sys / "bond0" / f"lower_{name}").symlink_to(f"../{name}")
    return str(root / "sys")


def test_a_bond_is_found_by_its_own_name_and_by_a_slave(tmp_path: Path) -> None:
    sys = bonded(tmp_path)
    expected = Bond("bond0", ("ens1", "ens2"), 1)

    assert [expected, expected, None, None] == [bond_of(sys, n) for n in ("bond0", "ens2", "eth9", "")]


def test_the_default_route_leaves_by_all_that_is_below_its_interface(tmp_path: Path) -> None:
    sys = bonded(tmp_path)
    line = "bond0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    other = "eth9\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    write(tmp_path / "proc/1/net/route", ROUTE + line + other)

    assert {"bond0", "ens1", "ens2"} == default_routes(sys, str(tmp_path / "proc"))


def test_a_default_route_of_ipv6_alone_is_one(tmp_path: Path) -> None:
    zero = "0" * 32
    rows = [(zero, "eth0"), (zero, "lo"), ("fe80" + "0" * 28, "eth1")]
    text = "".join(f"{to} 00 {zero} 00 {zero} 00000400 00000001 00000000 00000003 {name}\n" for to, name in rows)
    write(tmp_path / "proc/net/ipv6_route", text)

    assert {"eth0"} == default_routes(str(tmp_path), str(tmp_path / "proc"))


def test_carriers_are_counted_by_what_the_kernel_tells(tmp_path: Path) -> None:
    write(tmp_path / "class/net/new/carrier_down_count", "4\n")
    write(tmp_path / "class/net/new/carrier_changes", "9\n")
    write(tmp_path / "class/net/old/carrier_changes", "6\n")

    lost = [carrier_losses(str(tmp_path), name).get(PortCounter(Q.CARRIER_LOST)) for name in ("new", "old", "none")]
    assert [4.0, 3.0, None] == lost


# -- devices in the namespaces of pods ---------------------------------------------------------------------------------


class Machine:
    """A machine of two devices, of which one is moved into a pod's namespace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        unpack("mlx5", root / "sys")
        for process, space in (("1", "net:[1]"), ("700", "net:[1]"), ("800", "net:[2]")):
            folder = root / "proc" / process / "ns"
            folder.mkdir(parents=True)
            (folder / "net").symlink_to(space)
        self.agent = Agent(
            Paths(str(root / "sys"), str(root / "proc"), str(root / "cgroup"), str(root / "spool"), "/none"),
            Ethtool(FakeNic({})),
            "0",
            all_of_them=True,
        )

    def move(self, *, visible: bool) -> None:
        """Move mlx5_1 into the namespace of process 800, whose files the agent may look at or not."""
        if visible:
            shutil.copytree(self.root / "sys", self.root / "proc/800/root/sys", symlinks=True)
            (self.root / "proc/800/root/sys/class/infiniband/mlx5_0").unlink()
        (self.root / "sys/class/infiniband/mlx5_1").unlink()

    def ports(self) -> dict[str, PortReport]:
        return {p.raw.device: p for p in self.agent.round().ports}


def test_a_device_in_a_pods_namespace_is_read_from_inside(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    before = machine.ports()
    machine.move(visible=True)
    after = machine.ports()

    assert before.keys() == after.keys()
    assert before["mlx5_1"].counters.items() >= after["mlx5_1"].counters.items()
    assert (False, True) == (before["mlx5_1"].raw.inside, after["mlx5_1"].raw.inside)
    assert [] == [u for u in machine.agent.round().unread if u.what == "network namespace"]


def test_a_device_in_a_namespace_that_is_closed_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.ports()
    machine.move(visible=False)

    assert {"mlx5_0"} == machine.ports().keys()
    assert [("mlx5_1", "network namespace")] == [
        (u.device, u.what) for u in machine.agent.round().unread if u.what == "network namespace"
    ]


def test_a_device_that_is_gone_from_the_bus_was_not_moved(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    address = machine.ports()["mlx5_1"].raw.place.address
    machine.move(visible=False)
    driver = tmp_path / "sys/bus/pci/devices" / address
    if driver.is_symlink():
        driver.unlink()

    assert [] == [u for u in machine.agent.round().unread if u.what == "network namespace"]
