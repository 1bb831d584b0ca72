"""What a claim holds for itself at one moment, whatever lives inside what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.join.cards import Hand
from exporters.join.links import find_links
from exporters.join.nesting import nest, rest_of_lender
from exporters.model import Claim, Disposition
from tests.exporters.records import bridged, lends, made_by, nested, pod, run, stands_in

RESERVED, DOWN, UNKNOWN = Disposition.RESERVED, Disposition.DOWN, Disposition.UNKNOWN


# the rest of a lender


def test_the_rest_of_a_lender_goes_with_its_own_slurm_node() -> None:
    claims = (pod("a", 4000, 0, None, lends("a")), pod("b", 4000, 0, None, lends("b")))

    leaves = nested(claims, down=[("hpc1", "a"), ("hpc2", "b")]).leaves

    assert [DOWN, RESERVED] == [leaf.disposition for leaf in leaves]


def test_the_rest_of_a_lender_is_unknown_while_its_slurm_cannot_be_read() -> None:
    claims = (pod("a", 4000, 0, None, lends("a")), pod("b", 4000, 0, None, lends("b", "hpc2")))

    leaves = nested(claims, down=[("hpc1", "a")], unread=["hpc1"]).leaves

    assert [UNKNOWN, RESERVED] == [leaf.disposition for leaf in leaves]


def test_a_lender_that_names_no_cluster_goes_with_any_node_of_its_name() -> None:
    lender = pod("a", 4000, 0, None, lends("a", ""))

    assert DOWN is rest_of_lender(lender, [("hpc1", "a")], [])
    assert UNKNOWN is rest_of_lender(lender, [], ["hpc1"])
    assert RESERVED is rest_of_lender(lender, [("hpc1", "b")], [])
    assert rest_of_lender(pod("web", 1000), [("hpc1", "a")], []) is None


# known cards


def test_a_lenders_rest_is_on_the_cards_that_its_jobs_do_not_have() -> None:
    claims = (pod("worker-0", 8000, 0, None, lends("h100-001")), run(18, 2000, node="h100-001"))

    found = nested(claims, cards={0: range(8), 1: (4, 5)})

    assert [(0, 1, 2, 3, 6, 7), (4, 5)] == [leaf.cards for leaf in found.leaves]


def test_a_job_that_pods_are_inside_keeps_its_cards() -> None:
    claims = (run(5120, 4000), pod("bert-0", 2000, 0, None, made_by(5120)))

    (leaf,) = nested(claims, cards={0: (0, 1, 2, 3), 1: (2, 3)}).leaves

    assert (0, 1, 2, 3) == leaf.cards


# whatever comes


@st.composite
def machine_day(draw: st.DrawFn) -> list[Claim]:
    """Lenders, jobs in and beside them, bridged and made pods, some of it false, on one machine over 100 seconds."""

    def span() -> tuple[int, int | None]:
        start = draw(st.integers(0, 90))
        return start, draw(st.one_of(st.none(), st.integers(start, 100)))

    keys = [lends("gn09"), lends("h1"), bridged(1), bridged(2), made_by(1), made_by(2), made_by(9), stands_in()]
    found: list[Claim] = []
    for n in range(draw(st.integers(0, 4))):
        size = draw(st.sampled_from([1000, 2000, 4000, 8000]))
        found.append(run(n % 3, size, *span(), node=draw(st.sampled_from(["gn09", "h1"])), submit=n))
    for n in range(draw(st.integers(0, 4))):
        size = draw(st.sampled_from([0, 143, 1000, 4000, 8000]))
        found.append(pod(f"p{n}", size, *span(), *draw(st.lists(st.sampled_from(keys), max_size=2, unique=True))))
    return found


@given(machine_day(), st.integers(0, 99))
def test_nesting_never_makes_cards(claims: list[Claim], at: int) -> None:
    found = nested(claims, at)

    assert {leaf.owner for leaf in found.leaves}.isdisjoint(found.shown)
    assert {i for i, c in enumerate(claims) if c.start <= at and (c.end is None or at < c.end)} == {
        *(leaf.owner for leaf in found.leaves),
        *found.shown,
    }
    assert all(0 < leaf.milligpu <= claims[leaf.owner].milligpu for leaf in found.leaves)
    assert all(v >= 0 for v in found.orphaned.values())


@given(machine_day(), st.integers(0, 99))
def test_a_link_holds_only_between_two_claims_that_are_there(claims: list[Claim], at: int) -> None:
    found = nested(claims, at)

    for inner, link in found.within.items():
        for i in (inner, link.outer):
            assert claims[i].start <= at
            assert claims[i].end is None or at < (claims[i].end or 0)
    assert set(found.reasons).isdisjoint(found.within)


def test_of_two_pods_that_do_not_both_fit_the_older_is_inside_whatever_their_order() -> None:
    job, old, young = run(5120, 2000), pod("old", 2000, 10, None, made_by(5120)), pod("young", 2000, 20, None)
    young = replace(young, keys=old.keys)

    for claims in ((job, old, young), (job, young, old)):
        found = nested(claims)

        assert [claims.index(old)] == [*found.within]
        assert [claims.index(young)] == [*found.reasons]


def test_pods_of_the_same_second_are_taken_in_the_order_of_their_names() -> None:
    job, a, b = run(5120, 2000), pod("a", 2000, 10, None, made_by(5120)), pod("b", 2000, 10, None, made_by(5120))

    for claims in ((job, a, b), (job, b, a)):
        assert [claims.index(a)] == [*nested(claims).within]


@pytest.mark.parametrize(
    ("number", "capacity", "held"),
    [(3, 8000, True), (4, 8000, False), (3, 4000, False)],
    ids=["may be the pod's", "one more than the pod has", "the pod has the whole machine"],
)
def test_a_slurm_nodes_number_may_be_any_of_its_pods_cards_where_the_pod_has_so_many(
    number: int, capacity: int, held: bool
) -> None:
    claims = (pod("worker-0", 4000, 0, None, lends("h1")), run(18, 1000, node="h1"))
    cards = {0: Hand(dict.fromkeys((10, 11, 12, 13), 1000)), 1: Hand({number: 1000, "GPU-x": 0}, numbered=True)}

    found = nest({0, 1}, claims, find_links(claims, grace=0), cards, capacity=capacity)

    assert held is (1 not in found.cards)
    assert held is (1 not in found.reasons)


def test_numbers_tell_no_card_where_one_of_two_lenders_has_part_of_the_machine() -> None:
    part, all_of_it = pod("part", 4000, 0, None, lends("h1")), pod("all", 8000, 0, None, lends("h1"))
    claims = (part, all_of_it, run(18, 1000, node="h1"))
    cards = {2: Hand({0: 1000}, numbered=True)}

    found = nest({0, 1, 2}, claims, find_links(claims, grace=0), cards, capacity=8000)

    assert {} == found.cards


def test_the_cards_of_a_refusal_are_named_in_order() -> None:
    claims = (run(5120, 2000), pod("bert-0", 2000, 0, None, made_by(5120)))

    found = nested(claims, cards={0: (1, 0), 1: (10, 9)})

    assert {1: "holds cards 9, 10, which Slurm job 5120 does not: it holds cards 0, 1"} == found.reasons


def test_a_lender_that_is_gone_says_nothing_of_a_jobs_numbers() -> None:
    gone = pod("worker-0", 4000, 0, 40, lends("h1"))
    claims = (gone, run(18, 1000, 0, None, node="h1"))

    found = nested(claims, at=50, cards={1: Hand({0: 1000}, numbered=True)}, capacity=8000)

    assert {1} == found.cards.keys()
