"""Whose cards are whose, by the names that a machine itself has for Slurm's jobs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporters.join.card_owners import known_hands, owners_of_cards
from exporters.join.pools import Pool
from exporters.model import Claim, JobKey, NodeKey, Sample, Scheduler
from tests.exporters import records

SLUID = "sEKNKTV3WPV500"


def claim(run: str) -> Claim:
    node = NodeKey(Scheduler.SLURM, "hpc1", "gn01")
    return Claim(JobKey(Scheduler.SLURM, "hpc1", run), run, node, 1000, 0, None, native_id="71")


def told(job: str, index: int) -> Sample:
    return Sample("gn01", f"GPU-{index}", index, "", {}, 0.0, hpc_jobs=(job,))


@pytest.mark.parametrize(
    ("run", "named"),
    [("71@1790812800", "71"), (SLUID, "71"), (SLUID, SLUID), (f"{SLUID}@1790812800", SLUID)],
    ids=["number", "number of a run with a SLUID", "SLUID", "SLUID of a run that was resized"],
)
def test_a_job_is_known_by_its_number_and_by_its_sluid(run: str, named: str) -> None:
    found = known_hands([claim(run)], [told("72", 0), told(named, 2)], [Pool("h100", 4000)])

    assert {0: {2: 1000}} == {i: dict(hand.cards) for i, hand in found.hands.items()}


@pytest.mark.parametrize("named", ["72", "sEKNKTV3WPV600", ""])
def test_another_jobs_card_is_not_its_own(named: str) -> None:
    found = known_hands([claim(SLUID)], [told(named, 2)], [Pool("h100", 4000)])

    assert {} == found.hands


def test_a_card_that_nobody_read_is_not_known_by_its_uuid() -> None:
    pod = records.pod("vllm", 2000)

    found = known_hands([replace(pod, uuids=("GPU-9", "MIG-1"))], [told("72", 0)], [Pool("h100", 4000)])

    assert {} == found.hands


def shares(claim: Claim, samples: list[Sample]) -> list[dict[str, int]]:
    """What each reading is of: milliGPU by pod."""
    nest = records.nested([claim])
    return [{c.native_id: n for c, n in use} for use in owners_of_cards([claim], nest, {}, samples)]


def labelled(index: int, uuid: str = "", instance: str = "", name: str = "a") -> Sample:
    return Sample(
        "gn01", uuid or f"GPU-{index}", index, "", {}, 0.0, mig_instance=instance, pods=(("vision", name, ""),)
    )


def test_replicas_on_two_cards_are_shared_out_between_their_readings() -> None:
    claim = records.pod("a", 501, profile="shared")

    assert [{"vision/a": 250}, {"vision/a": 250}, {}] == shares(
        claim, [labelled(0), labelled(1), labelled(2, name="b")]
    )


def test_a_cards_reading_is_a_slices_by_the_part_of_its_instances_that_lie_there() -> None:
    claim = records.pod("a", 426, profile="1g.10gb")
    instances = [labelled(0, instance="1"), labelled(0, instance="2"), labelled(1, instance="1")]
    cards = [labelled(0), replace(labelled(1), pods=()), replace(labelled(2), pods=())]

    found = shares(claim, [*instances, *cards])

    assert [{"vision/a": 142}] * 3 + [{"vision/a": 284}, {"vision/a": 142}, {}] == found


def test_a_claim_on_every_card_of_the_machine_needs_no_evidence() -> None:
    pools = [Pool("h100", 2000), Pool("a100", 1000)]

    found = known_hands([records.pod("all", 3000), records.pod("some", 2000)], [], pools)

    assert {0: {0: 1000, 1: 1000, 2: 1000}} == {i: dict(hand.cards) for i, hand in found.hands.items()}


def test_a_card_that_an_external_jobs_pod_has_is_the_pods_and_the_others_stay_the_jobs() -> None:
    job, pod = records.run(7, 3000), records.pod("solo", 1000, 0, None, records.bridged(7))
    cards = {0: (0, 1, 2), 1: (1,)}
    nest = records.nested([job, pod], cards=cards)

    found = owners_of_cards([job, pod], nest, cards, [labelled(n) for n in range(4)])

    assert ["7", "vision/solo", "7", ""] == [use[0][0].native_id if use else "" for use in found]


def test_a_card_that_a_pod_inside_a_job_has_is_the_jobs() -> None:
    job, pod = records.run(7, 2000), records.pod("solo", 1000, 0, None, records.made_by(7))
    cards = {0: (0, 1), 1: (1,)}

    found = owners_of_cards([job, pod], records.nested([job, pod], cards=cards), cards, [labelled(n) for n in range(2)])

    assert ["7", "7"] == [use[0][0].native_id for use in found]


def test_a_slurm_jobs_card_that_is_known_by_its_uuid_alone_has_no_number_of_its_node() -> None:
    by_uuid, by_index = (
        known_hands([claim("71@1")], [replace(told("71", index), uuid="GPU-x")], [Pool("h100", 4000)]).hands[0]
        for index in (-1, 2)
    )

    assert ({"GPU-x": 1000}, False) == (dict(by_uuid.cards), by_uuid.numbered)
    assert ({2: 1000}, True) == (dict(by_index.cards), by_index.numbered)


def test_a_card_is_a_pods_by_its_uid_or_by_its_name_and_an_instance_is_no_card() -> None:
    pod = records.pod("vllm", 1000)
    by_uid = Sample("gn01", "GPU-1", 1, "", {}, 0.0, pods=(("x", "y", pod.unit),))
    by_name = Sample("gn01", "GPU-2", 2, "", {}, 0.0, pods=(("vision", "vllm", "another"),))
    instance = Sample("gn01", "GPU-3", 3, "", {}, 0.0, mig_instance="7", pods=(("vision", "vllm", pod.unit),))
    pools = [Pool("h100", 4000)]

    assert [{1: 1000}, {2: 1000}] == [dict(known_hands([pod], [s], pools).hands[0].cards) for s in (by_uid, by_name)]
    assert {} == known_hands([pod], [instance], pools).hands


def test_a_reading_is_of_the_claim_that_has_its_device_by_uuid_or_its_pod_by_uid_or_name() -> None:
    claim = replace(records.pod("a", 500, profile="shared"), uuids=("GPU-0",))
    read = [
        replace(labelled(0), pods=()),
        replace(labelled(1), pods=(("x", "y", claim.unit),)),
        labelled(2),
        replace(labelled(3, uuid="GPU-9"), pods=(("x", "y", "z"),)),
    ]

    assert [{"vision/a": 166}] * 3 + [{}] == shares(claim, read)
