"""Who held which card on the demo site, and when: recorded for Slurm's jobs, made for pods. Pure.

Slurm's live records name the cards of every job (``gres_detail``). A kubelet's choice is made here: the lowest free
card that Slurm has not given away, or, where Slurm has given them all, the lowest that no other pod has: a kubelet does
not know what Slurm does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporters.sources.slurm.gres import parse_gres
from exporters.sources.slurm.hostlist import expand
from tests.lab.demo_objects import PodPlan
from tests.lab.demo_plan import GPU, SLICE
from tests.lab.demo_story import NODESET_PODS

FOREVER = 1 << 40
MACHINES = {node: machine for node, (_, machine) in NODESET_PODS.items()}
"""Slurm nodes that have another name than their machine."""

FIRST_INSTANCE = 7
"""MIG instances of the smallest profile are numbered from 7 on, on the card and (here) as Slurm's indices."""

KUBE_SLICED = (6, 7)
"""Cards of the Kubernetes MIG node that are cut; Slurm's MIG node has its card 7 cut."""


@dataclass(frozen=True, order=True)
class Holder:
    """Over ``[start, end)`` one card (or the MIG ``instance`` of it, by its number) was in one owner's hands.

    ``job`` is Slurm's raw id, or ``namespace/pod``; ``uid`` the pod's; ``name`` is what the work is called, from which
    the simulated devices take their character; ``container`` is the pod's.
    """

    machine: str
    card: int
    instance: str
    profile: str
    start: int
    end: int
    scheduler: str
    job: str
    uid: str
    name: str
    container: str


def of_slurm(live: Mapping[str, Any]) -> list[Holder]:
    """Holders from the live files, by job and card, for as long as successive states show them."""
    moments: Sequence[int] = live["moments"]
    open_: dict[tuple[str, int, str, int, str], int] = {}
    found: list[Holder] = []
    for n, moment in enumerate(moments):
        held = {key for number in live["jobs"][n] for key in _cards(live["job_versions"][number])}
        over = [key for key in open_ if key not in held]
        found += [_holder(key, open_.pop(key), moment) for key in over]
        for key in held:
            open_.setdefault(key, moment)
    return sorted(found + [_holder(key, start, FOREVER) for key, start in open_.items()])


def _cards(job: Mapping[str, Any]) -> Iterable[tuple[str, int, str, int, str]]:
    """(node, index, job, submit, name) of every card a job holds in one state.

    External jobs name none: their pods' kubelet chooses, and the cards beyond what the pods ask for lie idle.
    """
    if job["job_state"] not in ("RUNNING", "SUSPENDED") or job["admin_comment"].startswith('{"pods":'):
        return
    for node, gres in zip(expand(job["nodes"]), job["gres_detail"], strict=False):
        for cards in parse_gres(gres):
            for index in cards.indices:
                yield node, index, str(job["job_id"]), job["submit_time"], job["name"]


def _holder(key: tuple[str, int, str, int, str], start: int, end: int) -> Holder:
    node, index, job, _, name = key
    card, instance, profile = index, "", ""
    if index >= FIRST_INSTANCE and node.startswith("mx"):
        card, instance, profile = 7, str(index), "1g.10gb"
    return Holder(MACHINES.get(node, node), card, instance, profile, start, end, "slurm", job, "", name, "")


def of_pods(plans: Iterable[PodPlan], slurm: Iterable[Holder]) -> list[Holder]:
    """Give every pod its cards, first come first served."""
    taken: dict[tuple[str, int, str], list[tuple[int, int]]] = defaultdict(list)
    given: dict[tuple[str, int, str], list[tuple[int, int]]] = defaultdict(list)
    for h in slurm:
        given[h.machine, h.card, h.instance].append((h.start, h.end))
    found = []
    for plan in sorted(plans, key=lambda p: (p.start, p.namespace, p.name)):
        end = FOREVER if plan.end is None else plan.end
        for resource, count in plan.request.items() if plan.node else ():
            free = [p for p in _places(plan.node, resource) if not _busy(taken[plan.node, *p], plan.start, end)]
            free.sort(key=lambda p: _busy(given[plan.node, *p], plan.start, end))
            if len(free) < count:
                raise ValueError(f"{plan.node} has no {count} free {resource} for {plan.namespace}/{plan.name}")
            for card, instance in free[:count]:
                taken[plan.node, card, instance].append((plan.start, end))
                found.append(_of_pod(plan, card, instance, end))
    return sorted(found)


def _of_pod(plan: PodPlan, card: int, instance: str, end: int) -> Holder:
    name = plan.owner.name if plan.owner else plan.name
    job = f"{plan.namespace}/{plan.name}"
    profile = "1g.10gb" if instance else ""
    return Holder(
        plan.node, card, instance, profile, plan.start, end, "kubernetes", job, plan.uid, name, plan.container
    )


def _places(node: str, resource: str) -> list[tuple[int, str]]:
    """The cards or MIG instances of a resource on a node, in the order in which they are given away."""
    sliced = KUBE_SLICED if node == "k09" else ()
    if resource == GPU:
        return [(card, "") for card in range(8) if card not in sliced]
    if resource == SLICE:
        return [(card, str(FIRST_INSTANCE + n)) for card in sliced for n in range(7)]
    raise ValueError(f"unknown resource {resource}")


def _busy(intervals: Iterable[tuple[int, int]], start: int, end: int) -> bool:
    return any(a < end and start < b for a, b in intervals)
