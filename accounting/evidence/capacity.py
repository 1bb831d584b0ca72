"""What a node has had, and whether it took work, over all of a stretch of time: sightings, events, and what they imply.

Pure. The rules, in order:

1. While it was seen live, a node has what was seen.
2. Between two sightings with a hole between them it has what was last seen; after the last one too, until a reading
   that no longer lists the node says that it left (`LEFT`; after a hole that is a sighting of no length). A node that
   left and came back had nothing in between.
3. Before the first sighting it has what was first seen, back to the first second at which any record (a claim on it, an
   event of it) mentions it. Earlier it did not exist as far as anybody knows.
4. A node never seen live has what its events say, each until the next one, and the first one back to the first mention;
   of the models that they name, else of the one that claims on it name. Without events it has what claims prove, from
   the first mention to the last: the most that was held at one moment, by model. Where its cluster is read live, it was
   gone when that began, at the latest, and what is known of it is only *proven*: nobody saw what else was so.
5. An event that says *not available* takes the node down. In carried time (rules 2 to 4) that the history was read for,
   events alone decide; where it was not, the last sighting stands. In seen time an event counts beside the sighting,
   but one without end only until it was last told: what is seen later is newer. Where a carried node's event names a
   number of cards, that many it had; where it names other models than were seen, those.

Where claims hold more than this in time that nobody looked at the node,
`accounting.evidence.hypotheses.proven_cards` has the rule.

So the capacity of a stretch may be carried while nobody can say what was done with it: whether that time is ``idle`` or
``unknown`` is decided by coverage, never here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from accounting.model import LEFT, CapacityStretch
from exporters.join.links import FOREVER
from exporters.model import NodeKey

_NEVER = 1 << 62
_OPEN = FOREVER
"""The end of a claim that is not over."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Over ``[start, end)`` the live side saw this. ``basis`` says why it ended; ``slots`` are as in a node."""

    start: int
    end: int
    model: str
    milligpu: int
    up: bool
    reason: str = ""
    basis: str = ""
    slots: Sequence[tuple[str, int, int]] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a node, as the history last told it at ``seen_at``; ``end`` None = not over then."""

    start: int
    end: int | None
    up: bool
    milligpu: int | None = None
    reason: str = ""
    seen_at: int = 0
    cards: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Everything known about one node.

    ``read`` is when its scheduler's history was read; ``mentioned`` the first second at which a record names it, and
    ``until`` the last second to which a claim on it reaches. ``held`` is the most that claims held there at one moment,
    by model. ``gone`` is when the nodes of its cluster were first read live, None where they never were.
    """

    key: NodeKey
    sightings: Sequence[Sighting] = ()
    events: Sequence[Event] = ()
    read: Sequence[tuple[int, int]] = ()
    mentioned: int | None = None
    until: int = 0
    held: Sequence[tuple[str, int]] = ()
    gone: int | None = None


_Pool = tuple[str, int, bool, str]
"""Model, milliGPU, up, reason."""


def stretches(facts: NodeFacts, start: int, end: int) -> list[CapacityStretch]:
    """The node's capacity over ``[start, end)``: sorted, without overlap within one model."""
    timeline = _Timeline(facts)
    found: list[tuple[int, int, _Pool]] = []
    for a, b in pairwise(timeline.borders(start, end)):
        found.extend((a, b, pool) for pool in timeline.at(a))
    return _joined(facts.key, found, proven=timeline.proven)


