"""What is known of a claim's cards: by index, by UUID, in part; and what follows for links and for counting."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporters.join.cards import Hand, Told, hands, less, named, outside
from exporters.join.nesting import Nest
from exporters.join.occupancy import Leaf, Part, divide
from exporters.model import Claim, Disposition
from tests.exporters.records import KUBE, SLURM, bridged, lends, made_by, nested, pod, run

CHARGED, DISPUTED, IDLE = Disposition.CHARGED, Disposition.DISPUTED, Disposition.IDLE


def whole(*cards: int | str, numbered: bool = False) -> Hand:
    return Hand(dict.fromkeys(cards, 1000), numbered)


# what a claim says itself


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (replace(run(1, 2000), indices=(5, 4)), [Told(4, "", 1000), Told(5, "", 1000)]),
        (replace(run(1, 2000), indices=(17, 3)), [Told(3, "", 1000), Told(17, "", 1000)]),
        (replace(pod("a", 2000), uuids=("GPU-a", "GPU-b", "GPU-c")), []),  # stale, too
        (replace(run(1, 1000), indices=(4, 5)), []),  # stale: more than it holds
        (replace(pod("a", 2000), uuids=("GPU-b", "GPU-a")), [Told(-1, "GPU-a", 1000), Told(-1, "GPU-b", 1000)]),
        (replace(pod("a", 1000), uuids=("GPU-a::3",)), [Told(-1, "GPU-a", 1000)]),
        (pod("a", 2000), []),
        # two replicas of one card and one of another: parts in proportion, the remainder on the first
        (
            replace(pod("a", 500, profile="shared"), uuids=("GPU-a::0", "GPU-a::1", "GPU-b::0")),
            [Told(-1, "GPU-a", 334), Told(-1, "GPU-b", 166)],
        ),
        (replace(pod("a", 1500, profile="shared"), uuids=("GPU-a::0",)), []),  # more than the card
        (replace(pod("a", 142, profile="1g.10gb"), uuids=("MIG-1",)), []),  # does not tell its card
        (replace(pod("a", 2000), uuids=("GPU-a", "MIG-1")), []),
    ],
)
def test_the_cards_that_a_claim_names(claim: Claim, expected: list[Told]) -> None:
    assert expected == [*named(claim)[0]]


def test_only_slurms_indices_are_numbers_of_a_slurm_node() -> None:
    assert named(replace(run(1, 1000), indices=(4,)))[1]
    assert not named(replace(pod("a", 1000), indices=(4,)))[1]


# one card, told in two ways


def test_a_uuid_is_the_index_that_anybody_tells_of_it_at_that_moment() -> None:
    found = hands({0: [Told(3, "GPU-3", 1000)], 1: [Told(-1, "GPU-3", 1000)], 2: [Told(-1, "GPU-4", 1000)]}, [0])

    assert {0: whole(3, numbered=True), 1: whole(3), 2: whole("GPU-4")} == found


def test_a_uuid_that_is_told_with_two_indices_is_neither() -> None:
    found = hands({0: [Told(3, "GPU-3", 1000)], 1: [Told(4, "GPU-3", 1000)], 2: [Told(-1, "GPU-3", 1000)]})

    assert whole("GPU-3") == found[2]


def test_a_card_told_twice_is_one_card() -> None:
    assert {0: whole(3)} == hands({0: [Told(3, "GPU-3", 1000), Told(3, "", 1000), Told(3, "GPU-3", 2000)]})


def test_indices_and_uuids_are_not_compared() -> None:
    assert {} == outside(whole("GPU-1"), whole(0, 1))
    assert {2: 1000} == outside(whole(1, 2, "GPU-1"), whole(0, 1))


def test_what_is_left_of_a_card_that_others_have_part_of() -> None:
    assert {0: 716, 1: 1000} == less(whole(0, 1), [Hand({0: 142}), Hand({0: 142})], 1716)
    assert {} == less(whole(0, 1), [Hand({0: 142})], 1700)  # somebody inside is on cards that are not known


def test_a_claim_on_whole_cards_has_all_of_each_however_often_it_names_it() -> None:
    told = named(replace(pod("a", 2000), uuids=("GPU-a::0", "GPU-a::1", "GPU-b")))

    assert ((Told(-1, "GPU-a", 1000), Told(-1, "GPU-b", 1000)), False) == told


def test_who_names_a_card_by_its_index_alone_does_not_hide_its_uuid() -> None:
    found = hands({0: [Told(3, "", 1000)], 1: [Told(3, "GPU-3", 1000)], 2: [Told(-1, "GPU-3", 1000)]})

    assert [whole(3)] * 3 == [*found.values()]


def test_card_zero_is_a_card() -> None:
    found = hands({0: [Told(0, "GPU-0", 1000)], 1: [Told(-1, "GPU-0", 1000)], 2: []})

    assert {0: whole(0), 1: whole(0)} == found


def test_an_index_that_is_told_of_two_uuids_is_neither() -> None:
    found = hands({0: [Told(3, "GPU-3", 1000)], 1: [Told(3, "GPU-4", 1000)], 2: [Told(-1, "GPU-3", 1000)]})

    assert whole("GPU-3") == found[2]


# dividing a pool


def test_parts_of_one_card_in_different_amounts_fit_beside_each_other() -> None:
    two, one = (
        Leaf(0, KUBE, 426, CHARGED, (0, 1), amounts=(284, 142)),
        Leaf(1, KUBE, 858, CHARGED, (1,), amounts=(858,)),
    )

    assert [Part(CHARGED, 0, 426), Part(CHARGED, 1, 858), Part(IDLE, -1, 716)] == divide(2000, [two, one], IDLE)


def test_the_same_uuid_is_the_same_card_wherever_it_is() -> None:
    def on(*cards: str) -> list[Part]:
        return divide(4000, [Leaf(n, KUBE, 1000, CHARGED, (card,)) for n, card in enumerate(cards)], IDLE)

    assert [Part(CHARGED, 0, 1000), Part(CHARGED, 1, 1000), Part(IDLE, -1, 2000)] == on("GPU-a", "GPU-b")
    assert [Part(DISPUTED, 0, 0, 1), Part(DISPUTED, 1, 1000, 0), Part(IDLE, -1, 3000)] == on("GPU-a", "GPU-a")


def test_a_card_known_by_uuid_is_not_put_where_an_index_is() -> None:
    by_index = [Leaf(n, SLURM, 1000, CHARGED, (n,)) for n in (0, 3)]

    assert [Part(CHARGED, 0, 1000), Part(CHARGED, 3, 1000), Part(CHARGED, 4, 1000), Part(IDLE, -1, 1000)] == divide(
        4000, [*by_index, Leaf(4, KUBE, 1000, CHARGED, ("GPU-a",))], IDLE
    )


# links


def words(nest: Nest) -> dict[int, str]:
    return {leaf.owner: leaf.disposition.value for leaf in nest.leaves}


def test_a_pod_made_by_a_job_must_be_on_cards_of_that_job() -> None:
    claims = (run(5120, 2000), pod("bert-0", 1000, 0, None, made_by(5120)))

    assert {0: "charged"} == words(nested(claims, cards={0: (0, 1), 1: (1,)}))
    found = nested(claims, cards={0: (0, 1), 1: (4,)})
    assert {0: "charged", 1: "disputed"} == words(found)
    assert {1: "holds card 4, which Slurm job 5120 does not: it holds cards 0, 1"} == found.reasons


def test_a_job_must_be_on_cards_of_the_pod_that_is_its_node() -> None:
    claims = (pod("worker-0", 4000, 0, None, lends("h1")), run(18, 2000, node="h1"))

    assert {0: "reserved", 1: "charged"} == words(nested(claims, cards={0: (0, 1, 2, 3), 1: (2, 3)}))
    found = nested(claims, cards={0: (0, 1, 2, 3), 1: (3, 4)})
    assert {0: "reserved", 1: "disputed"} == words(found)
    assert {1: "holds card 4, which pod vision/worker-0 does not: it holds cards 0, 1, 2, 3"} == found.reasons


def test_a_bridged_pod_may_be_on_other_cards_than_slurm_wrote_down() -> None:
    claims = (run(7, 2000), pod("solo", 2000, 0, None, bridged(7)))

    assert {1: "charged"} == words(nested(claims, cards={0: (0, 1), 1: (4, 5)}))


def test_cards_of_the_outer_claim_that_are_not_known_may_be_the_inner_ones() -> None:
    claims = (run(5120, 2000), pod("bert-0", 1000, 0, None, made_by(5120)))

    assert {0: "charged"} == words(nested(claims, cards={0: (0,), 1: (4,)}))
    assert {0: "charged"} == words(nested(claims, cards={1: (4,)}))


def test_in_a_pod_with_part_of_the_machine_a_slurm_nodes_numbers_tell_no_card() -> None:
    claims = (pod("worker-0", 4000, 0, None, lends("h1")), run(18, 1000, node="h1"))
    pods = {0: whole(4, 5, 6, 7)}

    assert {0: "reserved", 1: "charged"} == words(
        nested(claims, cards=pods | {1: whole(0, numbered=True)}, capacity=8000)
    )
    # a number that the pod has not got shows that the node counts the machine's cards
    assert {0: "reserved", 1: "disputed"} == words(
        nested(claims, cards=pods | {1: whole(8, numbered=True)}, capacity=8000)
    )
    assert {0: "reserved", 1: "disputed"} == words(nested(claims, cards=pods | {1: whole(0)}, capacity=8000))


def test_of_two_lenders_a_job_is_in_the_one_whose_cards_it_has() -> None:
    claims = (
        pod("a", 2000, 0, None, lends("h1")),
        pod("b", 2000, 1, None, lends("h1")),
        run(18, 1000, 2, node="h1"),
    )

    found = nested(claims, cards={0: (0, 1), 1: (2, 3), 2: (1,)})

    assert 0 == found.within[2].outer
    assert {} == found.reasons
