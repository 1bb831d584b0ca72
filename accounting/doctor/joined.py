"""What a join of all sources shows: who has no payer, what fits nowhere, which cards nobody reads."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from accounting.doctor.finding import Finding, look, well, wrong
from exporters.join.cards import CardBasis
from exporters.join.projects import UNMAPPED
from exporters.join.site_picture import Picture
from exporters.model import Disposition, Field, NodeKey, Scheduler
from exporters.series.view import View

_TOLD = 5

FIELDS = {
    Field.ENGINE_ACTIVE: ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "utilization is DCGM_FI_DEV_GPU_UTIL's, or none"),
    Field.TENSOR_ACTIVE: ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "nobody sees whether tensor cores are used"),
    Field.MEMORY_USED: ("DCGM_FI_DEV_FB_USED", "no memory on any board"),
    Field.ENERGY: ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "energy is power added up, or none"),
    Field.NVLINK_HEALTH: (
        "DCGM_EXP_GPU_HEALTH_STATUS",
        "GpuNvlinkDown cannot fire: an NVLink that goes is told by XID 74 alone, one that never came up by nothing",
    ),
    Field.NVLINK_TX: ("DCGM_FI_PROF_NVLINK_TX_BYTES", "no NVLink traffic by job"),
}
"""Fields of dcgm-exporter that boards and alerts use, and what is missing without each."""


def joined(view: View, nodes: Sequence[NodeKey], dcgm: bool) -> Iterator[Finding]:
    """Findings about the join of just now.

    ``nodes`` are all nodes by their schedulers' own names; ``dcgm``: whether the settings have devices read at all.
    """
    picture = view.picture
    yield from _payers(view)
    yield from _capacity(picture)
    yield from _disputes(picture)
    yield from two_schedulers(picture, nodes)
    if dcgm:
        yield from _cards(picture)
        yield from _fields(picture)


def _payers(view: View) -> Iterator[Finding]:
    owners: dict[tuple[Scheduler, str], int] = defaultdict(int)
    for held in view.picture.held:
        if held.disposition is Disposition.CHARGED and view.project(held.claim.job) == UNMAPPED:
            job = view.jobs.get(held.claim.job)
            owners[held.claim.job.scheduler, job.account if job else ""] += held.milligpu
    for scheduler, key, word in (
        (Scheduler.SLURM, "accounts", "accounts"),
        (Scheduler.KUBERNETES, "namespaces", "namespaces"),
    ):
        names = sorted((-held, name) for (whose, name), held in owners.items() if whose is scheduler)
        if names:
            listed = _some(name or "(none)" for _, name in names)
            yield look(
                "projects",
                f"{word} that hold cards and have no project: {listed}",
                "what they use is on the statement of project unmapped, which nobody receives",
                f"projects: [{{project: NAME, {key}: [{names[0][1]}]}}]",
            )
    if view.picture.held and not owners:
        yield well("projects", "whoever holds cards now has a project")


def _capacity(picture: Picture) -> Iterator[Finding]:
    if not picture.capacity:
        yield wrong(
            "machines",
            "no scheduler tells of a machine with cards",
            "capacity is zero, and so is every figure",
            "is Gres= set on the nodes of slurm.conf, does the device plugin run, may we read nodes?",
        )
        return
    gpus = sum(picture.capacity.values()) / 1000
    yield well("machines", f"{len({machine for machine, _ in picture.capacity})} with {gpus:g} cards")
    if picture.unplaced:
        names = _some(sorted({machine for machine, _ in picture.unplaced}))
        yield wrong(
            "machines",
            f"jobs hold cards on machines of which no scheduler tells a capacity: {names}",
            "their time is unknown until it does",
            "scontrol show node NAME, or kubectl get node NAME, says what it has; is the name the same in both?",
        )


def _disputes(picture: Picture) -> Iterator[Finding]:
    disputed = [held for held in picture.held if held.disposition is Disposition.DISPUTED]
    for held in disputed[:_TOLD]:
        yield look(
            f"machine {held.machine}",
            f"{held.claim.job} is in dispute: {held.reason or 'two owners without a link'}",
            "nobody pays for these cards until somebody rules",
            "a link between the two (docs/links.md), or meterbridge rule",
        )
    if len(disputed) > _TOLD:
        yield look("machines", f"{len(disputed) - _TOLD} more disputes", "nobody pays for them", "meterbridge disputes")


def two_schedulers(picture: Picture, nodes: Sequence[NodeKey]) -> Iterator[Finding]:
    """Whether machines of both schedulers are known as the same, and names that look as if they should be."""
    now = int(picture.at)
    slurm, kubernetes = (
        {picture.machines.resolve(key, now, now)[0][0]: key for key in nodes if key.scheduler is scheduler}
        for scheduler in (Scheduler.SLURM, Scheduler.KUBERNETES)
    )
    if not slurm or not kubernetes:
        return
    both = slurm.keys() & kubernetes.keys()
    near = list(near_names(slurm.keys() - both, kubernetes.keys() - both))
    for one, other in near[:_TOLD]:
        rules = f"{slurm[one]}: {one}, {kubernetes[other]}: {one}"
        yield look(
            "machines",
            f"Slurm's {slurm[one].name} and Kubernetes' {kubernetes[other].name} may be one machine",
            "taken for two, their cards are counted twice",
            f"machines.names: {{{rules}}} if they are",
        )
    if len(near) > _TOLD:
        yield look(
            "machines", f"{len(near) - _TOLD} more such pairs", "their cards are counted twice", "machines.names"
        )
    if both:
        yield well("machines", f"{len(both)} are known to both schedulers as one")


def near_names(slurm: Iterable[str], kubernetes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of names that differ in case, domain, punctuation or leading zeros only, or by a prefix.

    >>> list(near_names(["gn01", "login"], ["rack1-gn-1", "worker"]))
    [('gn01', 'rack1-gn-1')]
    """
    by_end: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name in sorted(kubernetes):
        if end := _end(name):
            by_end[end].append(name)
    for name in sorted(slurm):
        found = by_end.get(_end(name) or ("", 0), [])
        if len(found) == 1:  # of several, none is near
            yield name, found[0]


