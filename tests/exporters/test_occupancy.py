"""The charge rule of one instant: what a pool's cards are divided into."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from exporters.join.occupancy import Leaf, Part, divide
from exporters.model import Disposition, Scheduler

CHARGED, RESERVED, IDLE, DOWN, DISPUTED, UNKNOWN = (
    Disposition.CHARGED,
    Disposition.RESERVED,
    Disposition.IDLE,
    Disposition.DOWN,
    Disposition.DISPUTED,
    Disposition.UNKNOWN,
)
SLURM, KUBE = Scheduler.SLURM, Scheduler.KUBERNETES


def leaf(owner: int, scheduler: Scheduler, milligpu: int, *cards: int, disposition: Disposition = CHARGED) -> Leaf:
    return Leaf(owner, scheduler, milligpu, disposition, cards)


def totals(parts: list[Part]) -> dict[Disposition, int]:
    sums: dict[Disposition, int] = {}
    for part in parts:
        sums[part.disposition] = sums.get(part.disposition, 0) + part.milligpu
    return {d: v for d, v in sums.items() if v}


def of(parts: list[Part], owner: int) -> dict[Disposition, int]:
    return totals([p for p in parts if p.owner == owner])


@st.composite
def leaves(draw: st.DrawFn, capacity: int = 8000) -> list[Leaf]:
    """Any leaves: fractions and whole cards, known, half known or not, true or not."""
    count = draw(st.integers(0, 6))
    return [
        Leaf(
            n,
            draw(st.sampled_from(Scheduler)),
            draw(st.sampled_from([143, 500, 1000, 2000, 3000, capacity, capacity + 1000])),
            draw(st.sampled_from([CHARGED, RESERVED, DOWN, UNKNOWN, DISPUTED])),
            tuple(draw(st.lists(st.integers(-1, capacity // 1000 + 1), max_size=4))),
        )
        for n in range(count)
    ]


# by count


def test_a_pool_that_nobody_holds_is_all_rest() -> None:
    assert [Part(DOWN, -1, 8000)] == divide(8000, [], DOWN)


def test_a_pool_without_cards_has_no_parts() -> None:
    assert [] == divide(0, [leaf(0, SLURM, 1000)], IDLE)


def test_two_schedulers_that_fit_are_not_in_each_others_way() -> None:
    parts = divide(8000, [leaf(0, SLURM, 5000), leaf(1, KUBE, 3000)], IDLE)

    assert [Part(CHARGED, 0, 5000), Part(CHARGED, 1, 3000)] == parts


def test_what_two_schedulers_claim_above_capacity_is_disputed_once_and_names_both() -> None:
    parts = divide(8000, [leaf(0, SLURM, 6000), leaf(1, KUBE, 4000)], IDLE)

    assert [Part(CHARGED, 0, 4000), Part(CHARGED, 1, 2000), Part(DISPUTED, 1, 2000, 0)] == parts


def test_a_claim_all_of_whose_cards_are_disputed_is_still_somebodys() -> None:
    parts = divide(8000, [leaf(0, SLURM, 8000), leaf(1, KUBE, 8000)], IDLE)

    assert [Part(DISPUTED, 0, 0, 1), Part(DISPUTED, 1, 8000, 0)] == parts


def test_of_three_on_the_same_cards_the_middle_one_does_not_vanish() -> None:
    parts = divide(2000, [leaf(n, SLURM, 2000) for n in range(3)], IDLE)

    assert [Part(DISPUTED, 0, 0, 2, (1,)), Part(DISPUTED, 1, 0, 2, (0,)), Part(DISPUTED, 2, 2000, 0, (1,))] == parts


def test_one_claim_above_the_whole_pool_gets_the_pool() -> None:
    assert [Part(CHARGED, 0, 8000)] == divide(8000, [leaf(0, SLURM, 10_000)], IDLE)


def test_a_disputed_pod_takes_the_room_there_is_and_disturbs_nobody() -> None:
    parts = divide(4000, [leaf(0, KUBE, 2000, disposition=DISPUTED), leaf(1, SLURM, 2000)], IDLE)

    assert {CHARGED: 2000, DISPUTED: 2000} == totals(parts)


# by card


def test_the_same_known_card_is_disputed_though_the_pool_has_room() -> None:
    parts = divide(8000, [leaf(0, SLURM, 2000, 2, 3), leaf(1, KUBE, 1000, 3)], IDLE)

    assert [Part(CHARGED, 0, 1000), Part(DISPUTED, 1, 1000, 0), Part(IDLE, -1, 6000)] == parts


def test_a_claim_by_count_goes_where_known_cards_leave_room() -> None:
    parts = divide(4000, [leaf(0, SLURM, 2000), leaf(1, KUBE, 2000, 0, 1)], IDLE)

    assert {CHARGED: 4000} == totals(parts)


def test_a_card_named_twice_is_one_card_and_the_other_is_held_by_count() -> None:
    assert [Part(CHARGED, 0, 2000)] == divide(2000, [leaf(0, SLURM, 2000, 0, 0)], IDLE)


def test_a_card_the_pool_does_not_have_is_held_by_count() -> None:
    assert [Part(CHARGED, 0, 1000), Part(IDLE, -1, 1000)] == divide(2000, [leaf(0, SLURM, 1000, 7)], IDLE)
    assert [Part(CHARGED, 0, 1000), Part(IDLE, -1, 1000)] == divide(2000, [leaf(0, SLURM, 1000, -1)], IDLE)


def test_shares_of_one_known_card_lie_beside_each_other() -> None:
    sevenths = [leaf(n, KUBE if n % 2 else SLURM, 148 if n == 0 else 142, 0) for n in range(7)]

    parts = divide(2000, sevenths, IDLE)

    assert {CHARGED: 1000, IDLE: 1000} == totals(parts)


def test_one_share_too_many_of_a_known_card_is_disputed_though_another_card_is_free() -> None:
    parts = divide(2000, [leaf(n, KUBE, 400, 0) for n in range(3)], IDLE)

    assert {CHARGED: 800, DISPUTED: 200, IDLE: 1000} == totals(parts)


def test_shares_on_two_cards_are_halved_between_them() -> None:
    parts = divide(2000, [leaf(0, KUBE, 400, 0, 1), leaf(1, KUBE, 800, 0), leaf(2, KUBE, 800, 1)], IDLE)

    assert {CHARGED: 2000} == totals(parts)


# whatever comes


@given(leaves(), st.sampled_from([IDLE, DOWN, UNKNOWN]))
def test_the_parts_sum_to_capacity_and_none_is_negative(found: list[Leaf], rest: Disposition) -> None:
    parts = divide(8000, found, rest)

    assert 8000 == sum(p.milligpu for p in parts)
    assert all(p.milligpu > 0 or p.opponent >= 0 for p in parts)


@given(leaves())
def test_every_leaf_owns_a_part_and_never_more_than_it_holds(found: list[Leaf]) -> None:
    parts = divide(8000, found, IDLE)

    assert {n.owner for n in found} == {p.owner for p in parts if p.owner >= 0}
    assert all(sum(p.milligpu for p in parts if p.owner == n.owner) <= n.milligpu for n in found)


@given(leaves())
def test_every_dispute_has_two_sides_unless_the_claim_is_disputed_itself(found: list[Leaf]) -> None:
    by_owner = {n.owner: n for n in found}

    for part in divide(8000, found, IDLE):
        if part.disposition is DISPUTED:
            assert part.opponent != part.owner
            assert part.opponent in by_owner or by_owner[part.owner].disposition is DISPUTED


@given(leaves(), st.randoms(use_true_random=False))
def test_the_order_of_the_leaves_does_not_matter(found: list[Leaf], random: Random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)

    assert divide(8000, found, IDLE) == divide(8000, shuffled, IDLE)


@st.composite
def within_capacity(draw: st.DrawFn, first: int, scheduler: Scheduler, capacity: int) -> list[Leaf]:
    """Leaves by count of one scheduler, together no more than capacity."""
    found: list[Leaf] = []
    room = capacity
    for n in range(draw(st.integers(0, 4))):
        size = draw(st.integers(0, room))
        if size:
            found.append(Leaf(first + n, scheduler, size, draw(st.sampled_from([CHARGED, RESERVED]))))
            room -= size
    return found


@given(within_capacity(0, SLURM, 8000), within_capacity(10, KUBE, 8000))
def test_counts_of_two_schedulers_dispute_exactly_what_does_not_fit(slurm: list[Leaf], kube: list[Leaf]) -> None:
    a, b = sum(n.milligpu for n in slurm), sum(n.milligpu for n in kube)

    parts = divide(8000, [*slurm, *kube], IDLE)

    assert max(0, a + b - 8000) == totals(parts).get(DISPUTED, 0)
    assert max(0, 8000 - a - b) == totals(parts).get(IDLE, 0)


@given(st.permutations(range(8)), st.lists(st.integers(1, 3), max_size=5), st.randoms(use_true_random=False))
def test_known_cards_and_counts_agree_where_no_card_is_in_two_hands(
    cards: list[int], sizes: list[int], random: Random
) -> None:
    """Any assignment of distinct cards, told wholly, in part or not at all, comes to the same."""
    hands: list[tuple[int, ...]] = []
    for size in sizes:
        used = sum(len(h) for h in hands)
        if used + size <= 8:
            hands.append(tuple(cards[used : used + size]))
    schedulers = [random.choice(list(Scheduler)) for _ in hands]
    told = [random.randint(0, len(h)) for h in hands]

    def parts(known: list[tuple[int, ...]]) -> list[Part]:
        claims = enumerate(zip(hands, schedulers, known, strict=True))
        return divide(8000, [Leaf(n, s, 1000 * len(h), CHARGED, k) for n, (h, s, k) in claims], IDLE)

    by_count = parts([() for _ in hands])
    assert by_count == parts(hands)
    assert by_count == parts([h[:t] for h, t in zip(hands, told, strict=True)])


@given(st.lists(st.frozensets(st.integers(0, 7), min_size=1, max_size=4), min_size=1, max_size=5))
def test_wholly_known_cards_are_divided_card_by_card(hands: list[frozenset[int]]) -> None:
    found = [Leaf(n, SLURM, 1000 * len(h), CHARGED, tuple(h)) for n, h in enumerate(hands)]

    parts = divide(8000, found, IDLE)

    holders = [[n for n, h in enumerate(hands) if card in h] for card in range(8)]
    for n in range(len(hands)):
        assert 1000 * sum(h == [n] for h in holders) == of(parts, n).get(CHARGED, 0)
        assert 1000 * sum(len(h) > 1 and h[-1] == n for h in holders) == of(parts, n).get(DISPUTED, 0)
    assert 1000 * holders.count([]) == of(parts, -1).get(IDLE, 0)


def test_a_leaf_disputes_a_stranger_before_its_own_family() -> None:
    job, web = Leaf(0, SLURM, 2000, CHARGED, (), 7), Leaf(1, KUBE, 3000, CHARGED, (), 1)
    rest_of_its_lender = Leaf(2, KUBE, 6000, RESERVED, (), 7)

    parts = divide(8000, [job, web, rest_of_its_lender], IDLE)

    assert {CHARGED: 2000} == of(parts, 0)
    assert Part(DISPUTED, 2, 3000, 1) in parts


def test_a_leaf_that_holds_nothing_has_no_part() -> None:
    nothing, other = Leaf(0, SLURM, 0, CHARGED), Leaf(1, KUBE, 1000, CHARGED)

    assert [Part(CHARGED, 1, 1000), Part(IDLE, -1, 1000)] == divide(2000, [nothing, other], IDLE)


def test_families_are_told_apart_by_any_number_from_zero_on() -> None:
    job, web = Leaf(0, SLURM, 2000, CHARGED, (), 0), Leaf(1, KUBE, 3000, CHARGED, (), 1)
    rest_of_its_lender = Leaf(2, KUBE, 6000, RESERVED, (), 0)

    assert Part(DISPUTED, 2, 3000, 1) in divide(8000, [job, web, rest_of_its_lender], IDLE)


def test_of_leaves_without_a_family_none_is_spared() -> None:
    first, second = Leaf(0, SLURM, 2000, CHARGED), Leaf(1, SLURM, 2000, CHARGED)

    assert [Part(CHARGED, 0, 1000), Part(CHARGED, 1, 1000), Part(DISPUTED, 1, 1000, 0)] == divide(
        3000, [first, second], IDLE
    )


def test_the_later_owner_explains_himself_though_his_card_is_known() -> None:
    by_count, known = Leaf(0, KUBE, 1000, CHARGED), Leaf(1, SLURM, 1000, CHARGED, (0,))

    assert [Part(DISPUTED, 0, 0, 1), Part(DISPUTED, 1, 1000, 0)] == divide(1000, [by_count, known], IDLE)


def test_a_card_whose_index_the_pool_does_not_have_takes_the_place_of_none_that_it_has() -> None:
    beyond, last = Leaf(0, SLURM, 1000, CHARGED, (2,)), Leaf(1, SLURM, 1000, CHARGED, (1,))

    assert [Part(CHARGED, 0, 1000), Part(CHARGED, 1, 1000)] == divide(2000, [beyond, last], IDLE)
    assert [Part(CHARGED, 0, 1000), Part(DISPUTED, 1, 0, 2), Part(DISPUTED, 2, 1000, 1)] == divide(
        2000, [beyond, last, Leaf(2, SLURM, 1000, CHARGED, (1,))], IDLE
    )
