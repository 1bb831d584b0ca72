"""Who has which part of a machine at one moment: the charge rule of one instant, used live and in the ledger.

A machine's pool of cards of one model is a row of positions, 1000 per card. Every leaf (a job's cards, a lender's free
rest, a disputed pod) is put on it: leaves whose cards are known exactly there (a share of a card where that card has
room); the others where there is room, Slurm's from the first card up and Kubernetes' from the last card down, so that
counts alone never make a conflict that known cards would not have. A position that two leaves need is `disputed`,
posted once, and names both. What nobody holds is idle, down or unknown. So the parts of a pool always sum to its
capacity, and every leaf is the owner of a part: of one without cards, when all it holds is counted on its opponent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporters.join.cards import Card
from exporters.model import MILLI_PER_GPU, Disposition, Scheduler


@dataclass(frozen=True, slots=True)
class Leaf:
    """Something that holds cards and contains nothing else. ``owner`` is the caller's own handle, unique, order-giving.

    ``milligpu`` is held in total; ``cards`` are those on which it is known to be held, ``amounts`` how much on each
    (empty: in equal parts, as far as they reach).
    ``disposition`` is what its cards are when nobody else needs them: charged, reserved, down, unknown or disputed.
    ``family`` is the same number for leaves that live inside one another: they dispute strangers before each other.
    """

    owner: int
    scheduler: Scheduler
    milligpu: int
    disposition: Disposition
    cards: tuple[Card, ...] = ()
    family: int = -1
    amounts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """Some of a pool under one disposition. ``owner`` -1 = nobody; ``opponent``: the other side of a conflict.

    ``others`` are further sides, where more than two need the same. ``milligpu`` is 0 for an owner all of whose cards
    are counted on somebody else's dispute.
    """

    disposition: Disposition
    owner: int
    milligpu: int
    opponent: int = -1
    others: tuple[int, ...] = ()


Interval = tuple[int, int]


def divide(capacity: int, leaves: Sequence[Leaf], rest: Disposition) -> list[Part]:
    """Divide one pool's ``capacity`` milliGPU among ``leaves``; what is left over becomes ``rest``.

    Returns parts that sum to ``capacity`` exactly, sorted, one per (disposition, owner, opponent). The order of
    ``leaves`` does not matter, only their ``owner`` numbers do. Together above capacity they end in `disputed`; what a
    single leaf holds above the capacity is on nobody's part, and the caller's to report.

    >>> divide(2000, [Leaf(1, Scheduler.SLURM, 1000, Disposition.CHARGED)], Disposition.IDLE)
    [Part(disposition=<Disposition.CHARGED: 'charged'>, owner=1, milligpu=1000, opponent=-1, \
others=()), Part(disposition=<Disposition.IDLE: 'idle'>, owner=-1, milligpu=1000, opponent=-1, others=())]
    """
    free = capacity - sum(leaf.milligpu for leaf in leaves)
    if free >= 0 and not _crowded(leaves):  # there is room for all, wherever it is
        parts = [Part(leaf.disposition, leaf.owner, leaf.milligpu) for leaf in leaves if leaf.milligpu > 0]
        return sorted([*parts, Part(rest, -1, free)] if free else parts)
    row = _Row(capacity)
    places = _places(leaves, capacity)
    ordered = sorted(leaves, key=precedence)
    missing = [(leaf, leaf.milligpu - _lay_known(row, leaf, places)) for leaf in ordered]
    crowded = [(leaf, row.fill(leaf, amount)) for leaf, amount in missing]
    for leaf, amount in crowded:
        row.crowd(leaf, amount)
    return row.parts(rest)


def _crowded(leaves: Sequence[Leaf]) -> bool:
    """Whether more is known to be on some card than it has."""
    if not any(leaf.cards for leaf in leaves):
        return False
    on: dict[Card, int] = defaultdict(int)
    for leaf in leaves:
        for card, milligpu in _known(leaf):
            on[card] += milligpu
    return max(on.values(), default=0) > MILLI_PER_GPU


def _known(leaf: Leaf) -> list[tuple[Card, int]]:
    """How much of a leaf is on which card; of what is more than the leaf nothing is left for the last cards."""
    if leaf.amounts:
        return list(zip(leaf.cards, leaf.amounts, strict=True))
    cards = tuple(dict.fromkeys(card for card in leaf.cards if isinstance(card, str) or card >= 0))
    left, found = leaf.milligpu, []
    for n, card in enumerate(cards):
        take = min(MILLI_PER_GPU, -(-left // (len(cards) - n)))
        found.append((card, take))
        left -= take
    return found


def _places(leaves: Sequence[Leaf], capacity: int) -> dict[Card, int]:
    """Where on the row each known card is: an index that the pool has there, any other card wherever nobody's is.

    A card for which there is no place tells nothing: what is on it is held by count.
    """
    count = capacity // MILLI_PER_GPU
    named = {card for leaf in leaves for card, _ in _known(leaf)}
    places: dict[Card, int] = {card: card for card in named if isinstance(card, int) and card < count}
    others = sorted(named - places.keys(), key=lambda card: (isinstance(card, str), card))
    free = [place for place in range(count) if place not in places]
    return places | dict(zip(others, free, strict=False))


def _lay_known(row: _Row, leaf: Leaf, places: Mapping[Card, int]) -> int:
    """Lay a leaf on the cards it is known to be on; returns how much that is."""
    laid = 0
    for card, milligpu in _known(leaf):
        if card in places:
            low = places[card] * MILLI_PER_GPU
            span = (low, low + MILLI_PER_GPU)
            row.crowd(leaf, row.fill(leaf, milligpu, span), span)
            laid += milligpu
    return laid


def precedence(leaf: Leaf) -> tuple[bool, bool, int]:
    """Known cards first, then those that pay, then the rest; within that the caller's order."""
    return (not leaf.cards, leaf.disposition is not Disposition.CHARGED, leaf.owner)


