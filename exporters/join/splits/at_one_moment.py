"""Claims of one moment whose shares were guessed, put so that all of a Slurm fit (`exporters.join.splits.fitting`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from exporters.join.splits.fitting import Kind, Room, Spread, Taken, fit
from exporters.model import MILLI_PER_GPU, Claim, JobKey, Node, NodeKey

_NOW = (0, 1)


def fitted(claims: Sequence[Claim], nodes: Iterable[Node]) -> Sequence[Claim]:
    """The claims, those of whole cards that were guessed with shares in which all fit; the same ones where all do."""
    guessed: dict[JobKey, dict[tuple[NodeKey, str], Claim]] = defaultdict(dict)
    for claim in claims:
        if claim.split_assumed and not claim.profile:
            guessed[claim.job][claim.node, claim.model] = claim
    runs = [(job, some) for job, some in sorted(guessed.items()) if len({node for node, _ in some}) > 1]
    if not runs:
        return claims
    keys = sorted({c.node for c in claims})
    place = {key: n for n, key in enumerate(keys)}
    mine = {id(c) for _, some in runs for c in some.values()}
    taken = [Taken(*_NOW, place[c.node], c.model.casefold(), c.milligpu) for c in claims if id(c) not in mine]
    found = fit([_spread(some, place) for _, some in runs], taken, _rooms(nodes, place))
    if not found:
        return claims
    after = [c for c in claims if id(c) not in mine]
    for n, (_, some) in enumerate(runs):
        spread = _spread(some, place)
        for node, counts in zip(spread.nodes, found.get(n, spread.shares), strict=True):
            for model, count in zip(_models(some), counts, strict=True):
                like = some.get((keys[node], model)) or next(c for (_, m), c in some.items() if m == model)
                if count:
                    after.append(replace(like, node=keys[node], milligpu=count * MILLI_PER_GPU))
    return after


def _models(some: Mapping[tuple[NodeKey, str], Claim]) -> list[str]:
    return sorted({model for _, model in some})


def _spread(some: Mapping[tuple[NodeKey, str], Claim], place: Mapping[NodeKey, int]) -> Spread:
    nodes, models = sorted({node for node, _ in some}), _models(some)
    held = {where: claim.milligpu // MILLI_PER_GPU for where, claim in some.items()}
    shares = tuple(tuple(held.get((node, model), 0) for model in models) for node in nodes)
    kinds = tuple(Kind(model.casefold(), Fraction(MILLI_PER_GPU)) for model in models)
    return Spread(*_NOW, tuple(place[node] for node in nodes), kinds, shares)


def _rooms(nodes: Iterable[Node], place: Mapping[NodeKey, int]) -> dict[int, list[Room]]:
    sizes: dict[int, dict[str, int | None]] = defaultdict(dict)
    for node in nodes:
        if node.key in place:
            sizes[place[node.key]][node.model.casefold()] = node.milligpu
    return {n: [Room(*_NOW, models)] for n, models in sizes.items()}
