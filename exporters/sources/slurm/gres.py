"""GPUs in Slurm's words: TRES totals, GRES details with indices, MIG profiles as GRES types. Pure.

* ``gres/gpu=8,gres/gpu:h100=8`` are the same eight cards twice: the untyped count is the total, the typed ones say what
  they are. A site may track either alone.
* A MIG slice is a gres type of its own, named by its profile, with or without the card's name in front
  (``1g.10gb``, ``nvidia_a100_3g.20gb``, ``a100l.2g.20gb``; a site that avoids dots or prefers capitals writes
  ``a100_3g_20gb``, ``A100_3G.20GB``). It counts as its part of a card (`exporters.sources.shares`): every source of
  Slurm's uses the same rule, and rounds down.
* ``shard`` and ``mps`` are GRES whose units are *slots* on a node's cards: all of a node's slots are its cards (of
  their type), and only the node tells how many of both it has. A record tells how many slots a job held.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from exporters.model import MILLI_PER_GPU
from exporters.sources.mig_profiles import Parts
from exporters.sources.shares import cards_needed, parts_of

_MIG = re.compile(
    r"(?:(?P<card>(?!\d+c\.\d).+?)[_.-])?(?P<instance>\d+c\.)?(?P<compute>\d+g)[._-]?(?P<memory>\d+gb)(?P<more>(?:[+.-]\w+)*)",
    re.IGNORECASE,
)
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
    """A GRES type as (card, MIG profile as NVIDIA writes it).

    >>> split_type("h100"), split_type("a100_1g.5gb"), split_type("A100-3G_20GB")
    (('h100', ''), ('a100', '1g.5gb'), ('A100', '3g.20gb'))
    """
    found = _MIG.fullmatch(kind)
    if not found:
        return kind, ""
    return found["card"] or "", f"{found['instance'] or ''}{found['compute']}.{found['memory']}{found['more']}".lower()


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


def nodes_in(tres: str) -> int:
    """On how many nodes a job has a TRES list, 0 where it does not say: its total is theirs, also while it completes
    on one of them. Raises ValueError for what is not a TRES list.
    """
    count = parse_tres(tres).get("node", "")
    return int(count) if count.isdecimal() else 0


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


def slots_in(tres: Mapping[str, str]) -> dict[str, int]:
    """The slots of a TRES list by kind: ``gres/shard=4,gres/shard:a100=3`` -> 3 of ``shard:a100``, 1 of ``shard``."""
    found: dict[str, int] = {}
    for kind in SHARED:
        typed = {name: _count(name, n) for name, n in tres.items() if name.startswith(f"gres/{kind}:")}
        whole = tres.get(f"gres/{kind}")
        rest = _count(f"gres/{kind}", whole) - sum(typed.values()) if whole is not None else 0
        if rest < 0:
            raise ValueError(f"types of {kind} add up to {sum(typed.values())}, more than gres/{kind}={whole}")
        found |= {name.removeprefix("gres/"): n for name, n in typed.items() if n} | ({kind: rest} if rest else {})
    return found


def slots_of(told: str) -> tuple[str, int] | None:
    """The kind and the number of slots that a claim's profile tells (``shard=4``), None where it tells none."""
    kind, equals, number = told.partition("=")
    return (kind, int(number)) if equals and kind.split(":")[0] in SHARED and number.isdecimal() else None


def shares_for(kind: str, slots: Iterable[tuple[str, int, int]]) -> tuple[int, int] | None:
    """What slots of a kind share of a node (`exporters.model.Node`): milliGPU, and how many they are; None: not told.

    A job may be told by another of the two names that a kind has, with a type and without: without one its slots are of
    all types.
    """
    name, _, of = kind.partition(":")
    some = [shares for shares in slots if shares[0].partition(":")[0] == name]
    found = [shares for shares in some if shares[0] == kind]
    found = found or [shares for shares in some if not of or shares[0] == name]
    return (sum(size for _, size, _ in found), sum(count for *_, count in found)) if found else None


def slot_shares(gres: str) -> dict[str, tuple[tuple[str, int, int], ...]]:
    """What the slots of a node's GRES list share, by the cards' model, as `exporters.model.Node` has it.

    >>> slot_shares("gpu:a100:4(S:0-1),shard:16")
    {'a100': (('shard', 4000, 16),)}
    """
    cards, slots = capacity(parse_gres(gres)), parse_slots(gres)
    found: dict[str, tuple[tuple[str, int, int], ...]] = {}
    for model, milligpu in cards.items():
        shares = []
        for kind, count in sorted(slots.items()):
            of = kind.partition(":")[2]
            if count and of in ("", model):
                shares.append((kind, milligpu if of else sum(cards.values()), count))
        if shares:
            found[model] = tuple(shares)
    return found


def parse_slots(text: str) -> dict[str, int]:
    """The slots of a GRES list by kind: ``gpu:a100:4(S:0),shard:a100:16(S:0)`` -> 16 of ``shard:a100``.

    Raises ValueError for what is not a GRES list.
    """
    found: dict[str, int] = {}
    for name, words, notes in _items(text):
        if name in SHARED:
            count = _COUNT.fullmatch(words[-1]) if words else None
            told = int(notes["CNT"]) if "CNT" in notes else 1
            number = int(count[1]) * _UNITS[count[2] or ""] if count else told
            if number > MOST_UNITS:
                raise ValueError(f"{number} slots of a node: none has more than {MOST_UNITS}")
            kind = ":".join([name, *(words[:-1] if count else words)])
            found[kind] = found.get(kind, 0) + number
    return found


def parse_gres(text: str) -> tuple[Cards, ...]:
    """The GPUs of a GRES list: ``gpu:h100:4(IDX:2-5)``, ``gpu:8(S:0-1)``, ``gpu:h100(CNT:8)``, ``gres/gpu:2``.

    Other GRES are passed over, and so are types with no card. Raises ValueError for what is not a GRES list.
    """
    cards = [_cards(words, notes) for name, words, notes in _items(text) if name == "gpu"]
    return tuple(item for item in cards if item.count)


def _items(text: str) -> Iterator[tuple[str, list[str], Mapping[str, str]]]:
    """The items of a GRES list: name, what colons separate behind it, and notes."""
    if text in {"", "(null)", "N/A"}:
        return
    position = 0
    while position < len(text):
        found = _GRES.match(text, position)
        if not found:
            raise ValueError(f"{text!r} is not a GRES list such as gpu:h100:4(IDX:0-3)")
        position = found.end()
        name, *words = found["words"].replace("=", ":").removeprefix("gres:").removeprefix("gres/").split(":")
        yield name, words, dict(_NOTE.findall(found["notes"]))


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
