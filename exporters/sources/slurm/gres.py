"""GPUs in Slurm's words: TRES totals, GRES details with indices, MIG profiles as GRES types. Pure.

* ``gres/gpu=8,gres/gpu:h100=8`` are the same eight cards twice: the untyped count is the total, the typed ones say what
  they are. A site may track either alone.
* A MIG slice is a gres type of its own, named by its profile, with or without the card's name in front
  (``1g.10gb``, ``nvidia_a100_3g.20gb``, ``a100l.2g.20gb``). It counts as its part of a card
  (`exporters.sources.shares`): every source of Slurm's uses the same rule, and rounds down.
* ``shard`` and ``mps`` are other GRES that share a card's time; how many make a card is not in any record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from exporters.model import MILLI_PER_GPU
from exporters.sources.mig_profiles import Parts
from exporters.sources.shares import cards_needed, parts_of

_MIG = re.compile(r"(?:(?P<card>(?!\d+c\.\d).+?)[_.-])?(?P<profile>(?:\d+c\.)?\d+g\.\d+gb(?:[+.-]\w+)*)")
_GRES = re.compile(r"(?P<words>[^,()]+)(?P<notes>(?:\([^)]*\))*)(?:,|$)")
_COUNT = re.compile(r"(\d+)([KMG])?")
_NOTE = re.compile(r"\((IDX|CNT):([^)]*)\)")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
SHARED = ("shard", "mps")

MOST_UNITS = 100_000_000
"""Units of one GRES that anything may tell of: more is no count, and its milliGPU would not fit a database."""

MOST_ON_NODE = 4096
"""Cards or slices that one node may have or give; numbers of cards are below it, too."""


@dataclass(frozen=True, slots=True)
class Cards:
    """``count`` cards (or MIG slices) of one GRES type; ``indices`` as Slurm numbers them on the node, if known."""

    type: str
    count: int
    indices: tuple[int, ...] = ()

    @property
    def model(self) -> str:
        """The card's name as Slurm spells it, empty when the type is a bare MIG profile or there is none."""
        return split_type(self.type)[0]

    @property
    def profile(self) -> str:
        """The MIG profile, empty for whole cards."""
        return split_type(self.type)[1]

    @property
    def milligpu(self) -> int:
        """What they are, in thousandths of a card."""
        return milligpu(self.type, self.count)


@lru_cache(maxsize=4096)
def milligpu(kind: str, count: int) -> int:
    """``count`` units of a GRES type in thousandths of a card, rounded down."""
    return int(count * weight(kind) * MILLI_PER_GPU)


@lru_cache(maxsize=4096)
def split_type(kind: str) -> tuple[str, str]:
    """A GRES type as (card, MIG profile): ``h100`` -> (h100, ""), ``a100_1g.5gb`` -> (a100, 1g.5gb)."""
    found = _MIG.fullmatch(kind)
    return (found["card"] or "", found["profile"]) if found else (kind, "")


def weight(kind: str) -> Fraction:
    """The part of a card that one unit of a GRES type is: 1 for whole cards."""
    return max(slice_parts(kind))


@lru_cache(maxsize=4096)
def slice_parts(kind: str) -> Parts:
    """What one unit of a GRES type takes of a card's compute, and of its memory."""
    card, profile = split_type(kind)
    return parts_of(profile, card) if profile else (Fraction(1), Fraction(1))


def capacity(cards: Iterable[Cards]) -> dict[str, int]:
    """A node's milliGPU by card model. Slices make whole cards, also where a layout wastes some."""
    whole: dict[str, int] = {}
    slices: dict[str, list[tuple[Parts, int]]] = {}
    for item in cards:
        if item.profile:
            slices.setdefault(item.model, []).append((slice_parts(item.type), item.count))
        else:
            whole[item.model] = whole.get(item.model, 0) + item.count * MILLI_PER_GPU
    for model, found in slices.items():
        whole[model] = whole.get(model, 0) + cards_needed(found) * MILLI_PER_GPU
    return whole