class _Row:
    """The positions of one pool: sorted, gapless stretches ``[start, end, leaves there]``."""

    def __init__(self, capacity: int) -> None:
        self.stretches: list[tuple[int, int, tuple[Leaf, ...]]] = [(0, capacity, ())] if capacity > 0 else []

    def put(self, leaf: Leaf, start: int, end: int) -> None:
        """Lay a leaf over ``[start, end)``."""
        after: list[tuple[int, int, tuple[Leaf, ...]]] = []
        for a, b, there in self.stretches:
            low, high = max(a, start), min(b, end)
            if low >= high or leaf in there:
                after.append((a, b, there))
                continue
            after.extend(s for s in ((a, low, there), (low, high, (*there, leaf)), (high, b, there)) if s[0] < s[1])
        self.stretches = after

    def fill(self, leaf: Leaf, amount: int, span: Interval | None = None) -> int:
        """Lay a leaf over free positions (of ``span``), from its scheduler's side; returns what found no room."""
        return self._lay(leaf, amount, [(a, b) for a, b, there in self._within(span) if not there])

    def crowd(self, leaf: Leaf, amount: int, span: Interval | None = None) -> int:
        """Lay a leaf over held positions: strangers' before its family's, and the other scheduler's before its own's,
        each time where fewest are already. Returns what exceeds the pool even so.
        """
        if amount <= 0:
            return 0
        tiers: dict[tuple[bool, bool, int], list[Interval]] = defaultdict(list)
        for a, b, there in self._within(span):
            if there and leaf not in there:
                kin = leaf.family >= 0 and any(t.family == leaf.family for t in there)
                tiers[kin, any(t.scheduler == leaf.scheduler for t in there), len(there)].append((a, b))
        for tier in sorted(tiers):
            amount = self._lay(leaf, amount, tiers[tier])
        return amount

    def _within(self, span: Interval | None) -> list[tuple[int, int, tuple[Leaf, ...]]]:
        if span is None:
            return self.stretches
        clipped = ((max(a, span[0]), min(b, span[1]), there) for a, b, there in self.stretches)
        return [s for s in clipped if s[0] < s[1]]

    def _lay(self, leaf: Leaf, amount: int, room: list[Interval]) -> int:
        from_top = leaf.scheduler is Scheduler.KUBERNETES
        for a, b in reversed(room) if from_top else room:
            take = min(amount, b - a)
            if take <= 0:
                break
            self.put(leaf, b - take if from_top else a, b if from_top else a + take)
            amount -= take
        return amount

    def parts(self, rest: Disposition) -> list[Part]:
        """Sum the stretches by what they are."""
        sums: dict[tuple[Disposition, int, int, tuple[int, ...]], int] = defaultdict(int)
        rivals: dict[int, tuple[int, ...]] = {}
        for a, b, there in self.stretches:
            if not there:
                sums[rest, -1, -1, ()] += b - a
            elif len(there) == 1:
                sums[there[0].disposition, there[0].owner, -1, ()] += b - a
            else:  # the latest owner is the one who has to explain himself; the first is his opponent
                first, *others, last = sorted(t.owner for t in there)
                sums[Disposition.DISPUTED, last, first, tuple(others)] += b - a
                for owner in (first, *others):
                    rivals.setdefault(owner, (last, *(n for n in (first, *others) if n != owner)))
        own = {owner for _, owner, _, _ in sums}
        for owner, (rival, *others) in rivals.items():
            if owner not in own:
                sums[Disposition.DISPUTED, owner, rival, tuple(others)] = 0
        return sorted(Part(d, owner, amount, opponent, others) for (d, owner, opponent, others), amount in sums.items())
