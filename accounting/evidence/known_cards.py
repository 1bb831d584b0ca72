"""Which cards each claim of a node-day is known to hold, moment by moment: seen live, else named by the claim. Pure.

What was seen of a unit's cards is its claim's while it has only one there; of several it is not told which has which.
What would be more than the claim is stale. Then counts a claim's own word for its whole time, if it names cards.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from accounting.model import HoldingStretch
from exporters.join.cards import Hand, Told, hands, named
from exporters.model import Claim, JobKey, Scheduler

_Unit = tuple[Scheduler, str, str]


def unit_of(job: JobKey, unit: str) -> _Unit:
    """What holds, whatever job it is known to be of: a pod's root owner may become known only later."""
    return (job.scheduler, job.cluster, unit)


class Hands:
    """The known cards of ``claims``, to be asked about any moment; claims go by their positions."""

    def __init__(self, claims: Sequence[Claim], holdings: Collection[HoldingStretch]) -> None:
        self.claims = claims
        self.own = {i: told for i, claim in enumerate(claims) if (told := named(claim))[0]}
        units = {unit_of(c.job, c.unit) for c in claims} if holdings else set()
        self.seen: dict[_Unit, list[HoldingStretch]] = defaultdict(list)
        for h in sorted(holdings):
            if (unit := unit_of(h.job, h.unit)) in units:
                self.seen[unit].append(h)

    def borders(self) -> Iterator[int]:
        """Where something begins or ends to be known."""
        for stretches in self.seen.values():
            for h in stretches:
                yield h.start
                yield h.end

    def at(self, active: Collection[int], moment: int) -> dict[int, Hand]:
        """The hands of the claims that are ``active`` at a moment, as far as any card is known."""
        if not self.own and not self.seen:
            return {}
        told: dict[int, Sequence[Told]] = {}
        numbered = []
        units = Counter(unit_of(self.claims[i].job, self.claims[i].unit) for i in active) if self.seen else Counter()
        for i in active:
            unit = unit_of(self.claims[i].job, self.claims[i].unit)
            seen = self._seen(unit, moment, self.claims[i].milligpu) if units[unit] == 1 else ()
            if seen:
                told[i] = seen
            elif i in self.own:
                told[i], by_number = self.own[i]
                if by_number:
                    numbered.append(i)
        return hands(told, numbered)

    def _seen(self, unit: _Unit, moment: int, most: int) -> Sequence[Told]:
        here = [Told(h.index, h.uuid, h.milligpu) for h in self.seen.get(unit, ()) if h.start <= moment < h.end]
        cards: dict[int | str, int] = {}
        for t in here:  # two recorders may tell the same card
            card = t.index if t.index >= 0 else t.uuid
            cards[card] = max(cards.get(card, 0), t.milligpu)
        return here if sum(cards.values()) <= most else ()
