from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.sources.mig_profiles import CARDS, MigCard
from exporters.sources.shares import (
    by_count,
    card_memory_gib,
    cards_needed,
    compute_slices,
    divide_cards,
    instances_per_card,
    mig_weight,
    parts_of,
    per_card,
    split,
)

WEIGHTS = st.lists(st.fractions(min_value=Fraction(1, 8), max_value=1), min_size=1, max_size=8)


@given(st.integers(min_value=0, max_value=64_000), WEIGHTS)
def test_parts_sum_to_the_whole_and_the_remainder_is_in_the_first(total: int, weights: list[Fraction]) -> None:
    parts = split(total, weights)

    whole = sum(weights)

    assert total == sum(parts)
    assert all(part == int(total * weight / whole) for part, weight in list(zip(parts, weights, strict=True))[1:])
    assert parts[0] >= int(total * weights[0] / whole)


def test_seven_slices_of_a_card() -> None:
    assert (148, 142, 142, 142, 142, 142, 142) == split(1000, [1] * 7)


@given(st.integers(1, 64), st.integers(1, 64), st.data())
def test_claims_by_count_never_exceed_the_cards(cards: int, slots: int, data: st.DataObject) -> None:
    left, held = slots, 0
    while left:
        quantity = data.draw(st.integers(1, left))
        held += by_count(cards * 1000, slots, quantity)
        left -= quantity

    assert held <= cards * 1000
    assert by_count(cards * 1000, slots, slots) == cards * 1000


@pytest.mark.parametrize(
    ("profile", "memory", "slices", "fit"),
    [
        ("1g.10gb", 80, 7, 7),
        ("1g.10gb+me", 80, 7, 7),
        ("1g.20gb", 80, 7, 4),
        ("2g.20gb", 80, 7, 3),
        ("3g.40gb", 80, 7, 2),
        ("4g.40gb", 80, 7, 1),
        ("7g.80gb", 80, 7, 1),
        ("1g.18gb", 140.4, 7, 7),
        ("3g.71gb", 140.4, 7, 2),
        ("1g.23gb", 179.1, 7, 7),
        ("1g.5gb", 40, 7, 7),
        ("1g.6gb", 24, 4, 4),
        ("2g.12gb", 24, 4, 2),
        ("3g.40gb", 0, 7, 2),
    ],
)
def test_instances_on_a_card_are_those_that_nvidia_allows(profile: str, memory: float, slices: int, fit: int) -> None:
    assert fit == instances_per_card(profile, slices=slices, memory_gib=memory)


def test_mixed_profiles_share_the_cards_by_what_they_take() -> None:
    weights = [mig_weight("1g.10gb", memory_gib=80), mig_weight("3g.40gb", memory_gib=80)]

    assert [Fraction(1, 7), Fraction(1, 2)] == weights
    assert 4 == cards_needed([(parts_of("1g.10gb"), 14), (parts_of("3g.40gb"), 4)])
    assert (2000, 2000) == divide_cards(4, weights, [14, 4])
    assert (534, 466) == divide_cards(1, weights, [4, 1]), "4/7 and 1/2 of one card, to 1000"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: f"{card.model} {card.gigabytes}")
def test_published_profiles_fill_their_card_as_often_as_nvidia_allows(card: MigCard) -> None:
    compute, instances = ((1, 1, 2, 3, 4, 7), (7, 4, 3, 2, 1, 1)) if len(card.memory) == 6 else ((1, 2, 4), (4, 2, 1))
    for g, memory, most in zip(compute, card.memory, instances, strict=True):
        assert most == instances_per_card(f"{g}g.{memory}gb", memory_gib=card.gigabytes), f"{g}g.{memory}gb"


@pytest.mark.parametrize(
    ("model", "profile", "weight"),
    [
        ("nvidia_h200", "3g.71gb", Fraction(1, 2)),
        ("NVIDIA-H200", "1g.35gb", Fraction(1, 4)),
        ("nvidia_gb300", "1g.35gb", Fraction(1, 7)),
        ("a100l", "2g.20gb", Fraction(2, 7)),
        ("NVIDIA A30", "1g.6gb", Fraction(1, 4)),
        ("", "3g.40gb", Fraction(1, 2)),
        ("", "1g.10gb", Fraction(1, 7)),
        ("NVIDIA-A100-SXM4-40GB", "1g.10gb", Fraction(1, 4)),
        ("x100", "3g.50gb", Fraction(3, 7)),
    ],
)
def test_a_profile_weighs_what_it_takes_of_that_card(model: str, profile: str, weight: Fraction) -> None:
    assert weight == mig_weight(profile, memory_gib=card_memory_gib(model), model=model, slices=compute_slices(model))