def _end(name: str) -> tuple[str, int] | None:
    """The last word of a host's name and its number: ``rack1-gn-01.site`` is ``("gn", 1)``."""
    found = re.search(r"([a-z]+)[^a-z0-9]*([0-9]+)$", name.lower().partition(".")[0])
    return (found[1], int(found[2])) if found else None


def _cards(picture: Picture) -> Iterator[Finding]:
    if not picture.cards:
        yield wrong(
            "cards",
            "no device is read on any machine that a scheduler knows",
            "no utilization, energy or health of any card",
            "does dcgm find its endpoints (/targets), and are their machines' names the schedulers'?",
        )
        return
    read = {use.machine for use in picture.cards}
    blind = sorted({machine for machine, _ in picture.capacity} - read)
    if blind:
        yield look(
            "cards",
            f"machines with cards and no reading: {_some(blind)} ({len(blind)} of {len(blind) + len(read)})",
            "their jobs have no utilization, and their lines say so",
            "is dcgm-exporter there, and its endpoint listed or discovered?",
        )
    for machine, devices in sorted(picture.strays.items())[:_TOLD]:
        yield look(
            "cards",
            f"{devices} devices are read as of {machine!r}, which no scheduler has",
            "they are in no figure",
            f"machines.names: {{slurm/CLUSTER/NODE: {machine}}}, or hostname: in dcgm-exporter's own settings",
        )
    assumed = sorted({machine for *_, machine, _, _, basis in picture.card_rows if basis == CardBasis.ASSUMED.value})
    if assumed:
        yield look(
            "cards",
            f"which card a job has is assumed on {len(assumed)} machines: {_some(assumed)}",
            "Slurm's number for a card is not NVML's on every machine: utilization may be another card's",
            "run meterbridge node there (docs/node-agent.md): it maps /dev/nvidiaN to UUIDs",
        )
    if picture.card_rows and not assumed:
        yield well("cards", "which card a job has is known, not assumed, wherever it is told")


def _fields(picture: Picture) -> Iterator[Finding]:
    told = [set(use.sample.values) for use in picture.cards]
    for field, (name, without) in FIELDS.items():
        having = sum(field in values for values in told)
        if told and having < len(told):
            yield look(
                "dcgm",
                f"{name} is served for {having} of {len(told)} devices",
                without,
                "add it to the counters file (-f) of dcgm-exporter",
            )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _TOLD} more" if len(listed) > _TOLD else ""
    return ", ".join(listed[:_TOLD]) + more
