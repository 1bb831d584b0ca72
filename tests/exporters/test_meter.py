"""Integration of readings into counters: rates, counters, resets, gaps and cards that change hands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.join.attribution import attribute
from exporters.join.holdings import holdings
from exporters.join.machines import machines_of
from exporters.join.projects import UNMAPPED
from exporters.join.site_picture import Device, Devices, Picture, Reading
from exporters.meters.meter import Meter
from exporters.meters.use import NUMBERS, TELEMETRY, Totals, Use, Uses
from exporters.model import Claim, Field, Sample
from tests.exporters import world as w

JOB = w.slurm_job(18)
OTHER = w.slurm_job(19)


def picture(at: float, claims: list[Claim], samples: tuple[Sample, ...]) -> Picture:
    nodes = [w.slurm_node("gn01")]
    readings = [Reading(w.SLURM, "lab", True, (), claims, nodes), Reading(None, "", True, samples=samples)]
    return attribute(readings, machines_of(nodes, claims), {}, grace=60, now=at)


def run(*rounds: tuple[float, list[Claim], dict[Field, float] | None]) -> Meter:
    """A meter that has seen these rounds; None = the round has no readings."""
    meter = Meter(gap=45, linger=300)
    for at, claims, values in rounds:
        samples = () if values is None else w.samples("gn01", at, values)
        meter.step(picture(at, claims, samples), {JOB.key: "p", OTHER.key: "p"})
    return meter


def use(meter: Meter) -> Use:
    return meter.jobs[JOB.key]


def test_held_time_counts_from_the_start_of_the_record_not_from_the_first_look() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 2000, (0, 1), start=1000)]

    meter = run((1600.0, claims, None), (1615.0, claims, None))

    assert 2 * 615 == use(meter).gpu_seconds


def test_a_ratio_is_integrated_over_the_cards_held() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 2000, (0, 1), start=1000)]

    meter = run((1000.0, claims, {Field.ENGINE_ACTIVE: 0.5}), (1015.0, claims, {Field.ENGINE_ACTIVE: 0.5}))

    assert pytest.approx(2 * 15 * 0.5) == use(meter).active_seconds
    assert pytest.approx(30.0) == use(meter).observed_seconds


def test_energy_is_the_difference_of_the_counter_and_a_reset_falls_back_to_power() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 1000, (0,), start=1000)]

    meter = run(
        (1000.0, claims, {Field.ENERGY: 5000.0, Field.POWER: 100.0}),
        (1015.0, claims, {Field.ENERGY: 7000.0, Field.POWER: 100.0}),
        (1030.0, claims, {Field.ENERGY: 10.0, Field.POWER: 100.0}),
    )

    assert pytest.approx(2000.0 + 15 * 100.0) == use(meter).energy_joules


def test_a_card_that_changes_hands_gives_the_new_job_only_its_own_time() -> None:
    first = [w.slurm_claim(JOB, "gn01", 1000, (0,), start=1000)]
    second = [w.slurm_claim(OTHER, "gn01", 1000, (0,), start=1010)]

    meter = run(
        (1000.0, first, {Field.ENERGY: 0.0, Field.POWER: 100.0}),
        (1015.0, second, {Field.ENERGY: 9000.0, Field.POWER: 100.0}),
    )

    assert pytest.approx(5 * 100.0) == meter.jobs[OTHER.key].energy_joules


def test_a_gap_is_not_zero_use_it_is_missing_readings() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 1000, (0,), start=1000)]
    busy = {Field.ENGINE_ACTIVE: 1.0}

    meter = run((1000.0, claims, busy), (1015.0, claims, None), (1100.0, claims, busy), (1115.0, claims, busy))

    assert 115 == use(meter).gpu_seconds
    assert pytest.approx(15.0) == use(meter).observed_seconds
    assert (3, 4) == (use(meter).samples_seen, use(meter).samples_expected)


@pytest.mark.parametrize(("apart", "observed"), [(45.0, 45.0), (45.5, 0.0)], ids=["at the border", "beyond"])
def test_an_interval_as_long_as_a_gap_is_still_believed_and_a_longer_one_is_not(apart: float, observed: float) -> None:
    claims = [w.slurm_claim(JOB, "gn01", 1000, (0,), start=1000)]
    busy = {Field.ENGINE_ACTIVE: 1.0, Field.POWER: 100.0}

    meter = run((1000.0, claims, busy), (1000.0 + apart, claims, busy))

    assert observed == use(meter).observed_seconds
    assert observed == use(meter).active_seconds
    assert 100.0 * observed == use(meter).energy_joules
    assert apart == use(meter).gpu_seconds


def test_a_counter_bridges_a_gap() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 1000, (0,), start=1000)]

    meter = run((1000.0, claims, {Field.ENERGY: 0.0}), (9000.0, claims, {Field.ENERGY: 7000.0}))

    assert 7000.0 == use(meter).energy_joules


def test_a_source_that_was_not_read_again_leaves_its_cards_counters_and_owners_as_they_were() -> None:
    first, second = (w.slurm_claim(job, "gn01", 1000, (n,), start=1000) for n, job in enumerate((JOB, OTHER)))
    last = w.slurm_claim(w.slurm_job(20), "gn01", 1000, (1,), start=1006)
    meter = Meter(gap=45, linger=300)
    joules = {at: w.samples("gn01", at, {Field.ENERGY: at, Field.POWER: 1e6}, count=2) for at in (1000.0, 1015.0)}
    rounds = [(1000.0, 1000.0, second), (1007.0, 1000.0, last), (1015.0, 1015.0, second)]
    projects = dict.fromkeys((JOB.key, OTHER.key, last.job), "p")
    for at, read, other in rounds:
        meter.step(picture(at, [first, other], joules[read]), projects)

    assert {JOB.key: 15.0, OTHER.key: 15.0} == {
        key: use.energy_joules for key, use in meter.jobs.items() if use.measured
    }


def test_cards_of_which_only_the_owner_is_told_are_in_nobody_elses_way() -> None:
    told, read = (
        w.slurm_claim(OTHER, "aa01", 1000, (0,), start=1000),
        w.slurm_claim(JOB, "gn01", 1000, (0,), start=1000),
    )
    meter = Meter(gap=45, linger=300)
    for at in (1000.0, 1015.0, 1030.0):
        samples = (*w.samples("aa01", at, {}, count=3), *w.samples("gn01", at, {Field.ENERGY: at}, count=1))
        nodes = [w.slurm_node("aa01"), w.slurm_node("gn01")]
        readings = [Reading(w.SLURM, "lab", True, (), [told, read], nodes), Reading(None, "", True, samples=samples)]
        machines = machines_of(nodes, [])
        meter.step(attribute(readings, machines, {}, grace=60, now=at), {JOB.key: "p", OTHER.key: "p"})

    assert 30.0 == use(meter).energy_joules
    assert 0 == meter.jobs[OTHER.key].samples_seen


def test_the_same_reading_twice_is_counted_once() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 1000, (0,), start=1000)]
    meter = Meter(gap=45, linger=300)
    reading = w.samples("gn01", 1000.0, {Field.POWER: 100.0})

    for at in (1000.0, 1005.0, 1010.0):
        meter.step(picture(at, claims, reading), {JOB.key: "p"})

    assert 1 == use(meter).samples_seen


def test_an_ended_job_stays_for_its_linger_and_then_goes_while_its_project_stays() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 1000, (0,), start=1000)]

    soon = run((1000.0, claims, None), (1015.0, claims, None), (1200.0, [], None))
    late = run((1000.0, claims, None), (1015.0, claims, None), (1400.0, [], None))

    assert JOB.key in soon.jobs
    assert {} == late.jobs
    assert 15 == late.projects["slurm", "lab", "p"].gpu_seconds


def test_a_field_that_no_reading_told_is_not_measured() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 1000, (0,), start=1000)]

    meter = run((1000.0, claims, {Field.ENGINE_ACTIVE: 0.0}), (1015.0, claims, {Field.ENGINE_ACTIVE: 0.0}))

    assert {"active_seconds"} == use(meter).measured


def test_the_recorder_is_told_the_same_that_the_counters_add_up() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 2000, (0, 1), start=1000)]
    meter = Meter(gap=45, linger=300)
    told = []
    for at in (1000.0, 1015.0, 1030.0):
        told += meter.step(picture(at, claims, w.samples("gn01", at, {Field.POWER: 250.0})), {JOB.key: UNMAPPED})

    assert pytest.approx(use(meter).energy_joules) == sum(t.energy_joules for t in told)
    assert use(meter).samples_expected == sum(t.samples_expected for t in told)


def test_holdings_name_each_card_by_index_and_uuid() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 2000, (2, 3), start=1000)]

    found = holdings(picture(1000.0, claims, w.samples("gn01", 1000.0, {})))

    assert [(2, "GPU-gn01-2"), (3, "GPU-gn01-3")] == [(h.index, h.uuid) for h in found]


def share_of(milligpu: int, profile: str, *readings: Sample) -> list[tuple[int, int]]:
    """The holdings of a claim on parts of cards: index and milliGPU."""
    claim = w.pod_claim(w.pod_job("mig"), "gn07", milligpu, pod="mig-0", profile=profile)
    nodes = [w.kube_node("gn07", 2000)]
    told = [Reading(w.KUBE, "k1", True, (), [claim], nodes), Reading(None, "", True, samples=readings)]
    found = holdings(attribute(told, machines_of(nodes, [claim]), {}, grace=60, now=1000.0))
    return [(h.index, h.milligpu) for h in found]


def test_a_share_of_which_only_instances_are_read_is_held_by_them() -> None:
    pods = (("llm", "mig-0", ""),)
    readings = [
        Sample("gn07", f"GPU-{n}", n, "NVIDIA A100", {Field.ENGINE_ACTIVE: 1.0}, 1000.0, "1g.10gb", i, pods)
        for n, i in ((1, "7"), (0, "7"), (1, "8"))
    ]

    assert [(0, 142), (1, 284)] == share_of(426, "1g.10gb", *readings)


def test_a_share_too_small_to_be_divided_is_held_nowhere_and_breaks_nothing() -> None:
    readings = w.samples("gn07", 1000.0, {Field.POWER: 1.0}, 2, dict.fromkeys(range(2), (("llm", "mig-0", ""),)))

    assert [] == share_of(1, "shared", *readings)


def test_a_card_that_nobody_read_is_named_by_its_index_alone() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 2000, (2, 9), start=1000)]

    found = picture(1000.0, claims, w.samples("gn01", 1000.0, {Field.POWER: 1.0}))

    assert [("gn01", "2", "GPU-gn01-2"), ("gn01", "9", "")] == [row[3:6] for row in found.card_rows]


@pytest.mark.parametrize(
    ("names", "labels", "unique", "every"),
    [
        ([("m", "GPU-b", "", 1), ("m", "GPU-a", "", 0)], [("m", "0", "GPU-a"), ("m", "1", "GPU-b")], True, True),
        ([("m", "GPU-a", "7", 0), ("m", "GPU-a", "", 0)], [("m", "0", "GPU-a")], True, False),
        ([("m", "GPU-a", "", -1), ("m", "GPU-a", "", -1)], [("m", "", "GPU-a")] * 2, False, True),
        ([], [], True, True),
    ],
)
def test_the_whole_cards_of_a_picture(
    names: list[Device], labels: list[tuple[str, ...]], unique: bool, every: bool
) -> None:
    found = Devices(tuple(names)).whole_cards

    assert (labels, unique, every) == (list(found.labels), found.unique, found.every)
    assert [names[n][1] for n in found.devices] == [label[2] for label in labels]


def test_a_claim_partly_in_dispute_holds_each_of_its_cards_once() -> None:
    pod = w.pod_job("web")
    claims = [
        w.slurm_claim(JOB, "gn01", 2000, (2, 3), start=1000),
        w.pod_claim(pod, "gn01", 2000, start=1001, uuids=("GPU-gn01-3", "GPU-gn01-4")),
    ]
    readings = [
        Reading(w.SLURM, "lab", True, (), claims[:1], [w.slurm_node("gn01")]),
        Reading(w.KUBE, "k1", True, (), claims[1:], [w.kube_node("gn01")]),
        Reading(None, "", True, samples=w.samples("gn01", 1001.0, {}, jobs={2: ("18",), 3: ("18",)})),
    ]
    machines = machines_of([n for r in readings for n in r.nodes], claims)

    found = holdings(attribute(readings, machines, {}, grace=60, now=1001.0))

    assert [(2, 1000), (3, 1000), (3, 1000), (4, 1000)] == [(h.index, h.milligpu) for h in found]


def test_a_claim_on_slices_holds_its_part_of_each_card() -> None:
    pod = w.pod_job("mig")
    claim = w.pod_claim(pod, "gn07", 427, pod="mig-0", profile="1g.10gb")
    other = tuple(replace(s, uuid="GPU-8", index=1) for s in mig(1000.0, "mig-0")[:2])
    readings = [
        Reading(w.KUBE, "k1", True, (), [claim], [w.kube_node("gn07", 2000)]),
        Reading(None, "", True, samples=(*mig(1000.0, "mig-0"), *other)),
    ]
    machines = machines_of(readings[0].nodes, [claim])

    found = holdings(attribute(readings, machines, {}, grace=60, now=1000.0))

    assert [(0, "GPU-7", 285), (1, "GPU-8", 142)] == [(h.index, h.uuid, h.milligpu) for h in found]


def mig(at: float, pod: str) -> tuple[Sample, ...]:
    """A card cut in seven, as dcgm-exporter tells it: what it drew once, what was done by instance."""
    card = Sample("gn07", "GPU-7", 0, "NVIDIA H100", {Field.POWER: 700.0}, at)
    used = {Field.ENGINE_ACTIVE: 1.0, Field.MEMORY_USED: 1e9}
    instances = [
        Sample(
            "gn07",
            "GPU-7",
            0,
            "NVIDIA H100",
            used,
            at,
            mig_profile="1g.10gb",
            mig_instance=str(i),
            pods=(("llm", pod, ""),) if i < 2 else (),
        )
        for i in range(7)
    ]
    return (card, *instances)


def test_a_mig_claim_pays_for_its_part_of_what_the_card_drew_and_for_what_its_instances_did() -> None:
    pod = w.pod_job("mig")
    claim = w.pod_claim(pod, "gn07", 284, pod="mig-0", profile="1g.10gb")
    meter = Meter(gap=45, linger=300)
    for at in (1000.0, 1015.0):
        readings = [
            Reading(w.KUBE, "k1", True, (), [claim], [w.kube_node("gn07", 1000)]),
            Reading(None, "", True, samples=mig(at, "mig-0")),
        ]
        machines = machines_of(readings[0].nodes, [claim])
        meter.step(attribute(readings, machines, {}, grace=60, now=at), {pod.key: "p"})
    found = meter.jobs[pod.key]

    assert pytest.approx(15 * 700.0 * 0.284) == found.energy_joules
    assert pytest.approx(15 * 0.284) == found.active_seconds
    assert pytest.approx(15 * 0.284) == found.observed_seconds
    assert (2, 2) == (found.samples_seen, found.samples_expected)


def test_a_card_that_is_numbered_anew_is_the_same_card() -> None:
    claims = [w.slurm_claim(JOB, "gn01", 2000, (0, 1), start=1000)]
    meter = Meter(gap=45, linger=300)
    first, second = (
        w.samples("gn01", at, {Field.ENERGY: joules}, count=2) for at, joules in ((1000.0, 5e6), (1015.0, 6e6))
    )
    meter.step(picture(1000.0, claims, first), {JOB.key: "p"})
    meter.step(picture(1015.0, claims, tuple(replace(s, index=1 - s.index) for s in second)), {JOB.key: "p"})

    assert pytest.approx(2e6) == use(meter).energy_joules


def test_who_holds_and_who_is_final_follow_every_round() -> None:
    first, second = (w.slurm_claim(job, "gn01", 1000, (n,), start=1000) for n, job in enumerate((JOB, OTHER)))
    meter = Meter(gap=45, linger=300)
    told = []
    for at, claims in ((1000.0, [first, second]), (1015.0, [first]), (1030.0, [first]), (1045.0, [second])):
        meter.step(picture(at, claims, ()), {JOB.key: "p", OTHER.key: "p"})
        told.append(([key.id for key in meter.holding()], [key.id for key in meter.final()]))

    one, other = JOB.key.id, OTHER.key.id
    assert [([one, other], []), ([one], [other]), ([one], [other]), ([other], [one])] == told


def test_a_new_key_in_the_place_of_one_that_is_forgotten_begins_at_nothing() -> None:
    totals: Totals[tuple[str]] = Totals()
    for key in ("a", "b"):
        rows = totals.rows([(key,)])
        totals.add(rows, Uses(np.full((1, len(NUMBERS)), 7.0), np.ones((1, len(TELEMETRY)), dtype=bool)))
        assert (7.0, set(TELEMETRY)) == (totals[key,].gpu_seconds, totals[key,].measured)
        totals.forget([(key,)])

    assert [0.0] == totals.column(totals.rows([("c",)]), "gpu_seconds")[0].tolist()
    assert set() == totals["c",].measured
    assert [("c",)] == list(totals.in_order().keys)


def keys(letters: str) -> list[tuple[str]]:
    return [(letter,) for letter in letters]


def test_totals_stay_in_order_as_keys_come_and_go() -> None:
    totals: Totals[tuple[str]] = Totals()
    totals.rows(keys("mcx"))
    first = totals.in_order()
    totals.rows(keys("cx"))

    assert keys("cmx") == first.keys
    assert totals.in_order() is first
    totals.forget(keys("c"))
    totals.rows(keys("za"))
    totals.forget(keys("zx"))
    totals.rows(keys("xz"))
    second = totals.in_order()
    assert keys("amxz") == second.keys == sorted(totals)
    assert totals.rows(second.keys).tolist() == second.rows.tolist()
    assert first.keys[1] is second.keys[1]
    totals.move(("m",), ("b",))
    assert keys("abxz") == totals.in_order().keys


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(keys("abcdefg"))), max_size=30), st.integers(1, 4))
def test_totals_are_in_the_order_of_their_keys(changes: list[tuple[bool, tuple[str]]], every: int) -> None:
    totals: Totals[tuple[str]] = Totals()
    for n, (come, key) in enumerate(changes):
        if come:
            totals.rows([key])
        elif key in totals:
            totals.forget([key])
        if n % every == 0:
            found = totals.in_order()

            assert sorted(totals) == list(found.keys)
            assert totals.rows(found.keys).tolist() == found.rows.tolist()


def test_totals_say_which_keys_were_not_seen_for_long() -> None:
    totals: Totals[tuple[str]] = Totals()
    totals.see(totals.rows(keys("ab")), 100.0)
    totals.see(totals.rows(keys("b")), 115.0)
    totals.rows([("never",)])

    assert (keys("a"), []) == (totals.unseen(131.0, 30.0), totals.unseen(130.0, 30.0))
    totals.forget(keys("a"))
    assert [] == totals.unseen(131.0, 30.0)
    assert np.isnan(totals.seen(totals.rows(keys("a")))).all()