LAYOUTS = {
    "NVIDIA-A100-SXM4-40GB": "1g.5gb:7 1g.10gb:4 2g.10gb:3 3g.20gb:2 4g.20gb:1 7g.40gb:1",
    "NVIDIA-A100-SXM4-80GB": "1g.10gb:7 1g.10gb+me:7 1g.20gb:4 2g.20gb:3 3g.40gb:2 4g.40gb:1 7g.80gb:1",
    "a100l": "2g.20gb:3 3g.40gb:2",
    "nvidia-tesla-a100": "1g.5gb:7 3g.20gb:2",
    "NVIDIA-H100-80GB-HBM3": "1g.10gb:7 1g.20gb:4 1g.20gb.me:4 2g.20gb:3 3g.40gb:2 4g.40gb:1 7g.80gb:1",
    "NVIDIA-H100-NVL-94GB": "1g.12gb:7 1g.24gb:4 2g.24gb:3 3g.47gb:2 4g.47gb:1 7g.94gb:1",
    "NVIDIA-GH200-144G-HBM3e": "1g.18gb:7 1g.36gb:4 2g.36gb:3 3g.72gb:2",
    "NVIDIA-H200": "1g.18gb:7 1g.35gb:4 2g.35gb:3 3g.71gb:2 4g.71gb:1 7g.141gb:1",
    "nvidia_h200": "3g.71gb:2",
    "NVIDIA-B200": "1g.23gb:7 1g.45gb:4 2g.45gb:3 3g.90gb:2 4g.90gb:1 7g.180gb:1",
    "NVIDIA-GB200": "1g.23gb:7 1g.47gb:4 2g.47gb:3 3g.93gb:2 4g.93gb:1 7g.186gb:1",
    "NVIDIA-B300": "1g.34gb:7 1g.67gb:4 3g.135gb:2",
    "NVIDIA-GB300": "1g.35gb:7 1g.70gb:4 3g.139gb:2",
    "NVIDIA-A30": "1g.6gb:4 1g.6gb+me:4 2g.12gb:2 4g.24gb:1",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "1g.24gb:4 2g.48gb:2 4g.96gb:1",
    "": "1g.10gb:7 3g.40gb:2 3g.71gb:2 1c.3g.40gb:2 2g.999gb:3",
    "NVIDIA-X9000": "1g.5gb:7 3g.20gb:2",
}
"""Profiles of cards with how many of each fit on one: NVIDIA MIG User Guide, "Supported MIG Profiles"."""

PROFILES = [(model, *one.rsplit(":", 1)) for model, some in LAYOUTS.items() for one in some.split()]


@pytest.mark.parametrize(("model", "profile", "fit"), PROFILES)
def test_as_many_instances_fit_on_a_card_as_nvidia_allows_and_a_full_node_is_its_cards(
    model: str, profile: str, fit: str
) -> None:
    found = parts_of(profile, model)

    assert int(fit) == per_card(found)
    assert 8 == cards_needed([(found, 8 * int(fit))])
    assert 9 == cards_needed([(found, 8 * int(fit) + 1)])


@pytest.mark.parametrize(
    ("profile", "memory", "weight"),
    [("1g.10gb", 39.6, "1/4"), ("1g.10gb", 79.6, "1/7"), ("1g.18gb", 140.4, "1/7"), ("1g.35gb", 140.4, "1/4")],
)
def test_a_cards_memory_tells_which_of_two_profiles_of_one_name_it_is(profile: str, memory: float, weight: str) -> None:
    assert Fraction(weight) == max(parts_of(profile, "", memory))


def test_slices_that_weigh_more_than_their_card_still_lie_on_one() -> None:
    large, half, small = (parts_of(p, "NVIDIA-H100-80GB-HBM3") for p in ("4g.40gb", "3g.40gb", "1g.10gb"))

    assert 8 == cards_needed([(half, 8), (large, 8)])
    assert 8 == cards_needed([(small, 32), (half, 8)])
    assert 8 == cards_needed([(small, 16), (parts_of("2g.20gb", "H100"), 8), (half, 8)]), "NVIDIA's all-balanced"


@given(st.lists(st.sampled_from(PROFILES), min_size=1, max_size=4), st.integers(1, 16))
def test_a_full_node_of_mig_slices_comes_to_exactly_its_cards(some: list[tuple[str, str, str]], cards: int) -> None:
    found = [(parts_of(profile, model), cards * int(fit)) for model, profile, fit in some]

    assert cards * len(some) >= cards_needed(found) >= max(cards_needed([one]) for one in found)
    assert cards * 1000 == sum(divide_cards(cards, [max(parts) for parts, _ in found], [n for _, n in found]))


def test_cards_with_four_compute_slices_are_known() -> None:
    models = ("NVIDIA-A30", "NVIDIA RTX PRO 6000 Blackwell Server Edition", "NVIDIA-H100-80GB-HBM3", "")

    assert [4, 4, 7, 7] == [compute_slices(m) for m in models]


@pytest.mark.parametrize("bad", ["", "10gb", "gpu", "g.10gb"])
def test_what_is_no_profile_is_refused_by_name(bad: str) -> None:
    with pytest.raises(ValueError, match=f"'{bad}' is not a MIG profile"):
        mig_weight(bad)


def test_nothing_cannot_be_divided() -> None:
    with pytest.raises(ValueError, match="weights must be positive"):
        split(1000, [0, 0])
    with pytest.raises(ValueError, match="no slots"):
        by_count(1000, 0, 1)


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [2, -1], [-1]])
def test_weights_that_divide_nothing_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights must be positive"):
        split(1000, weights)
