"""A split in which all fit, held to trying every split there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.join.splits.at_one_moment import fitted
from exporters.join.splits.fitting import Kind, Room, Shares, Spread, Taken, fit
from exporters.join.splits.whole_numbers import BUDGET, Limit, Patience, Problem, Sum, solve, solve_most
from exporters.model import MILLI_PER_GPU, Claim, JobKey, Node, NodeKey, Scheduler

CARD = Fraction(MILLI_PER_GPU)
DAY = (0, 100)


def even(nodes: Sequence[int], cards: int, start: int = 0, end: int = 100, model: str = "") -> Spread:
    base, rest = divmod(cards, len(nodes))
    shares = tuple((base + (n < rest),) for n in range(len(nodes)))
    return Spread(start, end, tuple(nodes), (Kind(model, CARD),), shares)


def typed(*shares: tuple[int, int], nodes: tuple[int, ...] = (0, 1)) -> Spread:
    return Spread(*DAY, nodes, (Kind("a100", CARD), Kind("v100", CARD)), shares)


def has(cards: int | None, model: str = "h100") -> list[Room]:
    return [Room(*DAY, {model: None if cards is None else cards * MILLI_PER_GPU})]


def takes(node: int, cards: int, start: int = 0, end: int = 100, model: str = "h100") -> Taken:
    return Taken(start, end, node, model, cards * MILLI_PER_GPU)


def counts(found: Mapping[int, Shares]) -> dict[int, list[int]]:
    return {s: [sum(node) for node in shares] for s, shares in found.items()}


def test_a_guess_that_fits_stands() -> None:
    assert {} == fit([even([0, 1], 9)], [takes(0, 3), takes(1, 4)], {0: has(8), 1: has(8)})


def test_cards_that_do_not_fit_beside_another_run_were_on_the_other_node() -> None:
    assert {0: [1, 8]} == counts(fit([even([0, 1], 9)], [takes(0, 7)], {0: has(8), 1: has(8)}))


def test_it_is_enough_that_a_run_is_in_doubt_for_one_second() -> None:
    rooms = {0: has(8), 1: has(8)}

    assert {0: [1, 8]} == counts(fit([even([0, 1], 9)], [takes(0, 7, 99, 100)], rooms))
    assert {} == fit([even([0, 1], 9, 0, 99)], [takes(0, 7, 99, 100)], rooms)


def test_runs_on_three_nodes_that_take_turns_to_be_uneven() -> None:
    found = fit([even([0, 1, 2], 8)] * 3, [], {n: has(8) for n in range(3)})

    assert {2: [2, 2, 4]} == counts(found)


def test_a_run_beside_those_in_doubt_moves_where_that_is_needed() -> None:
    # 3 is full of the runs of one node; the first run must leave 0 to the second, which is only on 0 and 3
    spreads = [even([0, 1], 8), even([0, 3], 6)]
    rooms = {0: has(6), 1: has(8), 3: has(8)}

    assert {0: [1, 7], 1: [5, 1]} == counts(fit(spreads, [takes(3, 7)], rooms))


def test_a_node_without_cards_gave_none() -> None:
    assert {0: [0, 1, 2]} == counts(fit([even([0, 1, 2], 3)], [], {0: has(0, ""), 1: has(4), 2: has(4)}))


def test_every_node_gave_some_where_that_is_possible() -> None:
    assert {0: [1, 1, 6]} == counts(
        fit([even([0, 1, 2], 8)], [takes(0, 7), takes(1, 7)], {n: has(8) for n in (0, 1, 2)})
    )
    assert {0: [0, 8]} == counts(fit([even([0, 1], 8)], [takes(0, 8)], {0: has(8), 1: has(8)}))


def test_a_type_is_on_the_nodes_that_have_it() -> None:
    spread = typed((2, 0), (1, 1))

    assert {0: ((0, 1), (3, 0))} == fit([spread], [], {0: has(4, "v100"), 1: has(4, "a100")})
    assert {0: ((0, 1), (3, 0))} == fit([spread], [takes(0, 1, model="v100")], {})
    assert {0: ((0, 1), (3, 0))} == fit([spread], [], {0: has(None, "v100"), 1: has(None, "a100")})


def test_of_nodes_that_nobody_knows_each_gave_one_type() -> None:
    assert {0: ((3, 0), (0, 1))} == fit([typed((2, 0), (1, 1))], [], {})
    assert {0: ((8, 0), (8, 0), (0, 4))} == fit([typed((7, 0), (7, 0), (2, 4), nodes=(0, 1, 2))], [], {})


def test_a_node_that_is_known_to_have_two_types_may_give_both() -> None:
    both = [Room(*DAY, {"a100": 2000, "v100": 2000})]

    assert {} == fit([typed((2, 0), (1, 1))], [], {0: both, 1: both})
    assert {0: ((1, 0), (2, 1))} == fit([typed((2, 0), (1, 1))], [takes(0, 1, model="a100")], {0: both, 1: both})


def test_types_that_no_node_of_the_run_has_tell_nothing() -> None:
    assert {} == fit([even([0, 1], 8, model="nvidia_h100")], [], {0: has(8), 1: has(8)})


def test_any_number_fits_on_a_node_of_which_nobody_knows_the_cards() -> None:
    assert {0: [12, 4]} == counts(fit([even([0, 1], 16)], [takes(1, 4)], {1: has(8)}))
    assert {0: [12, 4]} == counts(fit([even([0, 1], 16)], [takes(1, 4)], {0: has(None), 1: has(8)}))


def test_where_no_split_fits_the_others_are_left_in_peace() -> None:
    # node 0 has lost its cards to a contradiction; the runs of 1 and 2 fit all the same
    spreads = [even([0, 1], 4), even([1, 2], 9)]
    found = fit(spreads, [takes(0, 9), takes(1, 7)], {0: has(8), 1: has(8), 2: has(8)})

    assert {1: [0, 9]} != counts(found)
    assert sum(shares[0] for shares in counts(found).values()) <= 8


def test_slices_are_counted_in_their_own_units() -> None:
    seventh = Fraction(1000, 7)
    spread = Spread(*DAY, (0, 1), (Kind("", seventh),), ((5,), (4,)))

    assert {0: ((3,), (6,))} == fit([spread], [Taken(*DAY, 0, "", 571)], {0: has(1, ""), 1: has(1, "")})


def test_a_search_that_takes_too_long_leaves_the_guess() -> None:
    problem = Problem([1] * 4, [0] * 4, [Sum(range(4), 2)])

    assert solve(problem, (), Patience()) is not None
    assert solve(problem, (), Patience(0)) is None
    assert BUDGET > 0


def test_of_limits_that_cannot_all_be_met_the_first_ones_are() -> None:
    problem = Problem([4, 4], [2, 2], [Sum((0, 1), 4)])
    limits = [Limit((0,), (Fraction(1),), 1), Limit((1,), (Fraction(1),), 1), Limit((0,), (Fraction(1),), 0)]

    assert [0, 4] == solve_most(problem, limits, Patience())


def test_of_claims_at_one_moment_those_that_were_guessed_move() -> None:
    nodes = [slurm_node(n, 8) for n in (1, 2)]
    claims = [guess(1, 1, 5), guess(1, 2, 4), replace(guess(2, 1, 7), split_assumed=False)]
    after = fitted(claims, nodes)

    assert {("gn1", "1", 1000), ("gn2", "1", 8000), ("gn1", "2", 7000)} == {
        (c.node.name, c.unit, c.milligpu) for c in after
    }
    assert claims[:2] == fitted(claims[:2], nodes), "they fit"


def test_of_types_that_were_dealt_to_the_wrong_nodes_claims_are_made_where_they_are() -> None:
    nodes = [slurm_node(1, 4, "v100"), slurm_node(2, 4, "a100")]
    claims = [guess(1, 1, 2, "a100"), guess(1, 2, 1, "a100"), guess(1, 2, 1, "v100")]

    assert {("gn1", "v100", 1000), ("gn2", "a100", 3000)} == {
        (c.node.name, c.model, c.milligpu) for c in fitted(claims, nodes)
    }


def slurm_node(number: int, cards: int, model: str = "h100") -> Node:
    return Node(NodeKey(Scheduler.SLURM, "hall", f"gn{number}"), cards * MILLI_PER_GPU, up=True, model=model)


def guess(run: int, node: int, cards: int, model: str = "h100") -> Claim:
    key = slurm_node(node, 0).key
    job = JobKey(Scheduler.SLURM, "hall", str(run))
    return Claim(job, str(run), key, cards * MILLI_PER_GPU, 0, None, model, split_assumed=True)


@st.composite
def sites(draw: st.DrawFn) -> tuple[list[Spread], list[Taken], dict[int, list[Room]]]:
    nodes = draw(st.integers(2, 3))
    models = draw(st.sampled_from([("",), ("a",), ("a", "b")]))
    rooms: dict[int, list[Room]] = {}
    for node in range(nodes):
        sizes = {
            model: draw(st.integers(0, 4)) * MILLI_PER_GPU
            for model in draw(st.sampled_from([models, models[:1], models[-1:]]))
        }
        if draw(st.integers(0, 4)):
            rooms[node] = [Room(0, 4, dict(sizes))]
    spreads = []
    for _ in range(draw(st.integers(1, 3))):
        on = sorted(draw(st.sets(st.integers(0, nodes - 1), min_size=2)))
        start = draw(st.integers(0, 3))
        kinds = tuple(Kind(model, CARD) for model in draw(st.sampled_from([models, models[:1]])))
        shares = tuple(tuple(draw(st.integers(0, 2)) for _ in kinds) for _ in on)
        spreads.append(Spread(start, draw(st.integers(start + 1, 4)), tuple(on), kinds, shares))
    taken = []
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, 3))
        node, model = draw(st.integers(0, nodes - 1)), draw(st.sampled_from(models))
        taken.append(
            Taken(start, draw(st.integers(start + 1, 4)), node, model, draw(st.integers(1, 3)) * MILLI_PER_GPU)
        )
    return spreads, taken, rooms


def every_split(spread: Spread) -> Iterator[Shares]:
    totals = [sum(column) for column in zip(*spread.shares, strict=True)]
    ways = [
        [way for way in product(range(total + 1), repeat=len(spread.nodes)) if sum(way) == total] for total in totals
    ]
    for some in product(*ways):
        yield tuple(zip(*some, strict=True))


def fits(
    spreads: Sequence[Spread], shares: Sequence[Shares], taken: Sequence[Taken], rooms: Mapping[int, Sequence[Room]]
) -> bool:
    """Whether nowhere is more held than there is, second by second; and each type is where it can be."""
    for node, (room, *_) in rooms.items():
        for second in range(4):
            held = dict.fromkeys(("", "a", "b"), 0)
            guessed = 0
            for t in taken:
                if t.node == node and t.start <= second < t.end:
                    held[t.model] += t.milligpu
            before = dict(held)
            for spread, split in zip(spreads, shares, strict=True):
                if node in spread.nodes and spread.start <= second < spread.end:
                    for kind, count in zip(spread.kinds, split[spread.nodes.index(node)], strict=True):
                        held[kind.model] += count * MILLI_PER_GPU
                        guessed += count
            if guessed and sum(held.values()) > sum(size or 0 for size in room.models.values()):
                return False
            for model, size in room.models.items() if len(room.models) > 1 else ():
                if model and held[model] > before[model] and held[model] > (size or 0):
                    return False
    return all(types_fit(spread, split, taken, rooms) for spread, split in zip(spreads, shares, strict=True))


def types_fit(spread: Spread, split: Shares, taken: Sequence[Taken], rooms: Mapping[int, Sequence[Room]]) -> bool:
    known = {}
    for node in spread.nodes:
        known[node] = {*rooms[node][0].models} if node in rooms else {t.model for t in taken if t.node == node}
    for node, gave in zip(spread.nodes, split, strict=True):
        for kind, count in zip(spread.kinds, gave, strict=True):
            anywhere = {n for n in spread.nodes if not known[n] or "" in known[n] or kind.model in known[n]}
            if count and kind.model and anywhere and node not in anywhere:
                return False
    return True


@settings(max_examples=300, deadline=None)
@given(site=sites())
def test_it_finds_a_split_in_which_all_fit_wherever_there_is_one(
    site: tuple[list[Spread], list[Taken], dict[int, list[Room]]],
) -> None:
    spreads, taken, rooms = site
    found = fit(spreads, taken, rooms)
    shares = [found.get(s, spread.shares) for s, spread in enumerate(spreads)]

    for spread, split in zip(spreads, shares, strict=True):
        assert [sum(c) for c in zip(*spread.shares, strict=True)] == [sum(c) for c in zip(*split, strict=True)]
    if any(fits(spreads, some, taken, rooms) for some in product(*map(every_split, spreads))):
        assert fits(spreads, shares, taken, rooms)


@settings(max_examples=100, deadline=None)
@given(site=sites(), data=st.data())
def test_the_order_in_which_it_is_told_does_not_matter(
    site: tuple[list[Spread], list[Taken], dict[int, list[Room]]], data: st.DataObject
) -> None:
    spreads, taken, rooms = site

    assert fit(spreads, taken, rooms) == fit(spreads, data.draw(st.permutations(taken)), dict(reversed(rooms.items())))


@pytest.mark.parametrize("cards", [1, 8])
def test_a_run_on_one_node_is_no_guess(cards: int) -> None:
    assert {} == fit([even([0], cards)], [takes(0, 8)], {})
