"""What the ports of a job say of it: who holds up whom, and who has gone silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from exporters.model import Field
from tests.exporters.fabricsite import BYTES, PAUSED, PAUSING, SPINNING, WORKING, Rates, Site, whole


@pytest.fixture
def site() -> Site:
    return Site()


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
