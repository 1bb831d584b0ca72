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
    assert 4 == cards_needed([weights[0]] * 14 + [weights[1]] * 4)
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
