"""Which cards whatever holds some of the model site truly has, and what the live side tells of that, true or not.

A thing's cards are chosen once, as a scheduler would: inside what it is inside, else where nobody is. What finds no
room is told of by nobody: the site has promised more than it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from exporters.model import JobKey, LinkKind
from exporters.recorder import Holding
from tests.accounting.model_site import NODESET, SLICE, ModelSite, Pod, Run

ALL, NAMELESS, NUMBERED, SOME, NONE = "all", "nameless", "numbered", "some", "none"
RIVAL, STALE = "rival", "stale"
TELLINGS = (ALL, NAMELESS, NUMBERED, SOME, NONE, RIVAL, STALE)
"""Index and UUID; UUID alone; index alone; only the first half; nothing; somebody else's cards; more than it holds."""

_AT_FIRST = (ALL, RIVAL, NAMELESS, NUMBERED, RIVAL, ALL, SOME, STALE)
"""By the number of the thing, so that nothing has to be drawn for it."""


@dataclass(frozen=True)
class Thing:
    """What holds cards of one machine now; ``home`` is the unit of what it is inside."""

    job: JobKey
    unit: str
    machine: str
    milligpu: int
    number: int
    profile: str = ""
    home: str = ""

    @property
    def place(self) -> tuple[str, str]:
        return self.unit, self.machine


def things(site: ModelSite) -> list[Thing]:
    """Everything that holds, what others are inside of first."""
    return sorted(_things(site), key=lambda t: t.home != "")


def _things(site: ModelSite) -> Iterator[Thing]:
    lender = site.nodeset()
    running = [r for r in site.runs if r.runs]
    for run in running:
        for node, milligpu in run.nodes.items():
            if node != NODESET:
                yield Thing(run.key, run.key.id, node, milligpu, run.submit)
            elif lender is not None:
                yield Thing(run.key, run.key.id, lender.node, milligpu, run.submit, home=lender.uid)
    for pod in site.pods:
        if pod.end is None and pod.node in site.kube:
            number = int(pod.uid.removeprefix("pod-"))
            home = next((r.key.id for r in running if pod.node in r.nodes and _is_of(pod, r)), "")
            yield Thing(pod.key, pod.uid, pod.node, pod.milligpu, number, pod.profile, home)


def _is_of(pod: Pod, run: Run) -> bool:
    inside = any(k.kind is LinkKind.INSIDE and k.cluster == "lab" and k.value == str(run.number) for k in pod.keys)
    return inside or pod.owner == f"bridged-{run.submit}"


def settle(site: ModelSite) -> None:
    """Whatever has come gets its cards, whatever has gone gives them back."""
    here = things(site)
    site.cards = {t.place: site.cards[t.place] for t in here if t.place in site.cards}
    for t in here:
        if t.place not in site.cards:
            site.cards[t.place] = _chosen(site, t, here)


def _chosen(site: ModelSite, t: Thing, here: list[Thing]) -> tuple[tuple[int, int], ...]:
    """Index and milliGPU."""
    count = max(truth[t.machine].cards for truth in (site.slurm, site.kube) if t.machine in truth)
    if t.profile == SLICE:
        return ((count - 1, t.milligpu),)
    if t.profile:
        return ((0, t.milligpu),)
    own = site.cards.get((t.home, t.machine), ())
    among = [index for index, _ in own] if own else range(count)
    others = [o for o in here if o.machine == t.machine and (o.home == t.home if own else not o.home)]
    taken = {index for o in others for index, _ in site.cards.get(o.place, ())}
    free = sorted((i for i in among if i not in taken), reverse=t.unit.startswith("pod-"))
    need = t.milligpu // 1000
    return tuple((i, 1000) for i in free[:need]) if len(free) >= need else ()


def holdings(site: ModelSite) -> list[Holding]:
    """What a round of the live side tells of cards now."""
    settle(site)
    here = things(site)
    found: set[Holding] = set()
    for t in here:
        how = site.tellings.get(t.unit, _AT_FIRST[t.number % len(_AT_FIRST)])
        cards = site.cards[t.place]
        if how == SOME:
            cards = cards[: len(cards) // 2]
        elif how == NONE:
            cards = ()
        elif how == STALE:
            own = {index for index, _ in cards}
            cards = (*cards, (next(i for i in range(9) if i not in own), 1000))
        elif how == RIVAL:
            rivals = [o for o in here if o.machine == t.machine and o != t and site.cards[o.place]]
            theirs = site.cards[rivals[0].place] if rivals else ()
            cards = tuple((i, min(1000, t.milligpu)) for i, _ in theirs[: max(1, t.milligpu // 1000)])
        for index, milligpu in cards:
            uuid = "" if how == NUMBERED else f"GPU-{t.machine}-{index}"
            found.add(Holding(t.machine, -1 if how == NAMELESS else index, uuid, t.job, t.unit, milligpu))
    return sorted(found, key=lambda h: (h.machine, h.index, h.uuid, h.unit))
