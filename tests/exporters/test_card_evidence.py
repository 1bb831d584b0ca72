"""Which card a job is on: stronger evidence wins, and Slurm's numbers are not NVML's indices."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.join.attribution import attribute
from exporters.join.card_owners import Known, known_hands
from exporters.join.cards import CardBasis
from exporters.join.holdings import holdings
from exporters.join.machines import machines_of
from exporters.join.pools import Pool
from exporters.join.site_picture import Picture, Reading
from exporters.model import Claim, Disposition, Field, Sample
from tests.exporters import world as w

CARDS = 8
POOLS = [Pool("h100", 1000 * CARDS)]


def read(index: int, **more: object) -> Sample:
    return Sample("gn01", f"GPU-{index}", index, "h100", {}, 1.0, **more)  # type: ignore[arg-type]


def job(number: int, *indices: int, cards: int = 0) -> Claim:
    return w.slurm_claim(w.slurm_job(number), "gn01", 1000 * (cards or len(indices)), indices)


def known(claims: list[Claim], *samples: Sample) -> dict[int, tuple[list[object], CardBasis | None]]:
    found: Known = known_hands(claims, samples, POOLS)
    return {i: (list(hand.cards), hand.basis) for i, hand in found.hands.items()}


def test_evidence_is_taken_by_its_strength() -> None:
    plain = [read(n) for n in range(CARDS)]
    labelled = [replace(s, hpc_jobs=("1",) if s.index == 6 else ()) for s in plain]
    mapped = [replace(s, minor={5: 0, 0: 5}.get(s.index, s.index)) for s in plain]
    both = [replace(s, minor=m.minor) for s, m in zip(labelled, mapped, strict=True)]
    told = replace(job(1, 0), uuids=("GPU-7",))

    assert {0: ([0], CardBasis.ASSUMED)} == known([job(1, 0)], *plain)
    assert {0: ([5], CardBasis.MINOR)} == known([job(1, 0)], *mapped)
    assert {0: ([6], CardBasis.LABEL)} == known([job(1, 0)], *both)
    assert {0: ([7], CardBasis.UUID)} == known([told], *both)
    assert {0: (list(range(8)), CardBasis.ALL)} == known([job(1, *range(8))], *mapped)


def test_slurms_number_for_a_card_of_amds_is_the_card_that_a_pod_names_by_its_pci_address() -> None:
    """The node agent tells both of cards that nobody reads: numbers follow render nodes, not addresses."""
    addresses = ["0000:26:00.0", "0000:05:00.0"]
    samples = [Sample("gn01", address, -1, "", {}, 1.0, minor=n) for n, address in enumerate(addresses)]
    pod = w.pod_claim(w.pod_job("a"), "gn01", 1000, uuids=("0000:26:00.0",))

    assert {
        0: (["0000:05:00.0"], CardBasis.MINOR),
        1: (["0000:26:00.0"], CardBasis.UUID),
    } == known([job(1, 1), pod], *samples)


def test_weaker_evidence_that_tells_more_is_taken_where_it_agrees() -> None:
    samples = [read(n, hpc_jobs=("1",) if n == 2 else ()) for n in range(CARDS)]

    assert {0: ([2, 3], CardBasis.ASSUMED)} == known([job(1, 2, 3)], *samples)
    assert {0: ([2], CardBasis.LABEL)} == known([job(1, 4, 5)], *samples)


def test_what_is_assumed_never_contradicts_what_is_known() -> None:
    """A pod is known to be on card 0, and a Slurm job's own number for its card is 0: they may be two cards."""
    pod = w.pod_claim(w.pod_job("vllm"), "gn01", 1000)
    samples = [read(n, pods=(("llm", "vllm-0", ""),) if n == 0 else ()) for n in range(CARDS)]

    found = known_hands([job(1, 0), pod], samples, POOLS)

    assert ({1}, True) == (set(found.hands), found.unequal)


def test_one_job_on_another_card_than_its_number_says_refutes_the_numbers_of_all() -> None:
    samples = [read(n, hpc_jobs=("1",) if n == 6 else ()) for n in range(CARDS)]

    assert {0: ([6], CardBasis.LABEL)} == known([job(1, 0), job(2, 3)], *samples)


@given(st.permutations(range(CARDS)), st.data())
def test_permuted_indices_never_put_a_job_on_anothers_card(order: list[int], data: st.DataObject) -> None:
    """The truth is drawn: card ``order[minor]`` is NVML's index of /dev/nvidia<minor>, and some cards are labelled or
    mapped. Whatever is told of it, a job is said to be on its own cards or on none, and nobody is in dispute."""
    minors = data.draw(st.permutations(range(CARDS)))
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=3))
    held, at = {}, 0
    for number, size in enumerate(sizes, start=1):
        held[number], at = minors[at : at + size], at + size
    owner = {order[minor]: number for number, mine in held.items() for minor in mine}
    apart = [number for number, mine in held.items() if set(mine) != {order[m] for m in mine}]
    labelled = data.draw(st.sets(st.sampled_from(sorted(owner))))
    agent = data.draw(st.booleans())
    if apart and not agent:  # without any evidence that the numbers differ, they are taken for equal
        seen = data.draw(st.sampled_from(apart))
        labelled |= {index for index, number in owner.items() if number == seen}
    samples = [
        replace(
            w.samples("gn01", 2.0, {})[i], hpc_jobs=(str(owner[i]),) if i in labelled else (), minor=m if agent else -1
        )
        for m, i in enumerate(order)
    ]
    claims = [job(number, *mine) for number, mine in held.items()]

    picture = join(claims, samples)

    assert {Disposition.CHARGED} == {h.disposition for h in picture.held}
    for h in picture.held:
        truth = {order[m] for m in held[int(h.claim.native_id)]}
        assert truth & labelled <= set(h.cards) <= truth
        assert not agent or set(h.cards) == truth, "the agent maps every number"


def join(claims: list[Claim], samples: list[Sample]) -> Picture:
    nodes = [w.slurm_node("gn01"), w.kube_node("gn01")]
    readings = [Reading(w.SLURM, "lab", True, (), claims, nodes), Reading(None, "", True, samples=samples)]
    return attribute(readings, machines_of(nodes, claims), {}, grace=60, now=2000.0)


@pytest.mark.parametrize(("minor", "expected"), [(-1, {-1}), (0, {0})])
def test_on_a_machine_with_other_numbers_a_holding_tells_slurms_or_none(minor: int, expected: set[int]) -> None:
    samples = list(w.samples("gn01", 2.0, {}, jobs={6: ("1",)}))
    samples[6] = replace(samples[6], minor=minor)

    found = [h for h in holdings(join([job(1, 0)], samples)) if h.job == w.slurm_job(1).key]

    assert expected == {h.index for h in found}
    assert {"GPU-gn01-6"} == {h.uuid for h in found}


def test_where_nothing_speaks_against_it_a_holding_tells_the_index() -> None:
    assert [(3, "GPU-gn01-3")] == [
        (h.index, h.uuid) for h in holdings(join([job(1, 3)], list(w.samples("gn01", 2.0, {}))))
    ]


def test_cards_of_a_machine_that_no_scheduler_has_are_named_and_counted() -> None:
    lost = [replace(s, host="pod-abc") for s in w.samples("x", 2.0, {Field.POWER: 300.0}, 2)]

    picture = join([], [*w.samples("gn01", 2.0, {Field.POWER: 300.0}), *lost])

    assert {"pod-abc": 2} == picture.strays
