"""What the ports of a job say of it: who holds up whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from exporters.fabric_model import Port, PortCounter
from exporters.meters.fabric_diagnosis import Trend, Trends, suspects
from exporters.meters.fabric_state import PortState
from exporters.meters.port_counters import Increase
from tests.exporters import world as w
from tests.exporters.fabricsite import BYTES, PAUSED, PAUSING, Q, Rates, Site, whole


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


# -- at the thresholds ------------------------------------------------------------------------------------------------

JOB = w.slurm_job(18).key


def state(machine: str) -> PortState:
    return PortState(machine, Port(machine, "mlx5_0", "1"), True, 5e10, (JOB,), (machine, "mlx5_0", "1"))


def judged(*ports: tuple[float, float]) -> str:
    """The role of each machine of a job, of which the ports were paused and have paused for these shares of time."""
    states = [state(f"gn{n:02}") for n in range(len(ports))]
    trends = {s.labels: Trend(paused, pausing) for s, (paused, pausing) in zip(states, ports, strict=True)}
    found = {s.state.machine: s.role[0] for s in suspects(states, trends, {JOB: [s.machine for s in states]})}
    return "".join(found.get(s.machine, "-") for s in states)


@pytest.mark.parametrize(
    ("ports", "roles"),
    [
        ([(0.05, 0.0), (0.0, 0.01)], "vs"),
        ([(0.0499, 0.0), (0.0, 0.01)], "--"),  # nobody is held up
        ([(0.05, 0.0), (0.0, 0.0099)], "v-"),  # and nobody of the job does it
        ([(0.05, 0.01), (0.05, 0.0)], "sv"),  # who pauses others is no victim
        ([(0.05, 0.01), (0.0, 0.0)], "--"),  # and not his own
        ([(0.05, 0.0)] * 6 + [(0.0, 0.01)] * 2, "vvvvvvss"),  # a quarter pauses
        ([(0.05, 0.0)] * 5 + [(0.0, 0.01)] * 3, "--------"),  # more of them only exchange data
        ([(0.05, 0.0)] * 4 + [(0.0, 0.01)] * 2, "------"),
        ([(0.05, math.nan), (math.nan, 0.01)], "vs"),
    ],
)
def test_who_holds_up_whom_at_the_thresholds(ports: Sequence[tuple[float, float]], roles: str) -> None:
    assert roles == judged(*ports)


def test_a_trend_adds_up_priorities_follows_them_in_a_minute_and_never_exceeds_the_whole_time() -> None:
    counters = [PAUSED, PAUSING, PortCounter(Q.PAUSE_RECEIVED_SECONDS, ("4",)), BYTES]
    states, trends = [state("gn01"), state("gn02")], Trends(gap=60.0)
    amounts = np.array([[6.0, 3.0, 6.0, 6e9], [60.0, 0.0, 60.0, 0.0]])
    rows, new = np.arange(2), np.ones(2, dtype=bool)

    found = trends.step(states, counters, Increase(rows, amounts, np.full(2, 60.0), rows, new))
    missed = trends.step(states, counters, Increase(rows, amounts, np.full(2, 60.1), rows, new))

    follows = 1.0 - math.exp(-1.0)
    first, second = (found[s.labels] for s in states)
    assert pytest.approx((0.2 * follows, 0.05 * follows)) == (first.paused, first.pausing)
    assert pytest.approx(follows) == second.paused
    assert found == missed
