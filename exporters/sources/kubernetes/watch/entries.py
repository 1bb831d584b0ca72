"""What the store of a cluster holds of each pod, what it tells, and what survives a restart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from exporters.model import Claim, Job, LinkKey
from exporters.sources.kubernetes.claims import Root
from exporters.sources.kubernetes.pod_facts import PodFacts
from exporters.sources.kubernetes.slots.portions import Portion

SharedClaim = tuple[Claim, str]
"""A claim, and the UID of the shared ResourceClaim it stands for (empty: it is the pod's own)."""

OpenClaims = tuple[tuple[SharedClaim, ...], Job]
"""What one pod holds now, and its job."""


@dataclass(slots=True)
class Entry:
    """One pod. ``held`` is settled once, as soon as it can be told: what a node offers later changes nothing.

    ``start`` is when it began to hold; when it was bound and its container's first start are remembered over restarts
    that hide them. ``unbound`` is when it was last seen without a node, ``seen`` when it was last seen at all.
    ``kept`` is what it held in an earlier life. ``closed``: its end is known, and is in ``end`` when there is a claim
    to end. ``refused`` is why it cannot hold what it asks for. ``asked``: its workload has been asked for.
    """

    facts: PodFacts
    first_started: int | None = None
    scheduled: int | None = None
    unbound: int = 0
    seen: float | None = None
    kept: tuple[Portion, ...] = ()
    start: int | None = None
    root: Root | None = None
    asked: bool = False
    held: list[Portion] | None = None
    keys: tuple[LinkKey, ...] = ()
    closed: bool = False
    end: int | None = None
    basis: str = ""
    closed_at: float = 0.0
    refused: str = ""


@dataclass(slots=True)
class Told:
    """An end, and when a snapshot first carried it."""

    claim: Claim
    job: Job
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What survives a restart (`exporters.sources.kubernetes.watch.resume` writes it).

    ``open``: pod UID -> what it held; ``started``: pod UID -> its first start; ``ended``: ends nobody has taken over;
    ``told``: pods still present whose end was taken over; ``covered``: shared ResourceClaim UID -> until when it has
    been counted; ``seen``: when the last snapshot showed what is open, epoch seconds.
    """

    open: dict[str, OpenClaims] = field(default_factory=dict)
    started: dict[str, int] = field(default_factory=dict)
    ended: tuple[tuple[Claim, Job], ...] = ()
    told: frozenset[str] = frozenset()
    covered: dict[str, int] = field(default_factory=dict)
    seen: float = field(default=0.0, compare=False)


def succeed(facts: PodFacts, closing: Iterable[Entry], ended: Iterable[Told]) -> None:
    """A name is free only after its owner is gone: whoever had this pod's before ended when this one was created."""
    name = f"{facts.namespace}/{facts.name}"
    for entry in closing:
        if f"{entry.facts.namespace}/{entry.facts.name}" == name and (entry.end or 0) > facts.created:
            entry.end = max(entry.start or facts.created, facts.created)
    for told in ended:
        if told.claim.native_id == name and (told.claim.end or 0) > facts.created:
            told.claim = replace(told.claim, end=max(told.claim.start, facts.created))
