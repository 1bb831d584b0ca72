"""Which nodes of which schedulers are the same machine, over time.

A Slurm node of a Slinky NodeSet is the pod that carries its name, so its machine is where that pod runs, while it runs.
Otherwise a node's machine is found by configuration, by an alias that either side told (the bridge's
``slurm-nodename`` label, the operator's node comment), and last by rule: equal short name, or equal full name.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from exporters.join.links import FOREVER
from exporters.model import Claim, LinkKind, Node, NodeKey, Scheduler
from exporters.sources.hostnames import short_name

Rule = Literal["short_name", "full_name"]
Stretch = tuple[str, int, int]
"""A machine's name over ``[start, end)``."""


@dataclass(frozen=True)
class Machines:
    """Resolves node names to machine names over time. Build it with `machines_of`; it is frozen and cheap to ask.

    ``problems`` are sentences for people about nodes that the rule takes for one machine and that may not be one.
    """

    rule: Rule
    names: Mapping[str, str]
    aliases: Mapping[NodeKey, str]
    lenders: Mapping[tuple[str, str], tuple[tuple[int, int, str], ...]]
    problems: tuple[str, ...] = ()

    def plain(self, name: str) -> str:
        """A bare host name as a machine name, by the rule alone."""
        return short_name(name) if self.rule == "short_name" else name.lower()

    def static(self, key: NodeKey) -> str:
        """The machine of a node by configuration, alias or rule, whatever pods ran."""
        named = self.names.get(str(key), "").lower() if self.names else ""
        return named or self.aliases.get(key) or self.plain(key.name)

    def resolve(self, key: NodeKey, start: int, end: int) -> list[Stretch]:
        """Stretches ``(machine, start, end)`` that partition ``[start, end)`` of this node; never none.

        A NodeSet's Slurm node is where its pod runs; between two pods it is where the last one ran.
        """
        lent = self._lent(key)
        if not lent or start >= end:
            return [(self._lent_at(lent, start) if lent else self.static(key), start, end)]
        first = max(0, bisect_right(lent, start, key=lambda pod: pod[0]) - 1)
        stretches: list[Stretch] = []
        for n, (begin, _, machine) in enumerate(lent[first:], start=first):
            until = lent[n + 1][0] if n + 1 < len(lent) else end
            _append(stretches, machine, start if n == first else begin, min(end, until))
        return stretches

    def stays(self, key: NodeKey, start: int, end: int) -> list[Stretch]:
        """The parts of ``[start, end)`` during which this node is there, with its cards.

        A NodeSet's Slurm node is there while its pod runs: the name that Slurm keeps between two pods has no cards, and
        counting it would count the machine twice once another pod runs there. Any other node stays.
        """
        lent = self._lent(key)
        if not lent:
            return [(self.static(key), start, end)]
        stretches: list[Stretch] = []
        for n, (begin, finish, machine) in enumerate(lent):
            until = lent[n + 1][0] if n + 1 < len(lent) else FOREVER
            _append(stretches, machine, max(start, begin), min(end, finish, until))
        return stretches

    def at(self, key: NodeKey, moment: float) -> str:
        """The machine of a node at one moment."""
        second = int(moment)
        return self.resolve(key, second, second + 1)[0][0] if self.lenders else self.static(key)

    def place(self, claim: Claim, now: int) -> list[tuple[str, Claim]]:
        """A claim on its machine; split where its Slurm node moved between machines. An open end stays open."""
        end = max(now, claim.start + 1) if claim.end is None else claim.end
        stretches = self.resolve(claim.node, claim.start, end)
        placed = []
        for n, (machine, a, b) in enumerate(stretches):
            last = n + 1 == len(stretches)
            placed.append((machine, replace(claim, start=a, end=claim.end if last else b)))
        return placed

    def _lent(self, key: NodeKey) -> Sequence[tuple[int, int, str]]:
        """The pods that were this Slurm node, sorted; a pod that names no cluster is one of every cluster."""
        if not self.lenders or key.scheduler is not Scheduler.SLURM or str(key) in self.names:
            return ()
        return self.lenders.get((key.cluster, key.name)) or self.lenders.get(("", key.name), ())

    @staticmethod
    def _lent_at(lent: Sequence[tuple[int, int, str]], moment: int) -> str:
        return lent[max(0, bisect_right(lent, moment, key=lambda pod: pod[0]) - 1)][2]


def _append(stretches: list[Stretch], machine: str, start: int, end: int) -> None:
    """Add a stretch; one that goes on from the last on the same machine makes it longer."""
    if start >= end:
        return
    if stretches and stretches[-1][0] == machine and stretches[-1][2] == start:
        stretches[-1] = (machine, stretches[-1][1], end)
    else:
        stretches.append((machine, start, end))


