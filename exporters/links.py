"""Which claim lives inside which, and what of a machine each claim then holds for itself.

`find_links` looks at the claims of one machine, follows the keys they carry and **verifies** each: a key is a statement
by whoever wrote the label, not a proof. What does not verify is neither dropped nor billed: its cards are `disputed`,
with the reason. `nest` then turns the claims of one moment into leaves, so that nested cards are counted once:

* ``lends``: a NodeSet pod's cards belong to the Slurm jobs inside it; its free rest is `reserved` (or `down` with the
  Slurm node), and the pod itself never pays;
* ``same``: an external Slurm job is its pods: the pods pay, and what Slurm allocated beyond them (whole nodes) is a
  remainder on the Slurm job;
* ``inside``: the outer Slurm job pays for all its cards; pods made by it show up under it with nothing of their own;
* ``stand_in``: the Slurm job it represents pays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporters.model import Claim, Disposition, LinkKey, LinkKind, Scheduler
from exporters.occupancy import Leaf

FOREVER = 1 << 62
"""The end of a claim that is still held, for comparisons."""


@dataclass(frozen=True, slots=True)
class Link:
    """Claim ``inner`` lives inside claim ``outer`` (indices into the sequence given to `find_links`).

    ``outer`` is -1 where no claim fits the key, or none is needed (``stand_in``). ``verified`` False means the inner
    claim is disputed, and ``reason`` says what does not fit; ``evidence`` is the key as it was found.
    """

    kind: LinkKind
    inner: int
    outer: int
    evidence: str
    verified: bool = True
    reason: str = ""


def _end(claim: Claim) -> int:
    return FOREVER if claim.end is None else claim.end


def _overlap(a: Claim, b: Claim) -> int:
    return min(_end(a), _end(b)) - max(a.start, b.start)


def find_links(claims: Sequence[Claim], *, grace: int) -> list[Link]:
    """Links between the claims of one machine, at most one per inner claim, in the order of ``claims``.

    ``claims`` are whole (not clipped to a day) and all on one machine, so *node in list* means that the named job has a
    claim here. ``grace`` is how many seconds an inner claim may start before or end after its outer one: the two
    schedulers write their own clocks, and the time outside is the inner claim's own.
    """
    lenders: dict[tuple[str, str], list[int]] = defaultdict(list)
    runs: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, claim in enumerate(claims):
        if claim.job.scheduler is Scheduler.SLURM:
            runs[claim.job.cluster, claim.native_id].append(i)
        for key in claim.keys:
            if key.kind is LinkKind.LENDS:
                lenders[key.cluster, key.value].append(i)
    links = []
    for i, claim in enumerate(claims):
        if claim.job.scheduler is Scheduler.SLURM:
            link = _lent(i, claims, lenders)
        else:
            link = _keyed(i, claims, runs, grace)
        if link is not None:
            links.append(link)
    return _fit(links, claims)


def _lent(i: int, claims: Sequence[Claim], lenders: Mapping[tuple[str, str], list[int]]) -> Link | None:
    """A Slurm claim inside the NodeSet pod that is its Slurm node."""
    claim = claims[i]
    around = [o for o in lenders.get((claim.node.cluster, claim.node.name), ()) if _overlap(claim, claims[o]) > 0]
    if not around:
        return None
    outer = max(around, key=lambda o: (_overlap(claim, claims[o]), claims[o].start, claims[o].unit))
    return Link(LinkKind.LENDS, i, outer, f"pod {claims[outer].native_id} is Slurm node {claim.node.name}")


def _keyed(i: int, claims: Sequence[Claim], runs: Mapping[tuple[str, str], list[int]], grace: int) -> Link | None:
    """A pod that carries a key to a Slurm job: verified in node and interval (the count is `_fit`'s)."""
    claim = claims[i]
    key = _strongest(claim.keys)
    if key is None:
        return None
    evidence = key.evidence or f"{key.kind.value} {key.cluster}/{key.value}"
    if key.kind is LinkKind.STAND_IN:
        return Link(key.kind, i, -1, evidence)
    named = runs.get((key.cluster, key.value), [])
    if not named:
        return Link(
            key.kind, i, -1, evidence, False, f"no run of Slurm job {key.value} of {key.cluster} is on this node"
        )
    outer = max(named, key=lambda o: (_overlap(claim, claims[o]), claims[o].start))
    run = claims[outer]
    if claim.start < run.start - grace or _end(claim) > _end(run) + grace or _overlap(claim, run) <= 0:
        return Link(
            key.kind, i, -1, evidence, False, f"interval is not inside that of Slurm job {key.value} of {key.cluster}"
        )
    return Link(key.kind, i, outer, evidence)


def _strongest(keys: Sequence[LinkKey]) -> LinkKey | None:
    """The key to follow when a pod carries several: what the system wrote goes before what a user wrote."""
    order = (LinkKind.STAND_IN, LinkKind.SAME, LinkKind.INSIDE)
    found = sorted((k for k in keys if k.kind in order), key=lambda k: (order.index(k.kind), k.cluster, k.value))
    return found[0] if found else None


def _fit(links: Sequence[Link], claims: Sequence[Claim]) -> list[Link]:
    """Take back links whose count does not fit: at no moment may the pods inside a run hold more than the run does."""
    inside: dict[int, list[int]] = defaultdict(list)
    checked = []
    for link in sorted(links, key=lambda n: (claims[n.inner].start, claims[n.inner].unit)):
        if link.kind in (LinkKind.SAME, LinkKind.INSIDE) and link.outer >= 0:
            room = claims[link.outer].milligpu
            need = _peak([*inside[link.outer], link.inner], claims)
            if need > room:
                reason = f"count does not fit: {need} milliGPU inside the {room} of the Slurm job"
                checked.append(Link(link.kind, link.inner, -1, link.evidence, False, reason))
                continue
            inside[link.outer].append(link.inner)
        checked.append(link)
    return sorted(checked, key=lambda n: n.inner)


def _peak(members: Sequence[int], claims: Sequence[Claim]) -> int:
    """The most milliGPU that these claims ever hold together."""
    steps = sorted(
        step
        for m in members
        for step in ((claims[m].start, claims[m].milligpu), (_end(claims[m]), -claims[m].milligpu))
    )
    peak = held = 0
    for _, change in steps:  # at the same second an end (negative) sorts before a start
        held += change
        peak = max(peak, held)
    return peak


@dataclass(frozen=True, slots=True)
class Nest:
    """The claims of one moment, nested.

    ``leaves`` count each card once; a leaf's owner is the claim's index. ``within`` maps an active claim to the link by
    which it lives inside another active claim. ``shown`` are claims that hold nothing of their own (their cards are
    counted on the outer claim). ``orphaned`` are milliGPU of an outer claim that none of its inner pods uses.
    """

    leaves: tuple[Leaf, ...]
    within: Mapping[int, Link]
    shown: tuple[int, ...]
    orphaned: Mapping[int, int]


def nest(
    active: Sequence[int],
    claims: Sequence[Claim],
    links: Sequence[Link],
    cards: Mapping[int, Sequence[int]] | None = None,
    pool_down: bool = False,
) -> Nest:
    """Turn the claims ``active`` at one moment (indices into ``claims``) into leaves that count each card once.

    ``cards`` gives the indices of whole cards known to be held by a claim. ``pool_down`` says that Slurm's node is not
    available, so that the free rest of a lender is `down` rather than `reserved`.
    """
    on = set(active)
    known = cards or {}
    within = {n.inner: n for n in links if n.verified and n.inner in on and n.outer in on}
    disputed = {n.inner for n in links if not n.verified}
    stand_ins = {n.inner for n in links if n.kind is LinkKind.STAND_IN}
    inner: dict[int, list[int]] = defaultdict(list)
    for i, link in within.items():
        inner[link.outer].append(i)
    leaves: list[Leaf] = []
    shown: list[int] = []
    orphaned: dict[int, int] = {}
    rest_of_lender = Disposition.DOWN if pool_down else Disposition.RESERVED
    for i in sorted(on):
        claim = claims[i]
        kinds = {within[k].kind for k in inner[i]}
        held_inside = sum(claims[k].milligpu for k in inner[i])
        own, disposition = claim.milligpu, Disposition.CHARGED
        if i in stand_ins or (i in within and within[i].kind is LinkKind.INSIDE):
            shown.append(i)
            continue
        if i in disputed:
            disposition = Disposition.DISPUTED
        elif any(k.kind is LinkKind.LENDS for k in claim.keys):
            own, disposition = max(0, claim.milligpu - held_inside), rest_of_lender
        elif LinkKind.SAME in kinds:
            own = max(0, claim.milligpu - held_inside)
        elif LinkKind.INSIDE in kinds:
            orphaned[i] = claim.milligpu - held_inside
        if own <= 0:
            shown.append(i)
            continue
        taken = {c for k in inner[i] if own < claim.milligpu for c in known.get(k, ())}
        leaves.append(
            Leaf(i, claim.job.scheduler, own, disposition, tuple(sorted(c for c in known.get(i, ()) if c not in taken)))
        )
    return Nest(tuple(leaves), within, tuple(shown), orphaned)
