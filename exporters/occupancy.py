"""Who has which part of a machine at one moment: the charge rule of one instant, used live and in the ledger.

A machine's pool of cards of one model is a row of positions, 1000 per card. Every leaf (a job's cards, a lender's free
rest, a disputed pod) is put on it: leaves whose cards are known exactly there; the others where there is room, Slurm's
from the first card up and Kubernetes' from the last card down, so that counts alone never make a conflict that known
cards would not have. A position that two leaves need is `disputed`, posted once, and names both. What nobody holds is
idle, down or unknown. So the parts of a pool always sum to its capacity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporters.model import MILLI_PER_GPU, Disposition, Scheduler


@dataclass(frozen=True, slots=True)
class Leaf:
    """Something that holds cards and contains nothing else. ``owner`` is the caller's own handle, order-giving.

    ``milligpu`` is held in total, of which ``cards`` (indices in the pool) are known whole cards.
    ``disposition`` is what its cards are when nobody else needs them: charged, reserved, down or disputed.
    """

    owner: int
    scheduler: Scheduler
    milligpu: int
    disposition: Disposition
    cards: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """Some of a pool under one disposition. ``owner`` -1 = nobody; ``opponent``: the other side of a conflict."""

    disposition: Disposition
    owner: int
    milligpu: int
    opponent: int = -1


Interval = tuple[int, int]


def divide(capacity: int, leaves: Sequence[Leaf], rest: Disposition) -> list[Part]:
    """Divide one pool's ``capacity`` milliGPU among ``leaves``; what is left over becomes ``rest``.

    Returns parts that sum to ``capacity`` exactly, sorted, one per (disposition, owner, opponent). The order of
    ``leaves`` does not matter, only their ``owner`` numbers do. Claims above capacity end in `disputed`.

    >>> divide(2000, [Leaf(1, Scheduler.SLURM, 1000, Disposition.CHARGED)], Disposition.IDLE)
    [Part(disposition=<Disposition.CHARGED: 'charged'>, owner=1, milligpu=1000, opponent=-1), \
Part(disposition=<Disposition.IDLE: 'idle'>, owner=-1, milligpu=1000, opponent=-1)]
    """
    row = _Row(capacity)
    ordered = sorted(leaves, key=_precedence)
    missing: list[tuple[Leaf, int]] = []
    for leaf in ordered:
        known = 0
        for card in leaf.cards:
            take = min(MILLI_PER_GPU, leaf.milligpu - known, capacity - card * MILLI_PER_GPU)
            if card >= 0 and take > 0:
                row.put(leaf, card * MILLI_PER_GPU, card * MILLI_PER_GPU + take)
                known += take
        missing.append((leaf, leaf.milligpu - known))
    crowded = [(leaf, row.fill(leaf, amount)) for leaf, amount in missing if amount > 0]
    for leaf, amount in crowded:
        if amount > 0:
            row.crowd(leaf, amount)
    return row.parts(rest)


def _precedence(leaf: Leaf) -> tuple[bool, bool, int]:
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

    def fill(self, leaf: Leaf, amount: int) -> int:
        """Lay a leaf over free positions, from its scheduler's side; returns what found no room."""
        return self._lay(leaf, amount, [(a, b) for a, b, there in self.stretches if not there])

    def crowd(self, leaf: Leaf, amount: int) -> int:
        """Lay a leaf over held positions: the other scheduler's first. What exceeds the pool even so is dropped."""
        foreign: list[Interval] = []
        own: list[Interval] = []
        for a, b, there in self.stretches:
            if leaf not in there:
                (foreign if all(t.scheduler != leaf.scheduler for t in there) else own).append((a, b))
        return self._lay(leaf, self._lay(leaf, amount, foreign), own)

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
        sums: dict[tuple[Disposition, int, int], int] = {}
        for a, b, there in self.stretches:
            if not there:
                key = (rest, -1, -1)
            elif len(there) == 1:
                key = (there[0].disposition, there[0].owner, -1)
            else:  # the latest owner is the one who has to explain himself; the first is his opponent
                owners = sorted({t.owner for t in there})
                key = (Disposition.DISPUTED, owners[-1], owners[0])
            sums[key] = sums.get(key, 0) + b - a
        return sorted(Part(d, owner, amount, opponent) for (d, owner, opponent), amount in sums.items())
