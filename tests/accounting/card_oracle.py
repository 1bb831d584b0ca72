"""The naive oracle's eyes for cards: which claim is seen on which card at one second, and what that makes of links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from accounting.model import NodeDay
from exporters.model import Claim, Scheduler

Label = int | str
Known = dict[int, dict[Label, int]]
"""MilliGPU by card, by claim."""


def seen_at(day: NodeDay, claims: Sequence[Claim], there: Sequence[int], second: int) -> tuple[Known, set[int]]:
    """The cards of the claims that are there, and whose cards are only their Slurm node's own numbers."""
    told: dict[int, list[tuple[int, str, int]]] = {}
    numbers: set[int] = set()
    for i in there:
        claim = claims[i]
        same = [n for n in there if (claims[n].job.scheduler, claims[n].job.cluster, claims[n].unit) == _unit(claim)]
        rows = [
            (h.index, h.uuid, h.milligpu)
            for h in day.holdings
            if (h.job.scheduler, h.job.cluster, h.unit) == _unit(claim) and h.start <= second < h.end
        ]
        cards = {(index, uuid if index < 0 else "") for index, uuid, _ in rows}
        most = {(c, u): max(m for n, uuid, m in rows if n == c and u in ("", uuid)) for c, u in cards}
        if len(same) == 1 and rows and sum(most.values()) <= claim.milligpu:
            told[i] = rows
        elif not claim.profile and claim.milligpu >= 1000 and 0 < 1000 * len(claim.indices) <= claim.milligpu:
            told[i] = [(index, "", 1000) for index in claim.indices]
            if claim.job.scheduler is Scheduler.SLURM:
                numbers.add(i)
        elif not claim.profile and claim.milligpu >= 1000 and 0 < 1000 * len(claim.uuids) <= claim.milligpu:
            told[i] = [(-1, uuid, 1000) for uuid in claim.uuids]
        elif not claim.profile and claim.milligpu < 1000 and len(claim.uuids) == 1:
            told[i] = [(-1, claim.uuids[0], claim.milligpu)]
    pairs = {(index, uuid) for rows in told.values() for index, uuid, _ in rows if index >= 0 and uuid}
    known: Known = {}
    for i, rows in told.items():
        known[i] = {}
        for index, uuid, milligpu in rows:
            card: Label = index
            if index < 0:
                mine = [n for n, u in pairs if u == uuid]
                clear = len(mine) == 1 and len([u for n, u in pairs if n == mine[0]]) == 1
                card = mine[0] if clear else uuid
            known[i][card] = min(1000, max(milligpu, known[i].get(card, 0)))
    return known, numbers


def _unit(claim: Claim) -> tuple[Scheduler, str, str]:
    return claim.job.scheduler, claim.job.cluster, claim.unit


def is_number_in_pod(i: int, lenders: Sequence[Claim], known: Known, numbers: set[int], capacity: int) -> bool:
    """Whether a job's card numbers may be those of a pod that has only part of the machine."""
    return i in numbers and any(max(known[i]) < c.milligpu / 1000 and c.milligpu < capacity for c in lenders)  # type: ignore[type-var,operator]


def is_elsewhere(inner: Mapping[Label, int], outer: Mapping[Label, int] | None, size: int) -> bool:
    """Whether a claim is seen on more other cards than the outer one may have beside those on which it is seen."""
    if outer is None:
        return False
    alike = {type(card) for card in outer}
    strange = sum(milligpu for card, milligpu in inner.items() if card not in outer and type(card) in alike)
    return strange > size - sum(outer.values())


def left_over(mine: Mapping[Label, int], inside: Sequence[Mapping[Label, int]], own: int) -> dict[Label, int]:
    """A claim's cards without those of the claims inside; nothing when that is more than it has for itself."""
    taken = Counter(dict.fromkeys(mine, 0))
    for cards in inside:
        taken.update(cards)
    left = {card: milligpu - taken[card] for card, milligpu in mine.items() if milligpu > taken[card]}
    return left if sum(left.values()) <= own else {}


def places(cards: Sequence[Mapping[Label, int]], count: int) -> dict[Label, int]:
    """Where each card is in a pool of ``count`` cards: at its index, or, unless that is there, where no other is."""
    every = {card for hand in cards for card in hand}
    found: dict[Label, int] = {card: card for card in every if isinstance(card, int) and card < count}
    free = [n for n in range(count) if n not in found]
    others = sorted(c for c in every if isinstance(c, int) and c >= count)
    for card in [*others, *sorted(c for c in every if isinstance(c, str))]:
        if free:
            found[card] = free.pop(0)
    return found
