"""What a part of a card is in milliGPU: MIG slices, time-sliced replicas, and parts held by count only. Pure.

The rules, in one place:

* the parts of one card sum to exactly 1000: each gets the floor of its proportion, and the remainder goes to the lowest
  index (`split`);
* a MIG slice weighs what it takes from the card: the larger of its compute slices and its memory slices, as fractions
  of the card's (`mig_weight`). Seven 1g.10gb fill an 80 GB card, and so do two 3g.40gb, which leave a seventh of the
  compute unusable: what a layout leaves unusable is shared out among the slices in it. What a profile takes is
  published by NVIDIA, card by card (`exporters.sources.mig_profiles`);
* of ``slots`` interchangeable slots that share ``milligpu``, a claim of ``quantity`` holds
  ``milligpu * quantity // slots`` (`by_count`): a claim never rounds up, so that claims never exceed the cards.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from math import ceil

from exporters.model import MILLI_PER_GPU
from exporters.sources.mig_profiles import published

MEMORY_SLICES = 8
"""A card that has seven compute slices has eight memory slices; one that has four has four."""

_PROFILE = re.compile(r"(?P<compute>\d+)g\.(?P<memory>\d+)gb")
_QUARTERED = re.compile(r"\bA30\b|RTX[ -]PRO", re.IGNORECASE)
_MEMORY_IN_NAME = re.compile(r"(\d+)\s?GB(?![a-z])", re.IGNORECASE)


def split(total: int, weights: Sequence[int | Fraction]) -> tuple[int, ...]:
    """Whole parts of ``total`` in proportion to ``weights``; they sum to ``total``, the remainder is in the first part.

    Raises ValueError when there is nothing to divide by.

    >>> split(1000, [1] * 7)
    (148, 142, 142, 142, 142, 142, 142)
    """
    whole = sum(Fraction(w) for w in weights)
    if whole <= 0 or any(w < 0 for w in weights):
        raise ValueError(f"weights must be positive, not {list(weights)}")
    parts = [int(total * Fraction(w) / whole) for w in weights]
    parts[0] += total - sum(parts)
    return tuple(parts)


def by_count(milligpu: int, slots: int, quantity: int) -> int:
    """What ``quantity`` of ``slots`` equal slots hold of ``milligpu``. Raises ValueError when there are no slots."""
    if slots <= 0:
        raise ValueError("there are no slots to take a share of")
    return milligpu * quantity // slots


def compute_slices(model: str) -> int:
    """How many compute slices the largest MIG profile of a card has: 4 on A30 and RTX PRO cards, 7 elsewhere."""
    return 4 if _QUARTERED.search(model) else 7


def card_memory_gib(model: str) -> float:
    """The memory of a card as its name tells it (``NVIDIA-H100-80GB-HBM3`` -> 80.0), 0 when it does not."""
    found = _MEMORY_IN_NAME.search(model)
    return float(found.group(1)) if found else 0.0


def mig_weight(profile: str, *, slices: int = 7, memory_gib: float = 0.0, model: str = "") -> Fraction:
    """The part of its card that a MIG instance of ``profile`` takes: the larger of its `mig_parts`."""
    return max(mig_parts(profile, slices=slices, memory_gib=memory_gib, model=model))


def mig_parts(profile: str, *, slices: int = 7, memory_gib: float = 0.0, model: str = "") -> tuple[Fraction, Fraction]:
    """What a MIG instance of ``profile`` (``1g.10gb``, ``1g.20gb+me``, ``3g.40gb.me``) takes of its card's compute
    slices, and of its memory.

    ``slices`` is `compute_slices` of the card; ``memory_gib`` its memory, 0 when unknown; ``model`` its name, empty
    when unknown. A profile that nobody has published is worked out from its own numbers; without a size of memory only
    compute counts. Raises ValueError for what is not a MIG profile.
    """
    found = _PROFILE.match(profile)
    if not found:
        raise ValueError(f"{profile!r} is not a MIG profile such as 1g.10gb")
    compute, memory = int(found["compute"]), int(found["memory"])
    known = published(model, compute, memory, memory_gib)
    if known:
        return known
    share = min(Fraction(compute, slices), Fraction(1))
    if memory_gib <= 0:
        return share, share
    memory_slices = slices if slices < 7 else MEMORY_SLICES
    taken = max(1, round(memory * memory_slices / memory_gib))
    return share, min(Fraction(taken, memory_slices), Fraction(1))


def instances_per_card(profile: str, *, slices: int = 7, memory_gib: float = 0.0) -> int:
    """How many instances of one profile fit on a card that holds nothing else."""
    return int(1 / mig_weight(profile, slices=slices, memory_gib=memory_gib))


def cards_needed(weights: Sequence[Fraction]) -> int:
    """The fewest cards that could hold slices of these parts of a card: of compute and of memory, the larger number.

    Both fill up independently: 3g and 4g are one card, though each is half of its memory and 4g is more of its compute.
    """
    return ceil(sum(weights, Fraction(0)))


def divide_cards(cards: int, weights: Sequence[Fraction], counts: Sequence[int]) -> tuple[int, ...]:
    """Divide whole ``cards`` among pools of ``counts`` slots, each slot of its pool's weight: milliGPU per pool."""
    return split(cards * MILLI_PER_GPU, [w * n for w, n in zip(weights, counts, strict=True)])
