"""What of a machine each claim holds for itself, given which lives inside which: nested cards are counted once.

* ``lends``: a NodeSet pod's cards belong to the Slurm jobs inside it; its free rest is `reserved`, `down` with the
  Slurm node, or `unknown` while Slurm cannot be read, and the pod itself never pays;
* ``same``: an external Slurm job is its pods: the pods pay, and what Slurm allocated beyond them (whole nodes) is a
  remainder on the Slurm job;
* ``inside``: the outer Slurm job pays for all its cards; pods made by it show up under it with nothing of their own;
* ``stand_in``: the Slurm job it represents pays.

A link only holds while both claims are there and the pods together fit into the job: at any moment the oldest pods that
fit are inside, and one more is `disputed` for as long as it does not fit. Where cards are known, those of a claim that
was made in a job, or runs in a lender, must be among the outer claim's; else it is `disputed` as long as that is seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from exporters.join.cards import NOTHING, Card, Hand, less, outside
from exporters.join.links import Link, lends
from exporters.join.occupancy import Leaf
from exporters.model import MILLI_PER_GPU, Claim, Disposition, LinkKind, Scheduler

_PODS = (LinkKind.SAME, LinkKind.INSIDE)

_ON_ITS_CARDS = (LinkKind.LENDS, LinkKind.INSIDE)
"""Links by which a claim has cards of the outer one. slurm-bridge leaves it to the kubelet which cards a pod gets, so
those of a ``same`` pod need not be the ones that Slurm wrote down."""


@dataclass(frozen=True, slots=True)
class Nest:
    """The claims of one moment, nested.

    ``leaves`` count each card once; a leaf's owner is the claim's index. ``within`` maps an active claim to the link by
    which it lives inside another active claim. ``shown`` are claims that hold nothing of their own (their cards are
    counted on the outer claim, or on the inner ones). ``orphaned`` are milliGPU of an outer claim that none of its
    inner pods uses. ``reasons`` say why a claim is disputed by its own key. ``cards`` are the known cards of claims,
    without those of a job that its Slurm node numbered in its own way.
    """

    leaves: tuple[Leaf, ...]
    within: Mapping[int, Link]
    shown: tuple[int, ...]
    orphaned: Mapping[int, int]
    reasons: Mapping[int, str]
    cards: Mapping[int, Hand]


def nest(
    active: Collection[int],
    claims: Sequence[Claim],
    links: Sequence[Link],
    cards: Mapping[int, Hand] | None = None,
    *,
    capacity: int = 0,
    down: Collection[tuple[str, str]] = (),
    unread: Collection[str] = (),
) -> Nest:
    """Turn the claims ``active`` at one moment (indices into ``claims``) into leaves that count each card once.

    ``cards`` gives the cards known to be held by a claim. ``capacity`` is the machine's, in milliGPU. ``down`` are the
    Slurm nodes ``(cluster, name)`` that are not available, ``unread`` the Slurm clusters that cannot be read: what
    becomes of the rest of a lender.
    """
    return Nesting(claims, links).at(active, cards, capacity=capacity, down=down, unread=unread)


class Nesting:
    """The claims of one machine and the links between them, ready to be nested at any moment."""

    def __init__(self, claims: Sequence[Claim], links: Sequence[Link]) -> None:
        self.claims = claims
        self.refused = {n.inner: n.reason for n in links if not n.verified}
        self.stand_ins = frozenset(n.inner for n in links if n.kind is LinkKind.STAND_IN)
        homes: dict[int, list[Link]] = defaultdict(list)
        for link in links:
            if link.verified and link.outer >= 0:
                homes[link.inner].append(link)
        for options in homes.values():  # of several outer claims the one that began last is tried first
            options.sort(key=lambda n: self._age(n.outer), reverse=True)
        self.homes = {i: homes[i] for i in sorted(homes, key=lambda i: (self._age(i), i))}

    def _age(self, i: int) -> tuple[int, str]:
        return self.claims[i].start, self.claims[i].unit

    def at(
        self,
        active: Collection[int],
        cards: Mapping[int, Hand] | None = None,
        *,
        capacity: int = 0,
        down: Collection[tuple[str, str]] = (),
        unread: Collection[str] = (),
    ) -> Nest:
        """The claims ``active`` at one moment, nested: see `nest`."""
        claims, on = self.claims, set(active)
        known = self._own_numbers(on, cards, capacity) if cards else {}
        within, inner, reasons = self._hold(on, known)
        leaves: list[Leaf] = []
        shown: list[int] = []
        orphaned: dict[int, int] = {}
        for i in sorted(active):
            claim = claims[i]
            family, paid = _above(i, within)
            if paid or i in self.stand_ins:
                shown.append(i)
                continue
            pods = inner.get(i, ())
            apart = [k for k in pods if within[k].kind is not LinkKind.INSIDE]
            own = max(0, claim.milligpu - sum(claims[k].milligpu for k in apart))
            if len(apart) < len(pods):
                orphaned[i] = claim.milligpu - sum(claims[k].milligpu for k in pods)
            if own == 0:
                shown.append(i)
                continue
            free = less(known[i], (_taken(k, inner, known) for k in apart), own) if i in known else {}
            held = tuple(sorted(free, key=_card_order))
            disposition = Disposition.DISPUTED if i in reasons else rest_of_lender(claim, down, unread)
            word = disposition or Disposition.CHARGED
            amounts = tuple(free[card] for card in held)
            leaves.append(Leaf(i, claim.job.scheduler, own, word, held, family, amounts))
        return Nest(tuple(leaves), within, tuple(shown), orphaned, reasons, known)

    def _hold(
        self, on: Collection[int], known: Mapping[int, Hand]
    ) -> tuple[dict[int, Link], dict[int, list[int]], dict[int, str]]:
        """Which link each claim lives by, what is inside each outer claim, and why a claim is disputed by its key.

        The oldest inner claims come first; each goes where it fits.
        """
        within: dict[int, Link] = {}
        inner: dict[int, list[int]] = defaultdict(list)
        pods: dict[int, int] = defaultdict(int)  # milliGPU of the pods inside each job
        reasons = {i: reason for i, reason in self.refused.items() if i in on}
        for i, homes in self.homes.items():
            options = [n for n in homes if n.outer in on] if i in on else []
            need = self.claims[i].milligpu
            if i in known and options:
                elsewhere = [self._elsewhere(i, link, known) for link in options]
                if all(elsewhere):
                    reasons[i] = elsewhere[0]
                    continue
                options = [link for link, reason in zip(options, elsewhere, strict=True) if not reason]
            for link in options:
                if link.kind not in _PODS or pods[link.outer] + need <= self.claims[link.outer].milligpu:
                    within[i] = link
                    inner[link.outer].append(i)
                    pods[link.outer] += need if link.kind in _PODS else 0
                    break
            else:
                if options:
                    job = options[0].outer
                    reasons[i] = _too_many(pods[job] + need, self.claims[job])
        return within, inner, reasons

    def _own_numbers(self, on: Collection[int], cards: Mapping[int, Hand], capacity: int) -> dict[int, Hand]:
        """Known cards without those of jobs in a lender that has not got all cards of its machine: what a job's Slurm
        node calls card 0 may be any of that pod's, as long as the numbers are small enough to be those in the pod.
        """
        known = dict(cards)
        for i in [i for i, hand in cards.items() if hand.numbered] if self.homes else ():
            lenders = [n.outer for n in self.homes.get(i, ()) if n.kind is LinkKind.LENDS and n.outer in on]
            highest = max(card for card in cards[i].cards if isinstance(card, int))
            held = [self.claims[o].milligpu for o in lenders]
            if any(highest * MILLI_PER_GPU < milligpu < capacity for milligpu in held):
                del known[i]
        return known

    def _elsewhere(self, i: int, link: Link, known: Mapping[int, Hand]) -> str:
        """Why a claim is not inside another by its cards; empty where it is, or may be."""
        outer = known.get(link.outer)
        if outer is None or link.kind not in _ON_ITS_CARDS:
            return ""
        cards = outside(known[i], outer)
        if sum(cards.values()) <= self.claims[link.outer].milligpu - outer.milligpu:
            return ""  # they may be the cards of the outer claim that are not known
        home = self.claims[link.outer]
        return f"holds {_words(cards)}, which {_called(home)} does not: it holds {_words(outer.cards)}"


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


def _taken(i: int, inner: Mapping[int, Sequence[int]], known: Mapping[int, Hand], above: tuple[int, ...] = ()) -> Hand:
    """The cards of a claim and of those that live inside it: a pod that is seen tells where its job is that is not.

    Those ``above`` are around it already: in a ring each counts once.
    """
    within: dict[Card, int] = defaultdict(int)
    path = (*above, i)
    for k in inner.get(i, ()):
        if k in path:
            continue
        for card, milligpu in _taken(k, inner, known, path).cards.items():
            within[card] += milligpu
    own = known.get(i, NOTHING)
    return Hand({card: max(own.cards.get(card, 0), within.get(card, 0)) for card in {*own.cards, *within}})


def _card_order(card: Card) -> tuple[bool, Card]:
    return isinstance(card, str), card


def _words(cards: Collection[Card]) -> str:
    told = ", ".join(map(str, sorted(cards, key=_card_order)))
    return f"card{'s' * (len(cards) > 1)} {told}"


def _called(claim: Claim) -> str:
    return f"Slurm job {claim.native_id}" if claim.job.scheduler is Scheduler.SLURM else f"pod {claim.native_id}"


def _too_many(need: int, run: Claim) -> str:
    assumed = ", its share of this node being assumed" if run.split_assumed else ""
    return f"count does not fit: {need} milliGPU inside the {run.milligpu} of Slurm job {run.native_id}{assumed}"


def _above(i: int, within: Mapping[int, Link]) -> tuple[int, bool]:
    """The outermost claim around a claim, and whether on the way there is a job that pays for everything in it.

    In a ring nobody is above, and its lowest member stands for it.
    """
    path: list[int] = []
    paid = False
    while i in within:
        if i in path:
            return min(path[path.index(i) :]), False
        path.append(i)
        paid = paid or within[i].kind is LinkKind.INSIDE
        i = within[i].outer
    return i, paid
