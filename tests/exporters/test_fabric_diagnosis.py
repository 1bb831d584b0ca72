"""What the ports of a job say of it: who holds up whom, and who has gone silent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from exporters.fabric_model import Port, PortCounter
from exporters.meters.fabric_diagnosis import Activity, Stalls, Trend, Trends, activity, suspects
from exporters.meters.fabric_state import PortState
from exporters.meters.port_counters import Increase
from exporters.model import Field, JobKey, Snapshot
from tests.exporters import world as w
from tests.exporters.fabricsite import BYTES, PAUSED, PAUSING, SPINNING, WORKING, Q, Rates, Site, whole


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


# -- at the thresholds ------------------------------------------------------------------------------------------------

JOB = w.slurm_job(18).key


def state(machine: str) -> PortState:
    return PortState(machine, Port(machine, "mlx5_0", "1"), True, 5e10, (JOB,), (machine, "mlx5_0", "1"))


def judged(*ports: tuple[float, float]) -> str:
    """The role of each machine of a job, of which the ports were paused and have paused for these shares of time."""
    states = [state(f"gn{n:02}") for n in range(len(ports))]
    trends = {s.labels: Trend(paused, pausing, 0.0) for s, (paused, pausing) in zip(states, ports, strict=True)}
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


def silence(rates: Sequence[float], engine: float, tensor: float, seconds: float = 15.0) -> float | None:
    """How long a job that talked is silent after one more step, of a gap of 45 s."""
    states = [state(f"gn{n:02}") for n in range(len(rates))]
    places = frozenset(s.machine for s in states)
    stalls, working = Stalls(45.0), {JOB: Activity(engine, tensor, places)}
    for at, now in ((0.0, [1e7] * len(rates)), (seconds, rates)):
        trends = {s.labels: Trend(0.0, 0.0, rate) for s, rate in zip(states, now, strict=True)}
        found = stalls.step(at, states, trends, {JOB: places}, working)
    return found.get(JOB)


@pytest.mark.parametrize(
    ("rates", "engine", "tensor", "seconds", "expected"),
    [
        ([1e6 - 1, 0.0], 0.5, 0.02, 15.0, 15.0),
        ([1e6, 0.0], 0.5, 0.02, 15.0, 0.0),
        ([0.0, 0.0], 0.4999, 0.02, 15.0, 0.0),
        ([0.0, 0.0], 0.5, 0.0201, 15.0, 0.0),
        ([0.0, 0.0], 1.0, 0.0, 45.0, 45.0),
        ([0.0, 0.0], 1.0, 0.0, 45.1, 0.0),  # nobody watched
        ([0.0, 0.0], 1.0, 0.0, -1.0, 0.0),  # the clock was set back
        ([0.0, math.nan], 1.0, 0.0, 15.0, None),  # one machine was not read
        ([0.0], 1.0, 0.0, 15.0, None),  # on one machine
    ],
)
def test_silence_at_the_thresholds(
    rates: Sequence[float], engine: float, tensor: float, seconds: float, expected: float | None
) -> None:
    assert expected == silence(rates, engine, tensor, seconds)


@pytest.mark.parametrize(("rate", "told"), [(1e7, True), (1e7 - 1, False)])
def test_a_job_has_talked_once_its_ports_reached_the_rate_on_average(rate: float, told: bool) -> None:
    states, places = [state("gn01"), state("gn02")], frozenset({"gn01", "gn02"})
    trends = {s.labels: Trend(0.0, 0.0, r) for s, r in zip(states, (rate + 5e6, rate - 5e6), strict=True)}

    found = Stalls(45.0).step(0.0, states, trends, {JOB: places}, {JOB: Activity(1.0, 0.0, places)})

    assert told is (JOB in found)


def test_a_trend_adds_up_priorities_follows_them_in_a_minute_and_never_exceeds_the_whole_time() -> None:
    counters = [PAUSED, PAUSING, PortCounter(Q.PAUSE_RECEIVED_SECONDS, ("4",)), BYTES]
    states, trends = [state("gn01"), state("gn02")], Trends(gap=60.0)
    amounts = np.array([[6.0, 3.0, 6.0, 6e9], [60.0, 0.0, 60.0, 0.0]])
    rows, new = np.arange(2), np.ones(2, dtype=bool)

    found = trends.step(states, counters, Increase(rows, amounts, np.full(2, 60.0), rows, new))
    missed = trends.step(states, counters, Increase(rows, amounts, np.full(2, 60.1), rows, new))

    follows = 1.0 - math.exp(-1.0)
    first, second = (found[s.labels] for s in states)
    assert pytest.approx((0.2 * follows, 0.05 * follows, 1e8)) == (first.paused, first.pausing, first.rate)
    assert pytest.approx(follows) == second.paused
    assert found == missed


def test_what_a_job_does_is_the_mean_of_its_cards_that_tell_both() -> None:
    site = Site(["gn01", "gn02"])
    site.run(*whole(18, "gn01", milligpu=4000))
    held = tuple(replace(c, indices=(0, 1, 2, 3)) for c in site.slurm.says.claims)
    site.slurm.says = replace(site.slurm.says, claims=held)
    values: list[dict[Field, float]] = [
        {Field.ENGINE_ACTIVE: 0.9, Field.UTILIZATION: 0.1, Field.TENSOR_ACTIVE: 0.5},
        {Field.UTILIZATION: 0.5, Field.TENSOR_ACTIVE: 0.1},
        {Field.ENGINE_ACTIVE: 0.0},
        {Field.TENSOR_ACTIVE: 0.9},
    ]
    cards = w.samples("gn01", 2015.0, {}, count=4)
    site.dcgm.says = Snapshot(0, samples=tuple(replace(s, values=v) for s, v in zip(cards, values, strict=True)))
    site.step()
    view = site.collector.view()
    assert view is not None

    assert {JOB: Activity(pytest.approx(0.7), pytest.approx(0.3), frozenset({"gn01"}))} == activity(view.picture)


def test_silence_is_told_only_where_every_machine_tells_what_its_cards_do() -> None:
    states, places = [state("gn01"), state("gn02")], frozenset({"gn01", "gn02"})
    stalls = Stalls(45.0)

    def step(at: float, rate: float, *machines: str) -> dict[JobKey, float]:
        trends = {s.labels: Trend(0.0, 0.0, rate) for s in states}
        working = {JOB: Activity(1.0, 0.0, frozenset(machines))} if machines else {}
        return stalls.step(at, states, trends, {JOB: places}, working)

    assert {} == step(0.0, 1e7)  # it talks, and nobody tells what it does
    assert {} == step(15.0, 0.0, "gn01")
    assert {JOB: 15.0} == step(30.0, 0.0, "gn01", "gn02")
    assert {} == step(45.0, 0.0, "gn02")
    assert {JOB: 30.0} == step(60.0, 0.0, "gn01", "gn02")