def machines_of(
    nodes: Iterable[Node],
    claims: Iterable[Claim],
    *,
    rule: Rule = "short_name",
    names: Mapping[str, str] | None = None,
    clusters: Sequence[str] = (),
) -> Machines:
    """Learn aliases from ``nodes`` and NodeSet pods from ``claims``; their order does not matter.

    ``names`` maps ``slurm/<cluster>/<node>`` or ``kubernetes/<cluster>/<node>`` to a machine name (in any letter case,
    otherwise taken as it is), and wins. Nodes of two Slurm clusters that have one name are two machines: the one of the
    cluster that stands first in ``clusters`` (after them, by name) has it, the others are ``<cluster>/<name>``.
    """
    configured = dict(names or {})
    bare = Machines(rule, configured, {}, {})
    every = sorted({(n.key, n.hostnames) for n in nodes})
    kube = [(key, hosts) for key, hosts in every if key.scheduler is Scheduler.KUBERNETES]
    called = {bare.plain(key.name): bare.static(key) for key, _ in kube}
    told = {bare.plain(name): bare.static(key) for key, hosts in kube for name in hosts}
    aliases: dict[NodeKey, str] = {}
    for key, hosts in every:
        if key.scheduler is Scheduler.SLURM and str(key) not in configured:
            places = [told.get(bare.plain(key.name))]
            places += [called.get(bare.plain(host)) or told.get(bare.plain(host)) for host in hosts]
            alias = next((place for place in places if place), None)
            if alias and alias != bare.static(key):
                aliases[key] = alias
    lenders: dict[tuple[str, str], set[tuple[int, int, str]]] = defaultdict(set)
    for claim in claims:
        for link in claim.keys:
            if link.kind is LinkKind.LENDS:
                end = FOREVER if claim.end is None else claim.end
                lenders[link.cluster, link.value].add((claim.start, end, bare.static(claim.node)))
    lent = {k: tuple(sorted(v)) for k, v in lenders.items()}
    machines = Machines(rule, configured, aliases, lent)
    keys = [key for key, _ in every if not machines._lent(key)]
    apart = _apart(machines, keys, clusters)
    machines = replace(machines, aliases={**aliases, **apart})
    return replace(machines, problems=(*_told_apart(machines, apart), *_doubtful(machines, keys)))


def _apart(machines: Machines, keys: Iterable[NodeKey], clusters: Sequence[str]) -> dict[NodeKey, str]:
    """The machines of Slurm nodes whose name another cluster's node has: they are not one because of a name."""
    found: dict[str, dict[str, list[NodeKey]]] = defaultdict(lambda: defaultdict(list))
    for key in keys:
        if key.scheduler is Scheduler.SLURM and str(key) not in machines.names and key not in machines.aliases:
            found[machines.static(key)][key.cluster].append(key)
    places = {cluster: n for n, cluster in enumerate(clusters)}
    apart = {}
    for machine, by_cluster in found.items():
        _, *others = sorted(by_cluster, key=lambda cluster: (places.get(cluster, len(places)), cluster))
        apart.update({key: f"{cluster}/{machine}" for cluster in others for key in by_cluster[cluster]})
    return apart


def _told_apart(machines: Machines, apart: Mapping[NodeKey, str]) -> Iterator[str]:
    """What people are told of nodes of one name: if they are one machine, settings say so."""
    for key, machine in sorted(apart.items()):
        yield (
            f"{key} has the name of another Slurm cluster's node, {machines.plain(key.name)}, and is taken for a "
            f"machine of its own, {machine}: if they are one machine, say so under machines.names"
        )


def _doubtful(machines: Machines, keys: Iterable[NodeKey]) -> tuple[str, ...]:
    """Nodes of one scheduler that only the rule makes one machine: they may as well be two with the same name."""
    found: dict[tuple[str, Scheduler], set[NodeKey]] = defaultdict(set)
    for key in keys:
        if str(key) not in machines.names and key not in machines.aliases:
            found[machines.static(key), key.scheduler].add(key)
    problems = []
    for (machine, _), same in sorted(found.items()):
        if len(same) > 1:
            spread = len({key.name.lower() for key in same}) > 1
            problems.append(
                f"{' and '.join(str(key) for key in sorted(same))} are taken for one machine, {machine}: say under "
                f"machines.names which machine each is" + (", or set machines.match to full_name" if spread else "")
            )
    return tuple(problems)
