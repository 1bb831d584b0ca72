"""What the ports of a site say, through the exporter, under the shipped rules in true time: pages counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporters.fabric_model import Port, PortCounter, PortQuantity
from tests.e2e.virtual import VirtualSite, pages, whole

pytestmark = pytest.mark.server("prometheus")

Q = PortQuantity
BYTES, PACKETS, MARKED = PortCounter(Q.RECEIVE_BYTES), PortCounter(Q.RECEIVE_PACKETS), PortCounter(Q.CE_MARKED)
PAUSED, PAUSING = (PortCounter(q, ("3",)) for q in (Q.PAUSE_RECEIVED_SECONDS, Q.PAUSE_TRANSMITTED_SECONDS))
MACHINES = [f"gn{n:02}" for n in range(1, 9)]
RAILS = ("mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3")
STORAGE = "mlx5_4"


def site(role: str) -> VirtualSite:
    """A job on eight machines with four rails and a port to storage, which has this role."""
    found = VirtualSite(MACHINES, (*RAILS, STORAGE))
    found.hold(*whole(101, *MACHINES))
    found.ports = lambda machine, device: replace(
        Port(machine, device, "1"), role=role if device == STORAGE else "compute"
    )
    return found


@pytest.mark.parametrize("role", ["storage", "compute"])
def test_an_all_to_all_is_no_page_whether_its_port_to_storage_is_marked_as_one_or_not(role: str) -> None:
    job = site(role)
    healthy = {BYTES: 1e9, PACKETS: 5e6, MARKED: 0.0}
    job.rates = lambda _machine, device: healthy | ({MARKED: 1.5e6} if device != STORAGE else {})
    job.run(45)
    told = job.firing()

    assert set() == pages(told)
    assert {"RdmaJobCongestsItself"} == {f.name for fired in told.values() for f in fired}


def test_traffic_to_storage_pages_no_job() -> None:
    job = site("storage")
    loud = {BYTES: 1e9, PACKETS: 5e6, MARKED: 2e6, PAUSED: 0.6, PAUSING: 0.2}
    job.rates = lambda _machine, device: (
        loud if device == STORAGE else {BYTES: 1e9, PACKETS: 5e6, MARKED: 0.0, PAUSED: 0.0}
    )
    job.run(30)
    told = job.firing()

    assert set() == pages(told)
    assert set() == {f.labels.get("job_id", "") for fired in told.values() for f in fired} - {""}


def test_an_incast_onto_one_machine_is_a_page_for_each_of_its_ports() -> None:
    job = site("storage")
    healthy = {BYTES: 1e9, PACKETS: 5e6, MARKED: 0.0}
    job.rates = lambda machine, device: healthy | ({MARKED: 1.5e6} if (machine, device) == ("gn01", "mlx5_0") else {})
    job.run(30)

    assert {("RdmaCongestion", "101@900", "gn01", "mlx5_0")} == pages(job.firing())


def test_devices_that_a_pod_takes_into_its_namespace_are_no_lost_machine_and_no_lost_device() -> None:
    job = site("storage")
    job.rates = lambda _machine, _device: {BYTES: 1e9}
    job.hold()
    job.run(20)
    job.hold(*whole(101, *MACHINES))
    job.ports = lambda machine, device: None if machine == "gn03" else Port(machine, device, "1")
    job.run(20)

    assert set() == pages(job.firing())


def test_an_adapter_that_falls_off_the_bus_is_one_page() -> None:
    job = site("storage")
    job.rates = lambda _machine, _device: {BYTES: 1e9}
    job.run(20)
    before = job.ports
    job.ports = lambda machine, device: None if (machine, device) == ("gn03", "mlx5_1") else before(machine, device)
    job.run(20)

    assert {("RdmaDeviceLost", "101@900", "gn03", "mlx5_1")} == pages(job.firing())


def test_flaps_that_only_the_carrier_shows_are_told() -> None:
    job = site("storage")
    job.rates = lambda machine, device: {
        PortCounter(Q.LINK_DOWNED): 0.0,
        PortCounter(Q.CARRIER_LOST): 1 / 300 if (machine, device) == ("gn02", "mlx5_0") else 0.0,
    }
    job.run(40)
    told = job.firing()

    assert {("RdmaLinkFlapping", "gn02")} == {(f.name, f.labels["node"]) for fired in told.values() for f in fired}
