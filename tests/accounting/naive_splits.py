"""The oracle of guessed splits on a day: every run that was guessed is asked for, whether it is in doubt or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil
from typing import NamedTuple

from accounting.evidence.hypotheses.exact_splits import unit_of_kind
from accounting.model import CapacityStretch
from exporters.join.splits.fitting import Kind, Room, Spread, Taken, fit
from exporters.model import Claim, Job, JobKey, NodeKey


class Held(NamedTuple):
    """A claim, the job that holds it, and a digest of what is known of it."""

    claim: Claim
    job: Job
    told: bytes


def fitted(
    known: Sequence[Held], capacity: Mapping[NodeKey, Sequence[CapacityStretch]], a: int, b: int
) -> Iterator[tuple[Claim, Held]]:
    """The claims of a day with guessed splits in which all fit, each with the one that it was or is like."""
    guessed: dict[JobKey, list[Held]] = defaultdict(list)
    for h in known:
        if h.claim.split_assumed:
            guessed[h.claim.job].append(h)
    runs = sorted(guessed.values(), key=lambda some: (some[0].claim.start, some[0].claim.job.id))
    runs = [some for some in runs if len({h.claim.node for h in some}) > 1]
    mine = {h.claim for some in runs for h in some}
    keys = sorted({h.claim.node for h in known} | {*capacity})
    spreads = [_spread(some, keys, a, b) for some in runs]
    taken = [
        Taken(max(c.start, a), min(_end(c, b), b), keys.index(c.node), c.model, c.milligpu)
        for c in (h.claim for h in known)
        if c not in mine and c.milligpu and max(c.start, a) < min(_end(c, b), b)
    ]
    found = fit(spreads, taken, {keys.index(key): [*_rooms(there, a, b)] for key, there in capacity.items()})
    for h in known:
        if h.claim not in mine and (h.claim.milligpu or not h.claim.split_assumed):
            yield h.claim, h
    for n, (some, spread) in enumerate(zip(runs, spreads, strict=True)):
        own = {(h.claim.node, h.claim.model, h.claim.profile): h for h in some}
        for node, counts in zip(spread.nodes, found.get(n, spread.shares), strict=True):
            for kind, count in zip(_kinds(some), counts, strict=True):
                like = own.get((keys[node], *kind)) or next(own[k] for k in own if k[1:] == kind)
                if count:
                    milligpu = int(count * unit_of_kind(*kind))
                    yield replace(like.claim, node=keys[node], milligpu=milligpu), like


def _end(claim: Claim, now: int) -> int:
    return now if claim.end is None else claim.end


def _kinds(some: Sequence[Held]) -> list[tuple[str, str]]:
    return sorted({(h.claim.model, h.claim.profile) for h in some})


def _spread(some: Sequence[Held], keys: Sequence[NodeKey], a: int, b: int) -> Spread:
    first, nodes, kinds = some[0].claim, sorted({h.claim.node for h in some}), _kinds(some)
    held = {(h.claim.node, h.claim.model, h.claim.profile): h.claim.milligpu for h in some}
    shares = tuple(tuple(ceil(held.get((node, *k), 0) / unit_of_kind(*k)) for k in kinds) for node in nodes)
    return Spread(
        max(first.start, a),
        min(_end(first, b), b),
        tuple(keys.index(node) for node in nodes),
        tuple(Kind(model, unit_of_kind(model, profile)) for model, profile in kinds),
        shares,
    )


def _rooms(there: Sequence[CapacityStretch], a: int, b: int) -> Iterator[Room]:
    for first, last in pairwise(sorted({a, b, *(t for s in there for t in (s.start, s.end) if a < t < b)})):
        models: dict[str, int | None] = {}
        for s in there:
            if s.start <= first < s.end:
                models[s.model] = None if s.proven else (models.get(s.model) or 0) + s.milligpu
        if models:
            yield Room(first, last, models)
