"""What cards a machine has, and which of them a claim draws on.

Both schedulers tell a machine's cards, each in its own spelling and some only part of it (a Kubernetes node has one
product label, whatever it holds). They tell the same cards: views are merged, never added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from exporters.join.occupancy import Leaf, precedence
from exporters.model import Claim, Scheduler


@dataclass(frozen=True, slots=True)
class Pool:
    """The cards of one model on one machine, in milliGPU."""

    model: str
    milligpu: int


def canonical_model(model: str, models: Mapping[str, str]) -> str:
    """The site's name of a GPU model: the configured alias, else the scheduler's spelling in lower case."""
    return models.get(model) or models.get(model.lower()) or model.lower()


def merge_pools(views: Mapping[tuple[Scheduler, str], Sequence[Pool]], models: Mapping[str, str]) -> tuple[Pool, ...]:
    """One machine's pools from what each scheduler says of it: the same cards, so the larger view, never the sum.

    ``models`` maps the schedulers' spellings of a GPU model to the site's own name. Where every view has a single model
    they are the same cards under two spellings; Slurm's name is taken when no alias decides. Otherwise the view that
    tells the most models apart names the pools, and another view adds only what it has beyond that one's total.

    >>> slurm, kube = (Scheduler.SLURM, "hpc1"), (Scheduler.KUBERNETES, "prod")
    >>> merge_pools({slurm: [Pool("h100", 8000)], kube: [Pool("NVIDIA-H100-80GB-HBM3", 8000)]}, {})
    (Pool(model='h100', milligpu=8000),)
    """
    if len(views) == 1 and len(alone := next(iter(views.values()))) == 1:  # most machines
        return tuple(Pool(canonical_model(pool.model, models), pool.milligpu) for pool in alone if pool.milligpu > 0)
    named = []
    for _, pools in sorted(views.items(), key=lambda item: (item[0][0] is not Scheduler.SLURM, item[0])):
        sums: dict[str, int] = {}
        for pool in pools:
            if pool.milligpu > 0:
                name = canonical_model(pool.model, models)
                sums[name] = sums.get(name, 0) + pool.milligpu
        if sums:
            named.append(sums)
    if not named:
        return ()
    if all(len(sums) == 1 for sums in named):
        names = [next(iter(sums)) for sums in named]
        aliased = [n for n in names if n in models.values()]
        name = next(iter(aliased or [n for n in names if n]), "")
        return (Pool(name, max(next(iter(sums.values())) for sums in named)),)
    finest = max(named, key=lambda sums: (len(sums), sum(sums.values())))
    merged = dict(finest)
    for sums in named:
        _add_beyond(merged, sums, sum(sums.values()) - sum(merged.values()))
    return tuple(Pool(name, size) for name, size in sorted(merged.items()))


def _add_beyond(merged: dict[str, int], sums: Mapping[str, int], extra: int) -> None:
    """Add the ``extra`` cards that a view has beyond the merged total: to its own models where it has more of them."""
    foreign = sorted((name for name in merged if name not in sums), key=lambda name: (-merged[name], name))
    for name in sorted(sums, key=lambda name: (name not in merged, name)):
        if extra <= 0:
            return
        if name not in merged and foreign:  # cards that the finer view knows by another name
            merged[foreign[0]] += extra
            return
        add = min(extra, max(0, sums[name] - merged.get(name, 0)))
        merged[name] = merged.get(name, 0) + add
        extra -= add


def _named_pool(claim: Claim, pools: Sequence[Pool], models: Mapping[str, str]) -> int | None:
    """The pool that a claim names by its MIG profile or its model, None when it names none of them."""
    for told in (claim.profile, claim.model):
        name = canonical_model(told, models)
        for i, pool in enumerate(pools):
            if name and pool.model == name:
                return i
    return None


def pool_of(claim: Claim, pools: Sequence[Pool], models: Mapping[str, str]) -> int:
    """Which pool a claim is shown with: the one it names, else the largest. A machine with one pool has no choice."""
    named = _named_pool(claim, pools, models) if len(pools) > 1 else 0
    return max(range(len(pools)), key=lambda i: (pools[i].milligpu, -i)) if named is None else named


def allot(
    pools: Sequence[Pool], leaves: Sequence[Leaf], claims: Sequence[Claim], models: Mapping[str, str]
) -> list[list[Leaf]]:
    """Divide leaves (whose owners are positions in ``claims``) among a machine's pools.

    A claim that names a pool draws on that one. One that names none takes what is left of the largest pool, then of the
    next: not knowing a model makes no conflict that there is room to avoid, and a claim on the whole machine spans it.
    """
    if len(pools) == 1:
        return [list(leaves)]
    found: list[list[Leaf]] = [[] for _ in pools]
    nameless = []
    for leaf in sorted(leaves, key=precedence):
        named = _named_pool(claims[leaf.owner], pools, models)
        if named is None:
            nameless.append(leaf)
        else:
            found[named].append(leaf)
    room = [max(0, p.milligpu - sum(leaf.milligpu for leaf in f)) for p, f in zip(pools, found, strict=True)]
    largest_first = sorted(range(len(pools)), key=lambda i: (-pools[i].milligpu, i))
    for leaf in nameless:
        taken = dict.fromkeys(largest_first, 0)
        for limits in (room, [p.milligpu for p in pools]):
            for i in largest_first:
                take = min(leaf.milligpu - sum(taken.values()), limits[i] - taken[i])
                if take > 0:
                    taken[i] += take
        taken[largest_first[0]] += leaf.milligpu - sum(taken.values())
        for i, milligpu in taken.items():
            room[i] -= min(room[i], milligpu)
            if milligpu > 0:  # which of its known cards are of this model is not known
                found[i].append(replace(leaf, milligpu=milligpu, cards=(), amounts=()))
    return found
