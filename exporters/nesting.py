"""What of a machine each claim holds for itself, given which lives inside which: nested cards are counted once.

* ``lends``: a NodeSet pod's cards belong to the Slurm jobs inside it; its free rest is `reserved`, `down` with the
  Slurm node, or `unknown` while Slurm cannot be read, and the pod itself never pays;
* ``same``: an external Slurm job is its pods: the pods pay, and what Slurm allocated beyond them (whole nodes) is a
  remainder on the Slurm job;
* ``inside``: the outer Slurm job pays for all its cards; pods made by it show up under it with nothing of their own;
* ``stand_in``: the Slurm job it represents pays.

A link only holds while both claims are there and the pods together fit into the job: at any moment the oldest pods that
fit are inside, and one more is `disputed` for as long as it does not fit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from exporters.links import Link, lends
from exporters.model import Claim, Disposition, LinkKind
from exporters.occupancy import Leaf

_PODS = (LinkKind.SAME, LinkKind.INSIDE)


@dataclass(frozen=True, slots=True)
class Nest:
    """The claims of one moment, nested.

    ``leaves`` count each card once; a leaf's owner is the claim's index. ``within`` maps an active claim to the link by
    which it lives inside another active claim. ``shown`` are claims that hold nothing of their own (their cards are
    counted on the outer claim, or on the inner ones). ``orphaned`` are milliGPU of an outer claim that none of its
    inner pods uses. ``reasons`` say why a claim is disputed by its own key.
    """

    leaves: tuple[Leaf, ...]
    within: Mapping[int, Link]
    shown: tuple[int, ...]
    orphaned: Mapping[int, int]
    reasons: Mapping[int, str]


def nest(
    active: Collection[int],
    claims: Sequence[Claim],
    links: Sequence[Link],
    cards: Mapping[int, Sequence[int]] | None = None,
    *,
    down: Collection[tuple[str, str]] = (),
    unread: Collection[str] = (),
) -> Nest:
    """Turn the claims ``active`` at one moment (indices into ``claims``) into leaves that count each card once.

    ``cards`` gives the indices of cards known to be held by a claim. ``down`` are the Slurm nodes ``(cluster, name)``
    that are not available, ``unread`` the Slurm clusters that cannot be read: what becomes of the rest of a lender.
    """
    on = set(active)
    known = cards or {}
    reasons = {n.inner: n.reason for n in links if not n.verified and n.inner in on}
    stand_ins = {n.inner for n in links if n.kind is LinkKind.STAND_IN}
    within, inner, unfit = _hold(on, claims, links)
    reasons.update(unfit)
    leaves: list[Leaf] = []
    shown: list[int] = []
    orphaned: dict[int, int] = {}
    for i in sorted(on):
        claim = claims[i]
        if i in stand_ins or _paid_above(i, within):
            shown.append(i)
            continue
        apart = [k for k in inner[i] if within[k].kind is not LinkKind.INSIDE]
        own = max(0, claim.milligpu - sum(claims[k].milligpu for k in apart))
        if any(within[k].kind is LinkKind.INSIDE for k in inner[i]):
            orphaned[i] = claim.milligpu - sum(claims[k].milligpu for k in inner[i])
        if own == 0:
            shown.append(i)
            continue
        taken = {c for k in apart for c in known.get(k, ())}
        free = tuple(sorted(set(known.get(i, ())) - taken))
        disposition = Disposition.DISPUTED if i in reasons else rest_of_lender(claim, down, unread)
        leaves.append(Leaf(i, claim.job.scheduler, own, disposition or Disposition.CHARGED, free))
    return Nest(tuple(leaves), within, tuple(shown), orphaned, reasons)


def rest_of_lender(claim: Claim, down: Collection[tuple[str, str]], unread: Collection[str]) -> Disposition | None:
    """What the cards of a lender are while no job is known to have them; None for a claim that lends nothing."""
    key = lends(claim)
    if key is None:
        return None
    if key.cluster in unread or (not key.cluster and unread):
        return Disposition.UNKNOWN
    if any(node == key.value and key.cluster in ("", cluster) for cluster, node in down):
        return Disposition.DOWN
    return Disposition.RESERVED


def _hold(
    on: Collection[int], claims: Sequence[Claim], links: Sequence[Link]
) -> tuple[dict[int, Link], dict[int, list[int]], dict[int, str]]:
    """Which link each active claim lives by, what is inside each outer claim, and why a claim fits into none.

    Of several outer claims the one that began last is taken. The oldest inner claims come first.
    """
    candidates: dict[int, list[Link]] = defaultdict(list)
    for link in links:
        if link.verified and link.inner in on and link.outer in on:
            candidates[link.inner].append(link)
    within: dict[int, Link] = {}
    inner: dict[int, list[int]] = defaultdict(list)
    pods: dict[int, int] = defaultdict(int)  # milliGPU of the pods inside each job
    unfit: dict[int, str] = {}
    for i in sorted(candidates, key=lambda i: (_age(claims[i]), i)):
        options = sorted(candidates[i], key=lambda n: _age(claims[n.outer]), reverse=True)
        need = claims[i].milligpu
        fits = (n for n in options if n.kind not in _PODS or pods[n.outer] + need <= claims[n.outer].milligpu)
        chosen = next(fits, None)
        if chosen is None:
            unfit[i] = _too_many(pods[options[0].outer] + need, claims[options[0].outer])
            continue
        within[i] = chosen
        inner[chosen.outer].append(i)
        if chosen.kind in _PODS:
            pods[chosen.outer] += need
    return within, inner, unfit


def _age(claim: Claim) -> tuple[int, str]:
    return claim.start, claim.unit


def _too_many(need: int, run: Claim) -> str:
    assumed = ", its share of this node being assumed" if run.split_assumed else ""
    return f"count does not fit: {need} milliGPU inside the {run.milligpu} of Slurm job {run.native_id}{assumed}"


def _paid_above(i: int, within: Mapping[int, Link]) -> bool:
    """Whether somewhere above a claim is a job that pays for everything in it. In a ring nobody is above."""
    seen: set[int] = set()
    paid = False
    while i in within:
        if i in seen:
            return False
        seen.add(i)
        paid = paid or within[i].kind is LinkKind.INSIDE
        i = within[i].outer
    return paid
