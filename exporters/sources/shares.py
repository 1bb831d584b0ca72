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
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import ceil

from exporters.model import MILLI_PER_GPU
from exporters.sources.mig_profiles import Parts, published

SHARED = "shared"
"""The profile of time-sliced (and MPS) replicas of whole cards, and of other parts that are told apart by no name."""

MEMORY_SLICES = 8
"""A card that has seven compute slices has eight memory slices; one that has four has four."""

_PROFILE = re.compile(r"(?P<compute>\d+)g\.(?P<memory>\d+)gb")
_MEDIA = re.compile(r"gb[+.]me\b")
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


def mig_parts(profile: str, *, slices: int = 7, memory_gib: float = 0.0, model: str = "") -> Parts:
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


def parts_of(profile: str, model: str = "", memory_gib: float = 0.0) -> Parts:
    """What an instance of a MIG profile takes of its card, whose name is ``model``: `mig_parts` by all that it tells.

    ``memory_gib`` is the card's memory where another label tells it. A compute instance (``1c.2g.10gb``) still takes
    all of its GPU instance's part. Raises ValueError for what is not a MIG profile.
    """
    plain = profile.split("c.", 1)[-1]
    memory = memory_gib or card_memory_gib(model)
    return mig_parts(plain, slices=compute_slices(model), memory_gib=memory, model=model)


def per_card(parts: Parts) -> int:
    """How many instances of these parts fit on a card that holds nothing else."""
    return int(1 / max(parts))


def most_on_card(profile: str, model: str = "") -> int:
    """How many instances of one profile a card of this name holds when it holds nothing else.

    A card has its media extensions once: one instance with ``+me`` (``.me`` in a resource's name, ``+me.all``) is all.
    Raises ValueError for what is not a MIG profile.

    >>> most_on_card("2g.20gb"), most_on_card("1g.10gb.me", "H100"), most_on_card("1g.24gb-me", "RTX-PRO-6000")
    (3, 1, 4)
    """
    return 1 if _MEDIA.search(profile) else per_card(parts_of(profile, model))


def instances_per_card(profile: str, *, slices: int = 7, memory_gib: float = 0.0) -> int:
    """How many instances of one profile fit on a card that holds nothing else."""
    return per_card(mig_parts(profile, slices=slices, memory_gib=memory_gib))


def cards_needed(slices: Iterable[tuple[Parts, int]]) -> int:
    """The fewest cards that could hold so many instances of these parts of a card.

    Compute and memory fill up independently: a 3g and a 4g are on one card, though each is half of its memory and a 4g
    more than half of its compute. And no more instances of a profile lie on a card than fit there alone: three 2g.

    >>> cards_needed([(parts_of("4g.40gb"), 8), (parts_of("3g.40gb"), 8)]), cards_needed([(parts_of("2g.20gb"), 24)])
    (8, 8)
    """
    some = list(slices)
    compute = sum((parts[0] * n for parts, n in some), Fraction(0))
    memory = sum((parts[1] * n for parts, n in some), Fraction(0))
    return max(ceil(compute), ceil(memory), *(-(-n // per_card(parts)) for parts, n in some))


def divide_cards(cards: int, weights: Sequence[Fraction], counts: Sequence[int]) -> tuple[int, ...]:
    """Divide whole ``cards`` among pools of ``counts`` slots, each slot of its pool's weight: milliGPU per pool."""
    return split(cards * MILLI_PER_GPU, [w * n for w, n in zip(weights, counts, strict=True)])
