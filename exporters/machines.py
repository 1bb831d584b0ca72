"""Which nodes of which schedulers are the same machine, and what that machine has.

A Slurm node of a Slinky NodeSet is the pod that carries its name, so its machine is where that pod runs, while it runs.
Otherwise a node's machine is found by configuration, by an alias that either side told (the bridge's
``slurm-nodename`` label, the operator's node comment), and last by rule: equal short name, or equal full name.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from exporters.links import FOREVER
from exporters.model import Claim, LinkKind, Node, NodeKey, Scheduler

Rule = Literal["short_name", "full_name"]
Stretch = tuple[str, int, int]
"""A machine's name over ``[start, end)``."""


def short_name(name: str) -> str:
    """The part before the first dot, lower case: ``GN01.cluster.example`` -> ``gn01``. Addresses stay whole."""
    head = name.split(".", 1)[0]
    return name.lower() if head.isdigit() else head.lower()


@dataclass(frozen=True)
class Machines:
    """Resolves node names to machine names over time. Build it with `machines_of`; it is frozen and cheap to ask."""

    rule: Rule
    names: Mapping[str, str]
    aliases: Mapping[NodeKey, str]
    lenders: Mapping[tuple[str, str], tuple[tuple[int, int, str], ...]]

    def plain(self, name: str) -> str:
        """A bare host name as a machine name, by the rule alone."""
        return short_name(name) if self.rule == "short_name" else name.lower()

    def static(self, key: NodeKey) -> str:
        """The machine of a node by configuration, alias or rule, whatever pods ran."""
        return self.names.get(str(key)) or self.aliases.get(key) or self.plain(key.name)

    def resolve(self, key: NodeKey, start: int, end: int) -> list[Stretch]:
        """Stretches ``(machine, start, end)`` that partition ``[start, end)`` of this node.

        A NodeSet's Slurm node is where its pod runs; between two pods it is where the last one ran.
        """
        lent = self.lenders.get((key.cluster, key.name)) if key.scheduler is Scheduler.SLURM else None
        if not lent or str(key) in self.names:
            return [(self.static(key), start, end)]
        stretches: list[Stretch] = []
        first = max(0, bisect_right(lent, (start, FOREVER, "")) - 1)
        for n, (_, _, machine) in enumerate(lent[first:], start=first):
            a = start if n == first else max(start, lent[n][0])
            b = end if n + 1 == len(lent) else min(end, lent[n + 1][0])
            if a >= b:
                continue
            if stretches and stretches[-1][0] == machine:
                stretches[-1] = (machine, stretches[-1][1], b)
            else:
                stretches.append((machine, a, b))
        return stretches

    def at(self, key: NodeKey, moment: float) -> str:
        """The machine of a node at one moment."""
        second = int(moment)
        return self.resolve(key, second, second + 1)[0][0]

    def place(self, claim: Claim, now: int) -> list[tuple[str, Claim]]:
        """A claim on its machine; split where its Slurm node moved between machines. An open end stays open."""
        end = max(now, claim.start + 1) if claim.end is None else claim.end
        stretches = self.resolve(claim.node, claim.start, end)
        placed = []
        for n, (machine, a, b) in enumerate(stretches):
            last = n + 1 == len(stretches)
            placed.append((machine, replace(claim, start=a, end=claim.end if last else b)))
        return placed


def machines_of(
    nodes: Iterable[Node], claims: Iterable[Claim], *, rule: Rule = "short_name", names: Mapping[str, str] | None = None
) -> Machines:
    """Learn aliases from ``nodes`` and NodeSet pods from ``claims``.

    ``names`` maps ``slurm/<cluster>/<node>`` or ``kubernetes/<cluster>/<node>`` to a machine name, and wins.
    """
    configured = dict(names or {})
    bare = Machines(rule, configured, {}, {})
    every = list(nodes)
    kube = {bare.static(n.key): bare.static(n.key) for n in every if n.key.scheduler is Scheduler.KUBERNETES}
    aliases: dict[NodeKey, str] = {}
    told: dict[str, str] = {}  # a Slurm node name that a Kubernetes node says it has
    for node in every:
        if node.key.scheduler is Scheduler.KUBERNETES:
            told.update({name: bare.static(node.key) for name in node.hostnames})
    for node in every:
        if node.key.scheduler is not Scheduler.SLURM or str(node.key) in configured:
            continue
        candidates = [told.get(node.key.name)] + [
            kube.get(bare.static(replace_name(node.key, h))) for h in node.hostnames
        ]
        alias = next((c for c in candidates if c), None)
        if alias and alias != bare.static(node.key):
            aliases[node.key] = alias
    lenders: dict[tuple[str, str], set[tuple[int, int, str]]] = defaultdict(set)
    for claim in claims:
        for key in claim.keys:
            if key.kind is LinkKind.LENDS:
                end = FOREVER if claim.end is None else claim.end
                lenders[key.cluster, key.value].add((claim.start, end, bare.static(claim.node)))
    return Machines(rule, configured, aliases, {k: tuple(sorted(v)) for k, v in lenders.items()})


def replace_name(key: NodeKey, name: str) -> NodeKey:
    """The same scheduler and cluster, another node."""
    return NodeKey(key.scheduler, key.cluster, name)


@dataclass(frozen=True, slots=True)
class Pool:
    """The cards of one model on one machine, in milliGPU."""

    model: str
    milligpu: int


def merge_pools(views: Mapping[tuple[Scheduler, str], Sequence[Pool]], models: Mapping[str, str]) -> tuple[Pool, ...]:
    """One machine's pools from what each scheduler says of it: the same cards, so the larger view, never the sum.

    ``models`` maps the schedulers' spellings of a GPU model to the site's own name. Where every view has a single model
    they are the same cards under two spellings; Slurm's name is taken when no alias decides.
    """
    named: dict[tuple[Scheduler, str], dict[str, int]] = {}
    for view, pools in sorted(views.items()):
        sums: dict[str, int] = {}
        for pool in pools:
            if pool.milligpu > 0:
                name = canonical_model(pool.model, models)
                sums[name] = sums.get(name, 0) + pool.milligpu
        if sums:
            named[view] = sums
    if all(len(sums) == 1 for sums in named.values()):
        ordered = sorted(named.items(), key=lambda item: (item[0][0] is not Scheduler.SLURM, item[0]))
        names = [next(iter(sums)) for _, sums in ordered]
        aliased = [n for n in names if n in models.values()]
        size = max((next(iter(sums.values())) for sums in named.values()), default=0)
        name = next(iter(aliased or [n for n in names if n]), "")
        return (Pool(name, size),) if size else ()
    merged: dict[str, int] = {}
    for sums in named.values():
        for name, size in sums.items():
            merged[name] = max(merged.get(name, 0), size)
    return tuple(Pool(name, size) for name, size in sorted(merged.items()))


def canonical_model(model: str, models: Mapping[str, str]) -> str:
    """The site's name of a GPU model: the configured alias, else the scheduler's spelling in lower case."""
    return models.get(model) or models.get(model.lower()) or model.lower()


def pool_of(claim: Claim, pools: Sequence[Pool], models: Mapping[str, str]) -> int:
    """Which pool a claim draws on: the one of its model, else the largest. A machine with one pool has no choice."""
    if len(pools) > 1 and claim.model:
        name = canonical_model(claim.model, models)
        for i, pool in enumerate(pools):
            if pool.model == name:
                return i
    return max(range(len(pools)), key=lambda i: (pools[i].milligpu, -i))