@lru_cache(maxsize=4096)  # most jobs ask for the same as some other
def cards_of(tres: str) -> tuple[Cards, ...]:
    """The cards of a TRES list as text: `gpus_in` of `parse_tres`."""
    return gpus_in(parse_tres(tres))


def parse_tres(text: str) -> dict[str, str]:
    """``cpu=4,gres/gpu=2,mem=1G`` as a dict. Raises ValueError for what is not a TRES list."""
    pairs = [item.partition("=") for item in text.split(",") if item]
    if any(not name or not equals for name, equals, _ in pairs):
        raise ValueError(f"{text!r} is not a TRES list such as cpu=4,gres/gpu=2")
    return {name: value for name, _, value in pairs}


def gpus_in(tres: Mapping[str, str]) -> tuple[Cards, ...]:
    """The cards of a TRES list, one item per type in order of name; what no type explains has the type "".

    Raises ValueError when types add up to more than the total, or a count is not a number.
    """
    total: int | None = None
    typed: dict[str, int] = {}
    for name, value in tres.items():
        if name == "gres/gpu":
            total = _count(name, value)
        elif name.startswith("gres/gpu:"):
            typed[name.removeprefix("gres/gpu:")] = _count(name, value)
    known = sum(typed.values())
    if total is not None and known > total:
        raise ValueError(f"GPU types add up to {known}, more than gres/gpu={total}")
    typed[""] = (total - known) if total is not None else 0
    return tuple(Cards(kind, count) for kind, count in sorted(typed.items()) if count)


def shared_in(tres: Mapping[str, str]) -> str:
    """The first GRES in a TRES list that shares cards without saying how much of one (``gres/shard``), or ""."""
    return next((name for name in tres if name.split(":")[0] in {f"gres/{kind}" for kind in SHARED}), "")


def parse_gres(text: str) -> tuple[Cards, ...]:
    """The GPUs of a GRES list: ``gpu:h100:4(IDX:2-5)``, ``gpu:8(S:0-1)``, ``gpu:h100(CNT:8)``, ``gres/gpu:2``.

    Other GRES are passed over, and so are types with no card. Raises ValueError for what is not a GRES list.
    """
    if text in {"", "(null)", "N/A"}:
        return ()
    cards = []
    position = 0
    while position < len(text):
        found = _GRES.match(text, position)
        if not found:
            raise ValueError(f"{text!r} is not a GRES list such as gpu:h100:4(IDX:0-3)")
        position = found.end()
        name, *words = found["words"].replace("=", ":").removeprefix("gres:").removeprefix("gres/").split(":")
        if name == "gpu":
            cards.append(_cards(words, dict(_NOTE.findall(found["notes"]))))
    return tuple(item for item in cards if item.count)


def _cards(words: list[str], notes: Mapping[str, str]) -> Cards:
    """``words`` are what colons separate after the name: a type, a count, both or neither (one card)."""
    count = 1
    indices = _indices(notes.get("IDX", ""))
    if words and (found := _COUNT.fullmatch(words[-1])):
        count = int(found[1]) * _UNITS[found[2] or ""]
        words = words[:-1]
    elif "CNT" in notes:
        count = int(notes["CNT"])
    elif "IDX" in notes:
        count = len(indices)
    if count > MOST_ON_NODE:
        raise ValueError(f"{count} cards of a node: none has more than {MOST_ON_NODE}")
    return Cards(":".join(words), count, indices if len(indices) == count else ())


def _indices(text: str) -> tuple[int, ...]:
    if text in {"", "N/A"}:
        return ()
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = int(first), int(last or first)
        if end >= MOST_ON_NODE:
            raise ValueError(f"a card with the number {end}: no node has more than {MOST_ON_NODE}")
        numbers += range(begin, end + 1)
    return tuple(numbers)


def _count(name: str, value: str) -> int:
    if not value.isdecimal() or len(value) > 20 or int(value) > MOST_UNITS:
        raise ValueError(f"{name}={value[:100]!r} is not a count")
    return int(value)
