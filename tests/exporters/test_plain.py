"""The plain case of a machine: what is said of it is what the rules for all cases say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporters.join import attribution
from exporters.join.attribution import attribute
from exporters.join.machines import machines_of
from exporters.join.plain import plain_cards
from exporters.join.site_picture import Picture, Reading
from exporters.model import Claim, Node, Sample
from tests.exporters import world as w

JOB = w.slurm_job(18)
CARDS = w.samples("gn01", 2000.0, {})


@st.composite
def machines(draw: st.DrawFn) -> list[Claim]:
    """Claims that name cards of their own, and then, mostly, one of them with something odd."""
    cards = draw(st.permutations(range(10)))
    held = []
    for n, count in enumerate(draw(st.lists(st.integers(1, 3), max_size=4))):
        job = draw(st.sampled_from([w.slurm_job(n), w.pod_job(f"p{n}")]))
        mine, cards = tuple(cards[:count]), cards[count:]
        claim = w.slurm_claim(job, "gn01", 1000 * len(mine), mine, start=draw(st.integers(900, 902)))
        held.append(replace(claim, node=draw(st.sampled_from([w.slurm_node("gn01"), w.kube_node("gn01")])).key))
    if held:
        odd = draw(st.sampled_from(ODD))
        held[draw(st.integers(0, len(held) - 1))] = odd(held[-1])
    return held


ODD: list[Callable[[Claim], Claim]] = [
    lambda claim: claim,
    lambda claim: replace(claim, milligpu=500, profile="1g.10gb", uuids=("GPU-gn01-1",)),
    lambda claim: replace(claim, profile="1g.10gb", uuids=("GPU-gn01-1", "GPU-gn01-2")),
    lambda claim: replace(claim, keys=(w.inside(JOB),)),
    lambda claim: replace(claim, keys=(w.lends("gn01"),)),
    lambda claim: replace(claim, milligpu=claim.milligpu + 500),
    lambda claim: replace(claim, indices=claim.indices[:-1]),
    lambda claim: replace(claim, indices=(), milligpu=0),
    lambda claim: replace(claim, indices=(*claim.indices[:-1], 0)),
    lambda claim: replace(claim, indices=(*claim.indices[:-1], -1)),
    lambda claim: replace(claim, indices=(*claim.indices, *claim.indices), milligpu=2 * claim.milligpu),
]
schedulers = st.sampled_from(
    [
        [w.slurm_node("gn01")],
        [w.slurm_node("gn01", up=False)],
        [w.slurm_node("gn01", 3500), w.kube_node("gn01", 2000)],
        [w.slurm_node("gn01", 3000)],
        [replace(w.slurm_node("gn01", 4000), model="a100"), w.slurm_node("gn01", 4000)],
        [],
    ]
)
readings = st.lists(
    st.builds(
        Sample,
        st.just("gn01"),
        st.sampled_from([f"GPU-gn01-{n}" for n in range(4)]),
        st.integers(-1, 9),
        st.just("h100"),
        st.just(CARDS[0].values),
        st.just(2000.0),
        mig_instance=st.sampled_from(["", "", "1"]),
        hpc_jobs=st.sampled_from([(), ("1",)]),
    ),
    max_size=6,
)


def join(held: list[Claim], nodes: list[Node], read: list[Sample]) -> Picture:
    scheduler = Reading(w.SLURM, "lab", True, (), held, nodes)
    return attribute(
        [scheduler, Reading(None, "", True, samples=read)], machines_of(nodes, held), {}, grace=60, now=2000.0
    )


def parts(picture: Picture) -> tuple[object, ...]:
    return (
        picture.held,
        picture.shown,
        picture.rest,
        picture.capacity,
        picture.cards,
        picture.orphaned,
        picture.unplaced,
        list(picture.card_rows),
        list(picture.node_rows),
    )


@given(machines(), schedulers, readings)
@example([], [w.slurm_node("gn01")], [])
@example([w.slurm_claim(JOB, "gn01", 2000, (3, 2))], [w.slurm_node("gn01")], list(CARDS))
@example([w.slurm_claim(w.slurm_job(n), "gn01", 1000, (n,)) for n in (2, 1)], [w.slurm_node("gn01")], list(CARDS))
@example([w.slurm_claim(JOB, "gn01", 4000, (1, 2, 3, 4))], [w.slurm_node("gn01", 3000)], list(CARDS))
@example([w.slurm_claim(JOB, "gn01", 1000, (-1,))], [w.slurm_node("gn01")], [replace(CARDS[0], index=-1)])
@example([w.slurm_claim(w.slurm_job(n), "gn01", 500 * n, (n,)) for n in (1, 3)], [w.slurm_node("gn01")], list(CARDS))
def test_the_rules_for_all_cases_say_the_same(held: list[Claim], nodes: list[Node], read: list[Sample]) -> None:
    with patch.object(attribution, "plain_cards", return_value=None):
        expected = join(held, nodes, read)

    assert parts(expected) == parts(join(held, nodes, read))


ONE = w.slurm_claim(JOB, "gn01", 2000, (2, 3))
OTHER = w.slurm_claim(w.slurm_job(19), "gn01", 1000, (5,))


def test_a_machine_whose_claims_name_their_cards_is_plain() -> None:
    assert {2: ONE, 3: ONE, 5: OTHER} == plain_cards([ONE, OTHER], 8000, [])
    assert {} == plain_cards([], 8000, [])


@pytest.mark.parametrize(
    "odd",
    [
        replace(OTHER, indices=(3,)),
        replace(OTHER, indices=(5, 5), milligpu=2000),
        replace(OTHER, indices=()),
        replace(OTHER, indices=(), milligpu=0),
        replace(OTHER, milligpu=1500),
        replace(OTHER, profile="1g.10gb"),
        replace(OTHER, keys=(w.inside(JOB),)),
        replace(OTHER, indices=tuple(range(4, 11)), milligpu=7000),
    ],
    ids=["a card of another", "a card twice", "no card", "nothing", "half a card more", "a share", "a key", "too many"],
)
def test_a_machine_with_anything_else_is_not(odd: Claim) -> None:
    assert plain_cards([ONE, odd], 8000, []) is None


def test_a_plain_machine_is_asked_nothing_of_nests_and_divisions() -> None:
    with patch.object(attribution, "nest", side_effect=AssertionError):
        picture = join([ONE, OTHER], [w.slurm_node("gn01")], list(CARDS))

    assert [(JOB.key, (2, 3)), (OTHER.job, (5,))] == [(h.claim.job, h.cards) for h in picture.held]