class _Timeline:
    """One node's facts, ready to be asked about a moment. Nothing changes between two borders."""

    def __init__(self, facts: NodeFacts) -> None:
        self.facts = facts
        # seen once is seen, but for what only says that a node was gone after a hole
        seen = [replace(s, end=s.start + 1) if s.end <= s.start and s.basis != LEFT else s for s in facts.sightings]
        self.seen = sorted(seen, key=lambda s: (s.start, s.model, s.end))
        self.events = sorted(facts.events, key=lambda e: (e.start, e.milligpu or 0, e.reason))
        self.counted = [e for e in self.events if e.milligpu is not None]
        mentions = [s.start for s in self.seen] + [e.start for e in self.events]
        if facts.mentioned is not None:
            mentions.append(facts.mentioned)
        self.born = min(mentions, default=_NEVER)
        self.ends = sorted({s.end for s in self.seen})
        # of a node that nobody saw nothing is known but by events, where its cluster has never been read live
        self.proven = not self.seen and (facts.gone is not None or not self.counted)
        gone = _NEVER if facts.gone is None else facts.gone
        told = [max(e.start, gone) if e.end is None else e.end for e in self.events]
        self.last = max([min(facts.until, gone) if facts.until == _OPEN else facts.until, *told])

    def borders(self, start: int, end: int) -> list[int]:
        moments = {start, end, self.born, self.last}
        for s in self.seen:
            moments.update((s.start, s.end))
        for e in self.events:
            moments.update((e.start, _NEVER if e.end is None else e.end, e.seen_at))
        for a, b in self.facts.read:
            moments.update((a, b))
        return sorted(m for m in moments if start <= m <= end)

    def at(self, moment: int) -> list[_Pool]:
        """What the node has at a moment."""
        if moment < self.born or (self.proven and moment >= self.last):
            return []
        now = [s for s in self.seen if s.start <= moment < s.end]
        if now:
            return self._with_events([self._pool(s) for s in _merged(now)], moment, carried=False)
        return self._with_events(self._carried(moment), moment, carried=True)

    def _pool(self, s: Sighting) -> _Pool:
        return (s.model, s.milligpu, s.up, s.reason)

    def _carried(self, moment: int) -> list[_Pool]:
        """What the node is believed to have while nobody looks."""
        if self.seen:
            before = bisect_right(self.ends, moment)
            if before == 0:
                first = self.seen[0].start
                return [self._pool(s) for s in _merged([s for s in self.seen if s.start == first])]
            last = self.ends[before - 1]
            ending = [s for s in self.seen if s.end == last]
            # of two sources that saw the last of it, one may still have seen it there
            return [self._pool(s) for s in _merged([s for s in ending if s.basis != LEFT])]
        if self.counted:
            told = [e for e in self.counted if e.start <= moment]
            event = told[-1] if told else self.counted[0]
            models = {model for model, _ in self.facts.held}
            named = event.cards or [(models.pop() if len(models) == 1 else "", event.milligpu or 0)]
            return [(model, milligpu, True, "") for model, milligpu in named]
        return [(model, milligpu, True, "") for model, milligpu in self.facts.held]

    def _with_events(self, pools: list[_Pool], moment: int, *, carried: bool) -> list[_Pool]:
        here = [e for e in self.events if e.start <= moment and (e.end is None or moment < e.end)]
        if not carried:
            here = [e for e in here if e.end is not None or moment < e.seen_at]
        down = [e for e in here if not e.up]
        read = any(a <= moment < b for a, b in self.facts.read)
        counted = [e for e in here if e.milligpu is not None]
        if carried and counted and pools:
            pools = _as_told(pools, counted[-1])
        after = []
        for model, milligpu, up, reason in pools:
            if down:
                after.append((model, milligpu, False, down[-1].reason or reason))
            elif carried and read:
                after.append((model, milligpu, True, ""))
            else:
                after.append((model, milligpu, up, reason))
        return after


def _as_told(pools: list[_Pool], event: Event) -> list[_Pool]:
    """What a carried node has while an event names its cards."""
    has = {model.casefold() for model, *_ in pools}
    if event.cards and {model.casefold() for model, _ in event.cards} != has:
        return [(model, milligpu, *pools[0][2:]) for model, milligpu in event.cards]
    if len(pools) == 1:
        return [(pools[0][0], event.milligpu or 0, *pools[0][2:])]
    return pools


def _merged(sightings: Sequence[Sighting]) -> list[Sighting]:
    """One sighting per model: where two sources saw the same cards, the larger number; up only if both say so."""
    best: dict[str, Sighting] = {}
    for s in sorted(sightings, key=lambda s: (s.model, s.up, -s.milligpu, s.reason, s.basis)):
        other = best.get(s.model)
        if other is None:
            best[s.model] = s
        elif s.milligpu > other.milligpu:
            best[s.model] = Sighting(other.start, other.end, s.model, s.milligpu, other.up, other.reason, other.basis)
    return [best[m] for m in sorted(best)]


def _joined(key: NodeKey, found: Sequence[tuple[int, int, _Pool]], *, proven: bool) -> list[CapacityStretch]:
    """Neighbours that say the same become one."""
    last: dict[_Pool, tuple[int, int]] = {}
    done: list[tuple[int, int, _Pool]] = []
    for a, b, pool in found:
        before = last.get(pool)
        if before is not None and before[1] == a:
            last[pool] = (before[0], b)
        else:
            if before is not None:
                done.append((*before, pool))
            last[pool] = (a, b)
    done += [(*span, pool) for pool, span in last.items()]
    return sorted(
        CapacityStretch(a, b, key.scheduler, key.cluster, key.name, model, milligpu, up, reason, proven)
        for a, b, (model, milligpu, up, reason) in done
    )
