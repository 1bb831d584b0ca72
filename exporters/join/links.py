"""Which claim lives inside which: the keys that records carry, followed and **verified**.

`find_links` looks at the claims of one machine and follows the keys they carry: a key is a statement by whoever wrote
the label, not a proof. What does not verify is neither dropped nor billed: its cards are `disputed`, with the reason.
`exporters.join.nesting` then turns the claims of one moment into leaves, so that nested cards are counted once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporters.model import Claim, LinkKey, LinkKind, Scheduler

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


_Index = Mapping[tuple[str, str], Sequence[int]]


def end_of(claim: Claim) -> int:
    """The end of a claim, or `FOREVER`."""
    return FOREVER if claim.end is None else claim.end


def _touch(a: Claim, b: Claim) -> bool:
    """Whether two claims share a second; one of no length touches what it lies in."""
    return max(a.start, b.start) < min(end_of(a), end_of(b)) or b.start <= a.start == end_of(a) <= end_of(b)


def find_links(
    claims: Sequence[Claim], *, grace: int, until: Mapping[tuple[Scheduler, str], int] | None = None
) -> list[Link]:
    """Links between the claims of one machine, in the order of ``claims``.

    An inner claim has one link per outer claim that it touches: a Slurm job outlives its NodeSet's pod, pods outlive a
    resize of their job; which of them holds at a moment, `exporters.join.nesting.nest` says. ``claims`` are whole (not
    clipped to a day) and all on one machine, so *node in list* means that the named job has a claim here. ``grace`` is
    how many seconds an inner claim may start before or end after its outer one: the two schedulers write their own
    clocks, and the time outside is the inner claim's own. That the count fits, too, is a matter of each moment.

    ``until`` says up to which second the claims of a cluster are known: an inner claim that is still held has not
    outlived its outer one before that. Without it, a claim that is still held is held for ever.
    """
    told = until or {}
    ends = [told.get((c.job.scheduler, c.job.cluster), FOREVER) if c.end is None else c.end for c in claims]
    lenders: dict[tuple[str, str], list[int]] = defaultdict(list)
    runs: dict[tuple[str, str], list[int]] = defaultdict(list)
    named_pods: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, claim in enumerate(claims):
        slurm = claim.job.scheduler is Scheduler.SLURM
        if slurm:
            runs[claim.job.cluster, claim.native_id].append(i)
        for key in claim.keys:
            if key.kind is LinkKind.LENDS:
                lenders[key.cluster, key.value].append(i)
            elif slurm and key.kind is LinkKind.SAME:
                named_pods[key.cluster, key.value].append(i)
    links: list[Link] = []
    for i, claim in enumerate(claims):
        if claim.job.scheduler is Scheduler.SLURM:
            links += _lent(i, claims, lenders) if lenders else ()
        else:
            links += _keyed(i, claims, runs, named_pods, grace, ends[i])
    return links


def lends(claim: Claim) -> LinkKey | None:
    """The key that makes a claim a lender (a NodeSet pod), None for any other claim."""
    return next((key for key in claim.keys if key.kind is LinkKind.LENDS), None)


def _find(index: _Index, cluster: str, value: str) -> Sequence[int]:
    """What is keyed by a cluster's name; a key that names no cluster means any."""
    return sorted({*index.get((cluster, value), ()), *index.get(("", value), ())})


def _lent(i: int, claims: Sequence[Claim], lenders: _Index) -> list[Link]:
    """A Slurm claim inside the NodeSet pods that are its Slurm node, one after the other."""
    node = claims[i].node
    around = [o for o in _find(lenders, node.cluster, node.name) if _touch(claims[i], claims[o])]
    return [Link(LinkKind.LENDS, i, o, f"pod {claims[o].native_id} is Slurm node {node.name}") for o in around]


def _keyed(i: int, claims: Sequence[Claim], runs: _Index, named_pods: _Index, grace: int, end: int) -> list[Link]:
    """A pod that carries a key to a Slurm job, or is named by one: verified in node and interval."""
    claim = claims[i]
    key = _strongest(claim.keys)
    if key is None:
        return _named(i, claims, named_pods, grace, end)
    evidence = key.evidence or f"{key.kind.value} {key.cluster}/{key.value}"
    if key.kind is LinkKind.STAND_IN:
        return [Link(key.kind, i, -1, evidence)]
    job = f"Slurm job {key.value}" + (f" of {key.cluster}" if key.cluster else "")
    named = runs.get((key.cluster, key.value), ())
    if not key.cluster:
        found = {cluster: n for (cluster, value), n in runs.items() if value == key.value}
        if len(found) > 1:
            reason = f"the key names no cluster, and {' and '.join(sorted(found))} each have a {job}"
            return [Link(key.kind, i, -1, evidence, False, reason)]
        named = next(iter(found.values()), ())
    reason = ""
    touched = [o for o in named if _touch(claim, claims[o])]
    if not named:
        reason = f"no run of {job} is on this node"
    elif any(_is_lent_by(claims[o], claim) for o in touched):
        reason = f"{job} runs inside this pod, so the pod cannot be inside the job"
    elif not touched or not _covers([claims[o] for o in touched], claim.start, end, grace):
        reason = f"interval is not inside that of {job}"
    if reason:
        return [Link(key.kind, i, -1, evidence, False, reason)]
    return [Link(key.kind, i, o, evidence) for o in touched]


def _named(i: int, claims: Sequence[Claim], named_pods: _Index, grace: int, end: int) -> list[Link]:
    """A pod without a key of its own that an external job's AdminComment names.

    Names are used again, so a pod of that name at another time is none of the job's business; one that only touches the
    job's interval is.
    """
    claim = claims[i]
    touched = [o for o in _find(named_pods, claim.job.cluster, claim.native_id) if _touch(claim, claims[o])]
    if not touched:
        return []
    job = f"Slurm job {claims[touched[0]].native_id} of {claims[touched[0]].job.cluster}"
    evidence = f"{job} names pod {claim.native_id}"
    if not _covers([claims[o] for o in touched], claim.start, end, grace):
        return [Link(LinkKind.SAME, i, -1, evidence, False, f"interval is not inside that of {job}")]
    return [Link(LinkKind.SAME, i, o, evidence) for o in touched]


def _strongest(keys: Sequence[LinkKey]) -> LinkKey | None:
    """The key to follow when a pod carries several: what the system wrote goes before what a user wrote."""
    order = (LinkKind.STAND_IN, LinkKind.SAME, LinkKind.INSIDE)
    found = sorted((k for k in keys if k.kind in order), key=lambda k: (order.index(k.kind), k.cluster, k.value))
    return found[0] if found else None


def _is_lent_by(run: Claim, pod: Claim) -> bool:
    """Whether a run is on the Slurm node that this pod is."""
    key = lends(pod)
    return key is not None and key.value == run.node.name and key.cluster in ("", run.node.cluster)


def _covers(runs: Sequence[Claim], start: int, end: int, grace: int) -> bool:
    """Whether ``[start, end)`` lies within runs one after the other, give or take ``grace`` seconds at each border."""
    reach = start + grace
    for run in sorted(runs, key=lambda r: (r.start, end_of(r))):
        if run.start > reach:
            return False
        reach = max(reach, end_of(run) + grace)
    return end <= reach
